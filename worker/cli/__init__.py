"""The commands: results go to stdout, messages to stderr."""

from worker.cli.commands import main

__all__ = ["main"]
