"""Why a use case does not do what it was asked; a face turns each kind into its own words and codes."""

from collections.abc import Iterable, Sequence

NAMED = 10
"""How many a message names of many."""


class NotDone(Exception):
    """Things are not as they would have to be; the message says why, and mostly what to do."""


class WrongRequest(NotDone):
    """It can never be done as it was asked."""


class NoSuchAccount(WrongRequest):
    """No account has this name; the message says which there are."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"there is no account {name!r}; there is {', '.join(capped(list(known))) or 'none configured'}"
        )


class NoSuchSubscriber(WrongRequest):
    """Nobody who is told of changes has this name; the message says which there are."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no subscriber {name!r}; there is {', '.join(capped(list(known))) or 'none'}")


class NotConfigured(NotDone):
    """It takes something that the settings here do not have."""


def capped(items: Sequence[str], rest: str = "and {} more", *, count: int | None = None) -> list[str]:
    """What a message names of many: the first `NAMED`, and the `rest` with how many more there are.

    `count`: how many there are in all, where `items` holds only the first of them.
    """
    more = (len(items) if count is None else count) - NAMED
    return [*items[:NAMED], rest.format(more)] if more > 0 else list(items)


def is_utf8(text: str) -> bool:
    """Whether a text can be looked up at all: bytes of a command line that are no UTF-8 come as lone surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def require_utf8(text: str, what: str = "an argument") -> None:
    """Raise `WrongRequest` for what no database can hold."""
    if not is_utf8(text):
        raise WrongRequest(f"{what} is not UTF-8")
