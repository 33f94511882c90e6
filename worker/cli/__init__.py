"""The commands: results go to stdout, messages to stderr."""

from worker.cli.start import main

__all__ = ["main"]
