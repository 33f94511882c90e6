"""The command `demo`: the whole job on this machine, with a simulated carrier, a shop made of SQL, and an end."""

from worker.cli.demo.command import demo

__all__ = ["demo"]
