"""returns-worker: creates a shop's returns at the carrier and follows each one to its end."""

__version__ = "0.1.0"
