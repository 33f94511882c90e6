"""What a person may do about one return: each page shows what would happen, and its button does that."""

from collections.abc import Mapping

from worker.domain.lifecycle import State
from worker.store.leases import owner_of_command
from worker.telemetry.terminal import shown
from worker.usecases.not_done import WrongRequest
from worker.usecases.preview import Meant, Preview, preview
from worker.usecases.previewed import do_previewed
from worker.usecases.ways import Way
from worker.web.guard import May
from worker.web.page import Answer, Handler, Page, Route, address_of

_PAGES: Mapping[str, Way] = {"retry": Way.RETRY, "cancel": Way.CANCEL, "poll": Way.POLL}
_ANSWERS: Mapping[str, Way] = {"found": Way.FOUND, "not-created": Way.NOT_CREATED}
_LONGEST_REASON = 500  # characters, as the history takes them


def acting() -> tuple[Route, ...]:
    """The pages of retry, resolve, cancel and poll."""
    previews = {name: _showing(name, way) for name, way in _PAGES.items()} | {"resolve": show_resolve}
    actions = {name: _doing(name, way) for name, way in _PAGES.items()} | {"resolve": resolve}
    return tuple(
        route
        for name in previews
        for path in [f"/returns/{{account}}/{{reference}}/{name}"]
        for route in (Route(name, path, previews[name]), Route(name, path, actions[name], needs=May.ACT, method="POST"))
    )


def _showing(name: str, way: Way) -> Handler:
    async def show(page: Page) -> Answer:
        return _previewed(page, name, await _see(page, _meant(page, way)))

    return show


def _doing(name: str, way: Way) -> Handler:
    async def do(page: Page) -> Answer:
        return await _do(page, name, _meant(page, way))

    return do


async def show_resolve(page: Page) -> Answer:
    """What may have become of a creation in doubt; with an answer to that, what follows from it."""
    way = _ANSWERS.get(page.query.get("as", ""))
    if way is None:
        return await _which(page, None, page.query)
    try:
        return _previewed(page, "resolve", await _see(page, _meant(page, way, page.query.get("number", ""))))
    except WrongRequest as error:
        return await _which(page, str(error), page.query)


async def resolve(page: Page) -> Answer:
    """Do what was previewed of one of the answers."""
    way = _ANSWERS.get(page.form.get("as", ""))
    if way is None:
        return await _which(page, None, page.form)
    try:
        return await _do(page, "resolve", _meant(page, way, page.form.get("number", "")))
    except WrongRequest as error:
        return await _which(page, str(error), page.form)


async def _which(page: Page, wrong: str | None, given: Mapping[str, str]) -> Answer:
    """Ask which of the two it is: what to look for at the carrier comes first."""
    seen = await _see(page, _meant(page, Way.NOT_CREATED))
    return page.render(
        "resolve.html",
        status=400 if wrong else 200,
        seen=seen,
        at=address_of(seen.order.account, seen.order.reference),
        wrong=wrong,
        number=given.get("number", ""),
        can=seen.shown.ways,
        Way=Way,
    )


async def _see(page: Page, meant: Meant) -> Preview:
    """A preview; after a POST not in the pages' turn, which has been no part of it."""
    return await (page.act if page.route.method == "POST" else page.ask)(preview, meant)


def _meant(page: Page, way: Way, number: str = "") -> Meant:
    return Meant(page.places["account"], page.places["reference"], way, number.strip())


async def _do(page: Page, name: str, meant: Meant) -> Answer:
    person = page.person(page.form.get("reason", ""))
    done = await page.act(do_previewed, meant, page.form.get("seen", ""), person, owner_of_command())
    if isinstance(done, Preview):
        return _previewed(page, name, done)
    return page.redirect(f"{address_of(meant.account, meant.reference)}?done={name}")


def _previewed(page: Page, name: str, seen: Preview) -> Answer:
    transitions = seen.shown.history.transitions
    return page.render(
        "act.html",
        status=200 if seen.not_done is None else 409,
        seen=seen,
        action=name,
        at=address_of(seen.order.account, seen.order.reference),
        last=transitions[-1] if transitions else None,
        reason=shown(page.form.get("reason", ""))[:_LONGEST_REASON],
        longest_reason=_LONGEST_REASON,
        may_act=page.who.is_allowed(May.ACT),
        Way=Way,
        is_in_doubt=seen.order.in_doubt and seen.order.state is not State.CANCELLED,
    )
