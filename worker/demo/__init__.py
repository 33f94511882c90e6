"""The demo: the whole job on this machine, with simulated carriers, a shop made of SQL, and an end."""
