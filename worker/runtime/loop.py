"""The event loop: uvloop's where it is installed, which costs half of asyncio's own for each request."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

try:
    import uvloop
except ImportError:  # it is built for CPython on Linux and macOS
    _new_event_loop = asyncio.new_event_loop
else:
    _new_event_loop = uvloop.new_event_loop

T = TypeVar("T")


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end in an event loop of its own."""
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        return runner.run(work)
