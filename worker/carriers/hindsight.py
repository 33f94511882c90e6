"""Counts a request by what its answer was worth, where that shows only after it was read.

An order on a page may be misshapen, or a label code another return's: that is found out when the request is long over.
Within `hindsight()` the last request that was answered well is therefore counted when the next one is, or at the end;
`no_sense()` makes it count as one whose answer had none. Elsewhere a request is counted at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from worker.carriers.port import RequestOutcome

Count = Callable[[RequestOutcome], None]
"""Counts one request by how it ended."""

_waiting: ContextVar[list[Count] | None] = ContextVar("waiting", default=None)
"""The request of this task that is not counted yet; None outside of `hindsight`."""


@contextmanager
def hindsight() -> Iterator[None]:
    """Within it the answer to a request may still be found to have no sense."""
    before = _waiting.set([])
    try:
        yield
    finally:
        _settle(RequestOutcome.OK)
        _waiting.reset(before)


def no_sense() -> None:
    """The last answer had none; nothing happens where its request is counted already."""
    _settle(RequestOutcome.UNINTELLIGIBLE)


def count(outcome: RequestOutcome, counting: Count) -> None:
    """A request has ended."""
    _settle(RequestOutcome.OK)
    waiting = _waiting.get()
    if waiting is None or outcome is not RequestOutcome.OK:
        counting(outcome)
    else:
        waiting.append(counting)


def _settle(outcome: RequestOutcome) -> None:
    waiting = _waiting.get()
    if waiting:
        waiting.pop()(outcome)
