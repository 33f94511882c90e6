"""What goes wrong with a request, by kinds that do not change, as RFC 9457 has them: a program goes by the type."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from worker.usecases.find import ReturnUnknown
from worker.usecases.not_done import NoSuchAccount, NoSuchSubscriber, NotDone, WrongRequest
from worker.usecases.without_delay import NoAnswer

_TYPES = "urn:problem-type:returns-worker:"


class Kind(Enum):
    """A kind of problem: its status, and what it is called; where trying again helps, after how many seconds."""

    MALFORMED = (400, "What was sent cannot be read")
    UNAUTHORIZED = (401, "A token is needed")
    NOT_ALLOWED = (403, "This may not be done")
    NOT_FOUND = (404, "There is nothing at this address")
    NO_SUCH_RETURN = (404, "There is no such return")
    NO_SUCH_ACCOUNT = (404, "There is no such account")
    NO_SUCH_LABEL = (404, "There is no such label")
    NO_SUCH_SUBSCRIBER = (404, "There is no such subscriber")
    WRONG_METHOD = (405, "This address takes another method")
    REFUSED = (409, "Things are not as they would have to be")
    HELD_BY_WORKER = (409, "A worker has the return at the moment", 5)
    TOO_LARGE = (413, "What was sent is too large")
    NOT_JSON = (415, "What was sent is of another type")
    WRONG_NAME = (421, "The worker is not asked under this name")
    INVALID = (422, "What is asked for can never be done so")
    NO_ROOM = (429, "The pace of the account has no room now", 30)
    OUR_MISTAKE = (500, "The worker made a mistake")
    NO_ANSWER = (502, "The carrier gave no answer that tells anything")
    BUSY = (503, "The worker is asked for too much", 2)
    DATABASE_AWAY = (503, "The database is away", 10)
    LABEL_STORE_AWAY = (503, "The label store is away", 10)

    def __init__(self, status: int, title: str, retry_after: int | None = None) -> None:
        self.status, self.title, self.retry_after = status, title, retry_after

    @property
    def type(self) -> str:
        """What a program goes by."""
        return _TYPES + self.name.lower().replace("_", "-")

    @property
    def headers(self) -> Mapping[str, str]:
        """What an answer has besides."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return headers | ({"WWW-Authenticate": "Bearer"} if self is Kind.UNAUTHORIZED else {})


_OF_STATUS = {kind.status: kind for kind in reversed(Kind)}


class Problem(Exception):
    """There is no such answer as was asked for: shown as a page, or as problem+json below /api."""

    def __init__(self, what: Kind | int, detail: str, **members: Any) -> None:
        """`what`: a status stands for its first kind. `detail` is a sentence for who asked; it says what to do where
        there is something. The `members` are for a program alone.
        """
        super().__init__(detail)
        self.kind = what if isinstance(what, Kind) else _OF_STATUS[what]
        self.status, self.detail, self.members = self.kind.status, detail, members
        self.headers: dict[str, str] = dict(self.kind.headers)

    def as_json(self) -> dict[str, Any]:
        """What a program is told."""
        kind = self.kind
        return {"type": kind.type, "title": kind.title, "status": kind.status, "detail": self.detail} | self.members


def problem_of(error: NotDone) -> Problem:
    """What a use case does not do, and why."""
    if isinstance(error, ReturnUnknown):
        lead = "the list of returns, asked with q, has it by another number, or by a name"
        return Problem(Kind.NO_SUCH_RETURN, f"{error.what}; {lead}")
    if isinstance(error, NoSuchAccount):
        return Problem(Kind.NO_SUCH_ACCOUNT, str(error))
    if isinstance(error, NoSuchSubscriber):
        return Problem(Kind.NO_SUCH_SUBSCRIBER, str(error))
    if isinstance(error, NoAnswer):
        return Problem(Kind.NO_ANSWER, str(error))
    return Problem(Kind.INVALID if isinstance(error, WrongRequest) else Kind.REFUSED, str(error))
