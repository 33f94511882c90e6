"""Who we talk to: the only place that knows a carrier's API."""

from worker.carriers.registry import open_carrier

__all__ = ["open_carrier"]
