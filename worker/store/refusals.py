"""Changes many rows at once, so that those which the database refuses cost the others nothing.

A shop has triggers, constraints and foreign keys of its own on our tables, and may add them at any time.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from worker.store.failures import DatabaseRefused, refusal_of

T = TypeVar("T")


class RowsKept(Exception):
    """Rows are still what they were, and no error was raised: a trigger or a rule of the database passed over them."""

    def __init__(self) -> None:
        super().__init__("a trigger or a rule of the database leaves it as it is")


class RowsLeft(Exception):
    """The database refused some rows, by what they are known as and with its reasons; `done` others are changed."""

    def __init__(self, done: int, refused: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{reference}: {why}" for reference, why in refused))
        self.done, self.refused = done, refused


async def in_pieces(rows: Sequence[T], change: Callable[[Sequence[T]], Awaitable[None]]) -> list[tuple[T, str]]:
    """Let `change` change all rows, in a transaction; where the database refuses, half of them, down to single rows.

    Returns the rows that it refuses, each with what it says.
    """
    if not rows:
        return []
    try:
        await change(rows)
    except Exception as error:
        why = str(error) if isinstance(error, RowsKept) else refusal_of(error)
        if why is None:
            raise
        if len(rows) == 1:
            return [(rows[0], why)]
        half = len(rows) // 2
        return await in_pieces(rows[:half], change) + await in_pieces(rows[half:], change)
    return []


@contextmanager
def refused_as(kind: type[Exception], what: str = "") -> Iterator[None]:
    """Raises this `kind` with the database's reason where it refuses a row; `what` comes before it."""
    try:
        yield
    except Exception as error:
        why = refusal_of(error)
        if why is None:
            raise
        raise kind(f"{what}: {why}" if what else why) from error


def as_a_whole(doing: str) -> AbstractContextManager[None]:
    """Raises `DatabaseRefused` for a statement that cannot be cut into pieces: a person has to see to the rule."""
    return refused_as(DatabaseRefused, doing)
