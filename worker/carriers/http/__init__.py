"""A carrier asked over HTTP: what its answers say, and what each way in which a request can end means."""
