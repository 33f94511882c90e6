"""What a page is given, what it gives back, and what it says of itself in the table of routes."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote

from worker.domain.by_hand import Person
from worker.telemetry.terminal import shown
from worker.web.guard import Face, May, Rules, Token, Who, cookie_for
from worker.web.turns import Turns, UseCase

P = ParamSpec("P")
T = TypeVar("T")

HTML = "text/html; charset=utf-8"

_UP_OR_HERE = re.compile(r"~*\.{1,2}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back. `cookie`: what the browser shows from now on; "" takes it away, None leaves it.

    `is_slow`: it is sent after a pause, since somebody may be guessing.
    """

    body: bytes
    content_type: str = HTML
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cookie: str | None = None
    is_slow: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One request that the guard has let in, and what a handler may use to answer it."""

    route: "Route"
    who: Who
    path: str  # as it was asked for, with its query
    places: Mapping[str, str]  # what stands for each {name} of the route's path, as `place` has written it
    query: Mapping[str, str]  # of a name that is given twice, the first
    form: Mapping[str, str]  # of a POST by a browser
    body: bytes  # of a POST
    now: datetime
    turns: Turns
    rules: Rules
    templates: Callable[..., str]  # a template's name and its values, to text

    async def ask(self, use_case: UseCase[P, T], *args: P.args, **named: P.kwargs) -> T:
        """What a use case says that only looks, on the pages' own connection: `use_case(settings, database, *args)`.

        It has two seconds.
        """
        return await self.turns.ask(use_case, *args, **named)

    async def ask_lately(self, use_case: UseCase[[], T]) -> tuple[T, datetime]:
        """The same of one that counts rows, where what it said some seconds ago will do; and when it said so."""
        answer, ago = await self.turns.ask_lately(use_case)
        return answer, self.now - timedelta(seconds=ago)

    async def act(self, use_case: UseCase[P, T], *args: P.args, **named: P.kwargs) -> T:
        """What a use case comes to that changes something; it is not given up in the midst of it."""
        return await self.turns.act(use_case, *args, **named)

    def render(self, template: str, *, status: int = 200, **values: Any) -> Answer:
        """A template with these values; it also has `page`, `who`, and unless it is told otherwise `now`."""
        text = self.templates(template, **{"page": self, "who": self.who, "now": self.now, **values})
        return Answer(text.encode("utf-8", "replace"), status=status)

    def json(self, value: Any) -> Answer:
        """A value for a program; times as the commands' JSON has them."""
        text = json.dumps(value, default=datetime.isoformat, ensure_ascii=False)
        if "Infinity" in text or "NaN" in text:  # a payload may say 1e999, of which Python makes what JSON has not
            text = json.dumps(json.loads(text, parse_constant=lambda _: None), ensure_ascii=False)
        return Answer(text.encode("utf-8", "replace"), "application/json")

    def redirect(self, to: str, cookie: str | None = None) -> Answer:
        """Have the browser GET another page of ours."""
        return Answer(b"", status=303, headers={"Location": to}, cookie=cookie)

    def person(self, reason: str = "") -> Person:
        """Who decides, and why, as a history or a log has it and a terminal shows it: the token's name."""
        if self.who.name is None:
            raise RuntimeError("only who has a token acts")
        return Person.of(self.who.name, shown(reason))

    def cookie(self, name: str) -> str:
        """What who has just shown this token is known by from now on."""
        token: Token = self.rules.tokens[name]
        return cookie_for(name, token.text, self.now.timestamp())


Handler = Callable[[Page], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """A page: where it is, who may see it, and what answers. Two methods of one page share its name."""

    name: str  # in the metric's label `page`
    path: str  # with {names}; below /api it is for programs
    handler: Handler
    needs: May | None = May.LOOK  # None: it is for everybody
    method: str = "GET"  # GET answers HEAD, too
    is_large: bool = False  # its answers are as large as a label may be: few are in memory at a time

    @property
    def face(self) -> Face:
        """For whom it is."""
        return face_of(self.path)


def face_of(path: str) -> Face:
    """For whom what is at this path would be."""
    return Face.API if path == "/api" or path.startswith("/api/") else Face.PAGE


def place(text: object) -> str:
    """A text as one part of a path, whatever is in it; `.` and `..`, which browsers take out of a path, as `~.`."""
    text = str(text)
    return quote(f"~{text}" if _UP_OR_HERE.fullmatch(text) else text, safe="")


def text_of(place: str) -> str:
    """The text that a part of a path, percent-decoded, stands for."""
    return place[1:] if place[:1] == "~" and _UP_OR_HERE.fullmatch(place) else place


def address_of(account: str, reference: str) -> str:
    """Where the page of a return is; what it leads to is below it."""
    return f"/returns/{place(account)}/{place(reference)}"
