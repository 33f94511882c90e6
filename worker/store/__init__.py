"""What we remember: the only place that knows SQL."""
