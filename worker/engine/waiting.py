"""Waits for an event, or for so long."""

import asyncio
from contextlib import suppress


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Return when `event` is set, after `seconds` at the latest."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), max(seconds, 0.0))
