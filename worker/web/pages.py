"""The pages on the listener: a request in, the guard's decision, a handler's answer out."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote

from aiohttp import web

from worker.settings import Settings
from worker.store.failures import DatabaseUnavailable
from worker.telemetry.metrics import Metrics
from worker.usecases.not_done import NotDone, is_utf8
from worker.web.frame import frame
from worker.web.guard import LASTS, Denied, Face, Facts, May, Rules, Who, admit
from worker.web.page import Answer, Page, Route, face_of, text_of
from worker.web.problems import Kind, Problem, problem_of
from worker.web.routes import ROUTES
from worker.web.tokens import Tokens
from worker.web.turns import PATIENCE, SHARE, Busy, Turns

_log = logging.getLogger(__name__)

_NO_SUCH_PAGE = "other"  # what the metric calls all that are none
_STATUSES = (200, 303, *dict.fromkeys(kind.status for kind in Kind))
_LONGEST_BODY = 65_536  # bytes
_MOST_FIELDS = 50
_LONGEST_WAY_BACK = 1_000  # characters of an address that who logs in is led to
_FORM = "application/x-www-form-urlencoded"

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with no-referrer Chromium sends `Origin: null` with our own forms
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

_DENIED = {
    Denied.MISDIRECTED: (
        421,
        "The pages are not shown under the name in your address bar. Set http.public_url to what stands there, or ask"
        " for them on the worker's own machine as localhost.",
    ),
    Denied.ELSEWHERE: (
        403,
        "This was sent by a page of another site or of another port, or by none. Open it here, and send it from there.",
    ),
    Denied.UNKNOWN: (401, "Log in with a token; a program sends it as Authorization: Bearer TOKEN."),
    Denied.WRONG_TOKEN: (401, "There is no such token, or it was changed."),
    Denied.NOT_ALLOWED: (403, 'This takes a token with may = "act" in [http.tokens.NAME].'),
}
_AWAY = (
    "The database cannot be reached, or refuses to be used; the worker's log says why. This page is back when it is."
)
_BUSY = "The pages are asked for more than they may take from the work, or this one takes too long. Try again."

_LARGE_AT_ONCE = 2  # answers of the size of a label, each in memory until it was taken
_PIECE = 65_536  # bytes


class Pages:
    """Answers for every path that the listener has not got already."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        current_url: Callable[[], str],
        hide: Callable[..., None],
        check_file: Callable[[], None] = lambda: None,
        *,
        routes: tuple[Route, ...] = ROUTES,
        patience: float = PATIENCE,
        share: float = SHARE,
        wrong_token_pause: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open nothing yet.

        `current_url` and `check_file` are what `Turns` asks, `hide` is told what no log may show, `patience` is in
        seconds, as is the pause after which a wrong token is answered. `clock` gives seconds since 1970.
        """
        self.turns = Turns(settings, current_url, check_file, patience, share)
        self._http, self._tokens = settings.http, Tokens(settings, hide)
        self._metrics, self._pause, self._clock = metrics, wrong_token_pause, clock
        self._large, self._patience = asyncio.Semaphore(_LARGE_AT_ONCE), patience
        self._render = _renderer()
        self._table = routes
        self._routes: dict[Any, Route] = {}
        self._others: frozenset[str] = frozenset()
        metrics.expect_pages((*dict.fromkeys(each.name for each in routes), _NO_SUCH_PAGE), map(str, _STATUSES))

    def serve_on(self, app: web.Application) -> None:
        """Answer for what `app` has no routes for."""
        self._others = frozenset(each.canonical for each in app.router.resources())
        for route in self._table:
            for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
                self._routes[app.router.add_route(method, route.path, _never)] = route
        app.middlewares.append(self._middleware())

    async def close(self) -> None:
        """Close the connection to the database."""
        await self.turns.close()

    def _middleware(self) -> Any:
        """What answers in front of the routes, so that no path is unguarded: also not one that leads nowhere."""

        @web.middleware
        async def answer(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            if request.path in self._others:
                return await handler(request)
            route = self._routes.get(request.match_info.route)
            async with AsyncExitStack() as until_sent:
                found = await self._counted(request, route, until_sent)
                if route is None or not route.is_large or request.method == "HEAD" or found.status != 200:
                    return self._response(found)
                return await _sent_in_pieces(request, found)

        return answer

    async def _take_room(self, until_sent: AsyncExitStack) -> None:
        """Have room in memory for a large answer until it was sent; only who was let in takes any."""
        try:
            async with asyncio.timeout(self._patience):
                await until_sent.enter_async_context(self._large)
        except TimeoutError:
            raise Busy from None

    async def _counted(self, request: web.Request, route: Route | None, until_sent: AsyncExitStack) -> Answer:
        found = await self._answer(request, route, until_sent)
        self._metrics.page_requests.labels(route.name if route else _NO_SUCH_PAGE, str(found.status)).inc()
        if found.is_slow:
            await asyncio.sleep(self._pause)
        return found

    async def _answer(self, request: web.Request, route: Route | None, until_sent: AsyncExitStack) -> Answer:
        face = route.face if route else face_of(request.path)
        rules = self._rules()
        facts = _facts(request, rules, face, route.needs if route else May.LOOK)
        verdict = admit(facts, rules, self._clock())
        who = verdict if isinstance(verdict, Who) else Who(None, None)
        page = self._page(request, route or _nowhere(request), who, rules)
        try:
            if isinstance(verdict, Denied):
                return self._denied(request, page, verdict)
            if request.match_info.http_exception is not None:
                raise _missing(request.match_info.http_exception)
            page = replace(page, query=_fields(request.rel_url.raw_query_string))
            if request.method == "POST":
                body = await _body(request)
                if face is Face.API:
                    _require_json(request, body)
                page = replace(page, body=body, form=_form(request, body) if face is Face.PAGE else {})
            _require_texts(page)
            if page.route.is_large:
                await self._take_room(until_sent)
            if page.route.needs is None or page.route.method == "POST":  # what acts may take longer than a turn
                return await page.route.handler(page)
            async with self.turns.taken():
                return await page.route.handler(page)
        except Problem as problem:
            return _said(page, problem)
        except NotDone as error:
            return _said(page, problem_of(error))
        except Busy:
            return _said(page, Problem(Kind.BUSY, _BUSY))
        except DatabaseUnavailable:
            return _said(page, Problem(Kind.DATABASE_AWAY, _AWAY))
        except Exception:
            _log.exception("no answer for %s", page.route.path)  # not what was asked for: a query may name a customer
            return _said(page, Problem(Kind.OUR_MISTAKE, "This is a mistake of ours; the worker's log says more."))

    def _denied(self, request: web.Request, page: Page, denied: Denied) -> Answer:
        if denied is Denied.UNKNOWN and page.route.face is Face.PAGE:
            to = page.path if request.method in {"GET", "HEAD"} and len(page.path) <= _LONGEST_WAY_BACK else "/"
            return page.redirect(f"/login?to={quote(to)}" if to != "/" else "/login")
        return replace(_said(page, Problem(*_DENIED[denied])), is_slow=denied is Denied.WRONG_TOKEN)

    def _rules(self) -> Rules:
        return Rules(bool(self._http.tokens), self._tokens.current(), self._http.public_url)

    def _page(self, request: web.Request, route: Route, who: Who, rules: Rules) -> Page:
        return Page(
            route=route,
            who=who,
            path=request.raw_path,
            places={name: text_of(part) for name, part in request.match_info.items()},
            query={},
            form={},
            body=b"",
            now=datetime.fromtimestamp(self._clock(), UTC),
            turns=self.turns,
            rules=rules,
            templates=self._render,
        )

    def _response(self, answer: Answer) -> web.Response:
        response = web.Response(
            body=answer.body,
            status=answer.status,
            headers={"Content-Type": answer.content_type, **_HEADERS, **answer.headers},
        )
        if answer.cookie is not None:
            rules = self._rules()
            response.set_cookie(
                rules.cookie_name,
                answer.cookie,
                max_age=LASTS if answer.cookie else 0,
                path="/",
                secure=rules.is_secure,
                httponly=True,
                samesite="Strict",
            )
        return response


def _renderer() -> Callable[..., str]:
    templates = frame()

    def render(name: str, **values: Any) -> str:
        return templates.get_template(name).render(**values)

    return render


def _facts(request: web.Request, rules: Rules, face: Face, needs: May | None) -> Facts:
    scheme, _, text = (_one(request, "Authorization") or "").partition(" ")
    return Facts(
        method=request.method,
        host=_one(request, "Host"),
        origin=_one(request, "Origin"),
        fetch_site=_one(request, "Sec-Fetch-Site"),
        cookie=request.cookies.get(rules.cookie_name),
        bearer=text.strip() if scheme.lower() == "bearer" else None,
        face=face,
        needs=needs,
    )


def _one(request: web.Request, name: str) -> str | None:
    """A header, None where there is none; "" where it is there twice: whoever reads the other one judges otherwise."""
    values = request.headers.getall(name, [])
    return values[0] if len(values) == 1 else "" if values else None


async def _sent_in_pieces(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": answer.content_type, **_HEADERS, **answer.headers})
    response.content_length = len(answer.body)
    with suppress(ConnectionResetError):  # who asked has gone
        await response.prepare(request)
        for begin in range(0, len(answer.body), _PIECE):
            await response.write(answer.body[begin : begin + _PIECE])
        await response.write_eof()
    return response


async def _body(request: web.Request) -> bytes:
    body = b""
    try:
        while len(body) <= _LONGEST_BODY and not request.content.at_eof():
            body += await request.content.read(_LONGEST_BODY + 1 - len(body))
    except (OSError, web.RequestPayloadError):  # it was cut, or is no HTTP
        raise Problem(400, "What was sent did not come to its end.") from None
    if len(body) > _LONGEST_BODY:
        raise Problem(413, f"What is sent here has at most {_LONGEST_BODY} bytes.")
    return body


def _form(request: web.Request, body: bytes) -> Mapping[str, str]:
    if body and request.content_type != _FORM:
        raise Problem(415, f"A form is sent as {_FORM}.")
    return _fields(body.decode("utf-8", "surrogateescape"))


def _require_json(request: web.Request, body: bytes) -> None:
    """Nothing at all is taken for `{}`, whatever it calls itself."""
    if body and request.content_type != "application/json":
        raise Problem(Kind.NOT_JSON, "What is sent here is application/json.")


def _fields(text: str) -> Mapping[str, str]:
    """What a form or a query has; of a name that is given twice, the first."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise Problem(400, f"A form, and a query, has at most {_MOST_FIELDS} fields.") from None
    return dict(reversed(pairs))


