"""The commands: results go to stdout, messages to stderr."""

from worker.cli.entry import main

__all__ = ["main"]
