"""The one HTTP edge: sends a request once, and turns every way it can end into an answer or a `CarrierError`.

Two tables, because the same event means different things. A question may be asked again whenever it went wrong; a
creation may not, unless nothing can have reached the carrier or it said that it did nothing.
"""

import json
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx

import worker
from worker.carriers.answers import Reply, as_document, clean_text, without_secret
from worker.carriers.port import (
    CarrierError,
    NotFound,
    NotSent,
    OutcomeUnknown,
    Refused,
    Throttled,
    TimedOut,
    Unauthorized,
    Unavailable,
    Unintelligible,
)
from worker.carriers.transport import FRESH, MAX_BYTES, STARTED, AnswerTooLarge

T = TypeVar("T")

MAX_JSON_BYTES = 1_000_000
_MAX_REDIRECTS = 3
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


class RequestOutcome(StrEnum):
    """The `outcome` label of `returns_worker_carrier_requests_total`."""

    OK = "ok"
    REFUSED = "refused"
    UNAUTHORIZED = "unauthorized"
    THROTTLED = "throttled"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    NETWORK = "network"
    UNINTELLIGIBLE = "unintelligible"


Observer = Callable[[str, RequestOutcome, float], None]
"""Told of every request that was made: which operation, how it ended, how many seconds it took."""


class HttpEdge:
    """Requests to one account's carrier."""

    def __init__(
        self,
        base_url: str,
        transport: httpx.AsyncBaseTransport,
        authorization: Callable[[str], Mapping[str, str]],
        key: Callable[[], str],
        observe: Observer,
    ) -> None:
        """`authorization` makes the headers that carry the key; `key` is asked at every request, since keys rotate."""
        self._base_url = base_url
        self._transport = transport
        self._authorization = authorization
        self._key = key
        self._observe = observe

    async def ask(
        self, operation: str, path: str, read: Callable[[Reply], T], *, accept: str, max_bytes: int = MAX_JSON_BYTES
    ) -> T:
        """GET `path` and `read` the answer; a redirect is followed within the same origin only, in the same time."""
        started, key = time.monotonic(), self._key()
        try:
            url = self._base_url + path
            for _ in range(_MAX_REDIRECTS + 1):
                request = httpx.Request("GET", url, headers=self._headers(accept, key))
                request.extensions = {STARTED: started}
                reply = await self._send(request, max_bytes, key)
                if not 300 <= reply.status < 400:
                    break
                url = _followed(url, reply)
            else:
                raise _Ended(RequestOutcome.UNINTELLIGIBLE, Unintelligible("the carrier redirects without end"))
            _check_question(reply)
            result = _read(reply, read)
        except httpx.TransportError as error:
            raise self._failed(operation, started, _unanswered_question(error, _said(error, key))) from error
        except _Ended as ended:
            raise self._failed(operation, started, ended) from ended.error.__cause__
        self._observe(operation, RequestOutcome.OK, time.monotonic() - started)
        return result

    async def create(self, operation: str, path: str, body: Mapping[str, Any], read: Callable[[Reply], T]) -> T:
        """POST `body`, once, on a connection of its own: a stale one would look like a lost answer."""
        started, key = time.monotonic(), self._key()
        content = json.dumps(body, ensure_ascii=False).encode()
        headers = {**self._headers("application/json", key), "Content-Type": "application/json"}
        request = httpx.Request("POST", self._base_url + path, headers=headers, content=content)
        request.extensions = {FRESH: True}
        try:
            reply = await self._send(request, MAX_JSON_BYTES, key)
            _check_creation(reply)
            result = _read(reply, read)
        except httpx.TransportError as error:
            raise self._failed(operation, started, _unanswered_creation(error, _said(error, key))) from error
        except _Ended as ended:
            raise self._failed(operation, started, _in_doubt(ended)) from ended.error.__cause__
        self._observe(operation, RequestOutcome.OK, time.monotonic() - started)
        return result

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _send(self, request: httpx.Request, max_bytes: int, key: str) -> Reply:
        request.extensions = {**request.extensions, MAX_BYTES: max_bytes}
        response = await self._transport.handle_async_request(request)
        content = await response.aread()
        return Reply(response.status_code, response.headers, without_secret(content, key))

    def _headers(self, accept: str, key: str) -> dict[str, str]:
        return {
            "Accept": accept,
            "User-Agent": f"returns-worker/{worker.__version__}",
            **self._authorization(key),
        }

    def _failed(self, operation: str, started: float, ended: "_Ended") -> CarrierError:
        self._observe(operation, ended.outcome, time.monotonic() - started)
        return ended.error


class _Ended(Exception):
    """A request that ended badly: what the metric says, and what the step is told."""

    def __init__(self, outcome: RequestOutcome, error: CarrierError) -> None:
        super().__init__(str(error))
        self.outcome = outcome
        self.error = error


def _read(reply: Reply, read: Callable[[Reply], T]) -> T:
    try:
        return read(reply)
    except CarrierError as error:
        raise _Ended(RequestOutcome.UNINTELLIGIBLE, error) from error