def _require_texts(page: Page) -> None:
    """Refuse what no database can hold, before anything asks for it."""
    for given in (page.places, page.query, page.form):
        if not all(is_utf8(text) and "\0" not in text for text in given.values()):
            raise Problem(400, "What was sent is no text: it has a NUL, or is not UTF-8.")


def _missing(error: web.HTTPException) -> Problem:
    if isinstance(error, web.HTTPMethodNotAllowed):
        problem = Problem(405, "This address is not for that: GET shows what is there, and POST does something.")
        problem.headers["Allow"] = error.headers["Allow"]
        return problem
    return Problem(404, "There is no such page.")


def _nowhere(request: web.Request) -> Route:
    return Route(_NO_SUCH_PAGE, request.path, _never)


async def _never(_: Any) -> Any:
    raise AssertionError("the guard answers before")


def _said(page: Page, problem: Problem) -> Answer:
    """A problem, as a page or as RFC 9457 has it."""
    if page.route.face is Face.API:
        answer = replace(page.json(problem.as_json()), content_type="application/problem+json", status=problem.status)
    else:
        told = {"code": problem.status, "title": HTTPStatus(problem.status).phrase, "detail": problem.detail}
        answer = page.render("problem.html", status=problem.status, **told)
    return replace(answer, headers=problem.headers)
