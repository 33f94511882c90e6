"""What we remember: the only place that knows SQL, but for the demo's shop."""
