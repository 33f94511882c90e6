"""The page of returns: by filters, the newest first, or those in which a text is found."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State
from worker.domain.sought import SHORTEST_PART, is_the_part_of_a_name
from worker.usecases.browse import Listed, Wanted, browse, browse_found
from worker.usecases.not_done import WrongRequest
from worker.usecases.search import Findings
from worker.web.page import Answer, Page
from worker.web.problems import Problem

_AT_ONCE = 50
_HIGHEST_ID = 2**62
_FILTERS = ("q", "state", "account", "error_code")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the page is asked for: a text to look for, and filters."""

    text: str
    wanted: Wanted

    def address(self, **changes: str | int | None) -> str:
        """The page with the same filters, but for these."""
        given: dict[str, str | int | None] = dict(self.filters) | {"before": self.wanted.before} | changes
        query = urlencode({name: value for name, value in given.items() if value})
        return f"/returns?{query}" if query else "/returns"

    @property
    def filters(self) -> Mapping[str, str]:
        """What the form has, by its names."""
        values = (self.text, self.wanted.state, self.wanted.account, self.wanted.error_code)
        return dict(zip(_FILTERS, values, strict=True))


async def show_returns(page: Page) -> Answer:
    """Up to fifty returns, with a link to those that follow."""
    asked = asked_of(page.query)
    if not asked.text:
        listed = await page.ask(browse, asked.wanted)
        return _rendered(page, asked, listed=listed)
    try:
        findings, left_out = await page.ask(browse_found, asked.text, asked.wanted)
    except WrongRequest as error:
        return _rendered(page, asked, problem=str(error), status=400)
    return _rendered(page, asked, findings=findings, left_out=left_out)


def asked_of(query: Mapping[str, str]) -> Asked:
    """What a query asks for; a `Problem` where that makes no sense."""
    text, state, account, code = (query.get(name, "").strip() for name in _FILTERS)
    for name, value, known in (("state", state, list[str](State)), ("error code", code, list[str](ErrorCode))):
        if value and value not in known:
            raise Problem(400, f"There is no {name} {value!r}; there is {', '.join(known)}.")
    before = query.get("before", "")
    if before and not (before.isascii() and before.isdigit() and len(before) < 20 and 0 < int(before) < _HIGHEST_ID):
        raise Problem(400, "before is the id of a return: a number.")
    return Asked(text, Wanted(state, account, code, int(before) if before else None, _AT_ONCE))


def _rendered(
    page: Page,
    asked: Asked,
    *,
    listed: Listed | None = None,
    findings: Findings | None = None,
    status: int = 200,
    **values: object,
) -> Answer:
    go_on = listed.go_on_before if listed is not None else findings.go_on_before if findings is not None else None
    return page.render(
        "returns.html",
        status=status,
        asked=asked,
        listed=listed,
        findings=findings,
        further=asked.address(before=go_on) if go_on is not None else None,
        further_id=go_on,
        states=list(State),
        error_codes=list(ErrorCode),
        shortest=SHORTEST_PART,
        is_short=not is_the_part_of_a_name(asked.text),
        **({"problem": None, "left_out": 0} | values),
    )