def _check_question(reply: Reply) -> None:
    """Raise for an answer to a GET that is not a success."""
    status = reply.status
    if 200 <= status < 300:
        return
    _check_turned_away(reply)
    answered = f"the carrier answered {status}"
    if status in (404, 410):
        raise _Ended(RequestOutcome.REFUSED, NotFound(f"{answered}: it does not know this return"))
    if status >= 500 or status in (408, 425):
        raise _Ended(RequestOutcome.SERVER_ERROR, Unavailable(f"{answered}: {reply.excerpt()}", raw=reply.raw()))
    raise _Ended(RequestOutcome.REFUSED, Refused(f"{answered}: {reply.excerpt()}", raw=reply.raw()))


def _check_creation(reply: Reply) -> None:
    """Raise for an answer to a creation that is not a success; what proves nothing is in doubt."""
    status = reply.status
    if 200 <= status < 300:
        return
    _check_turned_away(reply)
    answered, raw = f"the carrier answered {status}", reply.raw()
    if status in (404, 405, 407, 410):  # the address, or a proxy on the way, is wrong: not this return's fault
        raise _Ended(RequestOutcome.REFUSED, NotSent(f"{answered} to the creation: is base_url right?", raw=raw))
    if 400 <= status < 500 and status not in (408, 409):  # 409 may mean that it is there already
        raise _Ended(RequestOutcome.REFUSED, Refused(f"{answered}: {_reason(reply)}", raw=raw))
    outcome = RequestOutcome.UNINTELLIGIBLE if status < 400 else RequestOutcome.SERVER_ERROR
    raise _Ended(
        RequestOutcome.REFUSED if status == 409 else outcome,
        OutcomeUnknown(f"{answered}: {reply.excerpt()}", raw=raw),
    )


def _check_turned_away(reply: Reply) -> None:
    if reply.status in (401, 403):
        raise _Ended(RequestOutcome.UNAUTHORIZED, Unauthorized(f"the carrier refused the key ({reply.status})"))
    if reply.status == 429 or (reply.status == 503 and reply.retry_after is not None):
        error = Throttled(f"the carrier asks to wait ({reply.status})", retry_after=reply.retry_after)
        raise _Ended(RequestOutcome.THROTTLED, error)


def _said(error: httpx.TransportError, key: str) -> str:
    """An error's text, which may quote the carrier's bytes."""
    return clean_text(without_secret(str(error).encode("utf-8", "replace"), key).decode())


def _unanswered_question(error: httpx.TransportError, said: str) -> _Ended:
    if isinstance(error, _NOT_SENT):
        return _Ended(RequestOutcome.NETWORK, NotSent(f"the carrier cannot be reached: {said}"))
    if isinstance(error, httpx.TimeoutException):
        return _Ended(RequestOutcome.TIMEOUT, TimedOut("the carrier did not answer in time"))
    if isinstance(error, AnswerTooLarge):
        return _Ended(RequestOutcome.UNINTELLIGIBLE, Unintelligible(str(error)))
    return _Ended(RequestOutcome.NETWORK, Unavailable(f"the connection was cut: {said}"))


def _unanswered_creation(error: httpx.TransportError, said: str) -> _Ended:
    if isinstance(error, _NOT_SENT):
        return _Ended(RequestOutcome.NETWORK, NotSent(f"the carrier cannot be reached: {said}"))
    if isinstance(error, httpx.TimeoutException):
        return _Ended(RequestOutcome.TIMEOUT, OutcomeUnknown("the creation was sent and not answered in time"))
    if isinstance(error, AnswerTooLarge):
        return _Ended(RequestOutcome.UNINTELLIGIBLE, OutcomeUnknown(str(error)))
    return _Ended(RequestOutcome.NETWORK, OutcomeUnknown(f"the connection was cut after the creation was sent: {said}"))


def _in_doubt(ended: _Ended) -> _Ended:
    """A success that cannot be read may still have created the return."""
    if isinstance(ended.error, Unintelligible):
        return _Ended(ended.outcome, OutcomeUnknown(ended.error.message, raw=ended.error.raw))
    return ended


def _followed(url: str, reply: Reply) -> str:
    location = reply.headers.get("location")
    if not location:
        raise _Ended(RequestOutcome.UNINTELLIGIBLE, Unintelligible(f"the carrier answered {reply.status} and no place"))
    try:
        target = str(httpx.URL(urljoin(url, location)))
        here, there = urlsplit(url), urlsplit(target)
    except (ValueError, httpx.InvalidURL):
        error = Unintelligible("the carrier redirects to something that is no address")
        raise _Ended(RequestOutcome.UNINTELLIGIBLE, error) from None
    if (here.scheme, here.netloc) != (there.scheme, there.netloc):
        error = Unintelligible("the carrier redirects to another host, which is not followed")
        raise _Ended(RequestOutcome.UNINTELLIGIBLE, error)
    return target


def _reason(reply: Reply) -> str:
    """What a refusal says: ASP.NET's problem+json (RFC 9457) when it is that, else its beginning."""
    try:
        problem = reply.json_object()
    except Unintelligible:
        return reply.excerpt()
    parts = [problem[name] for name in ("title", "detail", "message") if isinstance(problem.get(name), str)]
    errors = problem.get("errors")
    if isinstance(errors, dict):
        parts += [f"{path}: {_joined(messages)}" for path, messages in errors.items()]
    return clean_text("; ".join(filter(None, parts)), 1000) or reply.excerpt()


def _joined(messages: Any) -> str:
    parts = messages if isinstance(messages, list) else [messages]
    return ", ".join(part if isinstance(part, str) else as_document(part) for part in parts)
