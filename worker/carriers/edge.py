"""The one HTTP edge: sends a request once, and turns every way it can end into an answer or an error of the port."""

import asyncio
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import httpx

from worker.carriers.endings import (
    check_creation,
    check_deletion,
    check_question,
    check_turned_away,
    in_doubt,
    in_outage,
    unanswered_creation,
    unanswered_question,
)
from worker.carriers.hindsight import count
from worker.carriers.port import CarrierError, LabelUnreachable, Pacer, RequestOutcome
from worker.carriers.replies import NoAnswer, Reply, clean_text, without_secret
from worker.domain.masking import IN_ANSWERS, forms_of_address, forms_of_key
from worker.http.addresses import ForbiddenAddress
from worker.http.bodies import narrowed, unpacked
from worker.http.headers import USER_AGENT, by_name
from worker.http.links import Address, NotAnAddress, origin_of, resolved
from worker.http.transport import AnswerTooLarge, Call, Transport

T = TypeVar("T")

MAX_JSON_BYTES = 1_000_000
_MAX_REDIRECTS = 3

Observer = Callable[[str, RequestOutcome, float], None]
"""Told of every request that was made: which operation, how it ended, how many seconds it took."""


class HttpEdge:
    """Requests to one account's carrier; each passes its pacer first, whose `NoTimeLeft` goes through."""

    def __init__(
        self,
        base_url: str,
        transport: Transport,
        authorization: Callable[[str], Mapping[str, str]],
        key: Callable[[], str],
        observe: Observer,
        pacer: Pacer,
        proxy: str | None = None,
    ) -> None:
        """`authorization` makes the headers that carry the key; `key` is asked at every request, since keys rotate.

        Neither the key nor the password of `proxy` is in what comes back, even where the carrier quotes them.
        """
        self._origin = origin_of(base_url)
        self._base_path = httpx.URL(base_url).raw_path.decode("ascii").rstrip("/")
        self._transport = transport
        self._authorization = authorization
        self._key = key
        self._observe = observe
        self._pacer = pacer
        self._beside_key = forms_of_address(proxy or "", IN_ANSWERS)

    async def ask(
        self,
        operation: str,
        path: str,
        read: Callable[[Reply], T],
        *,
        accept: str = "application/json",
        max_bytes: int = MAX_JSON_BYTES,
        fresh: bool = False,
    ) -> T:
        """GET `path` and `read` the answer; a redirect is followed within the same origin only, in the same time.

        `fresh`: on a connection that has answered nothing yet, where no late answer to another question can be taken
        for the answer to this one: for what a wrong answer would spoil for good.
        """
        await self._pacer.permit()
        started, key = time.monotonic(), self._key()
        with self._judged(operation, started, key, judged=in_outage):
            headers = self._headers(accept, key)
            call = Call("GET", self._at(path), headers, started, max_bytes, fresh=fresh)
            for hop in range(_MAX_REDIRECTS + 1):
                if hop:
                    await self._pacer.permit()
                reply = await self._send(call, key)
                if not reply.is_redirect:
                    check_question(reply)
                    return read(reply)
                try:
                    address = _followed(call.address, reply)
                except NotAnAddress as error:
                    raise NoAnswer(f"the carrier redirects to nowhere: {error}") from None
                if address.origin != self._origin:
                    raise NoAnswer("the carrier redirects to another host, which is not followed")
                call = replace(call, address=address)
            raise NoAnswer("the carrier redirects without end")

    async def delete(self, operation: str, path: str) -> None:
        """DELETE `path`; done is only what is answered by 2xx without a word. A redirect is followed nowhere.

        Doing that twice is doing it once, so it may be repeated. A 403 is about this return, and holds no account.
        """
        await self._pacer.permit()
        started, key = time.monotonic(), self._key()
        with self._judged(operation, started, key):
            # Its answer has no word that says what it is about: one that comes late must not be another's.
            headers = self._headers("application/json", key)
            call = Call("DELETE", self._at(path), headers, started, MAX_JSON_BYTES, fresh=True)
            check_deletion(await self._send(call, key))

    async def create(
        self,
        operation: str,
        path: str,
        body: Mapping[str, Any],
        read: Callable[[Reply], T],
        *,
        trust_503: bool = True,
    ) -> T:
        """POST `body`, once, on a connection of its own: a stale one would look like a lost answer.

        `trust_503`: a 503 that names a time to wait is taken for proof that nothing was done.
        """
        await self._pacer.permit()
        started, key = time.monotonic(), self._key()
        content = json.dumps(body, ensure_ascii=False).encode()
        headers = {**self._headers("application/json", key), "Content-Type": "application/json"}
        # A process that is stopped while it connects, and woken when its lease is long over, must not send any more:
        # another worker may have looked for the creation meanwhile and sent it again.
        call = Call(
            "POST", self._at(path), headers, started, MAX_JSON_BYTES, content, fresh=True, last_check=self._pacer.check
        )
        with self._judged(operation, started, key, unanswered_creation, in_doubt):
            reply = await self._send(call, key)
            check_creation(reply, trust_503=trust_503)
            return read(reply)

    async def fetch_link(
        self,
        operation: str,
        url: str,
        *,
        named_at: str,
        accept: str,
        max_bytes: int,
        trusted_hosts: Collection[str],
    ) -> Reply:
        """GET an address that the carrier named for a label, hostile until checked; follows a few redirects.

        It goes out byte for byte; a relative one is resolved against `named_at`, the path of the order that names it.
        It must be https and lead to a public address, unless it has the API's own origin or its host is one of
        `trusted_hosts`. Only the own origin gets the key, and only its "too many requests" is the account's; any
        other answer that brings no label is `LabelUnreachable`.
        """
        started, key = time.monotonic(), self._key()
        with self._judged(operation, started, key):
            try:
                address = resolved(url, self._at(named_at))
                for _ in range(_MAX_REDIRECTS + 1):
                    call, own = self._link(address, accept, key, started, max_bytes, trusted_hosts)
                    await self._pacer.permit(counted=own)
                    reply = await self._send_link(call, key, own=own)
                    if not reply.is_redirect:
                        break
                    address = _followed(address, reply)
                else:
                    raise _unreachable(RequestOutcome.UNINTELLIGIBLE, "its address redirects without end")
            except NotAnAddress as error:
                raise _unreachable(RequestOutcome.REFUSED, str(error)) from error
            if own and reply.status not in (401, 403):  # the order was just shown for the same key
                check_turned_away(reply)
            if not 200 <= reply.status < 300:
                outcome = RequestOutcome.SERVER_ERROR if reply.status >= 500 else RequestOutcome.REFUSED
                raise _unreachable(outcome, f"{address.host} answered {reply.status}")
            if reply.damage:
                raise _unreachable(RequestOutcome.UNINTELLIGIBLE, f"its answer is of no use, {reply.damage}")
        return reply

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    def _at(self, path: str) -> Address:
        return Address(*self._origin, self._base_path + path)

    def _link(
        self, address: Address, accept: str, key: str, started: float, max_bytes: int, trusted_hosts: Collection[str]
    ) -> tuple[Call, bool]:
        """The request for one hop, and whether it goes to the API's own origin."""
        own, trusted = address.origin == self._origin, address.host in trusted_hosts
        if address.scheme != "https" and not (own or trusted):
            raise _unreachable(RequestOutcome.REFUSED, "its address is not https")
        headers = self._headers(accept, key) if own else {"Accept": accept, "User-Agent": USER_AGENT}
        public_only = not (own or trusted)
        return Call("GET", address, headers, started, max_bytes, fresh=True, public_only=public_only), own

    async def _send_link(self, call: Call, key: str, *, own: bool) -> Reply:
        if own:
            return await self._send(call, key)
        try:
            return await self._receive(call, key)
        except ForbiddenAddress as error:
            raise _unreachable(RequestOutcome.REFUSED, str(error)) from error
        except httpx.TransportError as error:
            failed = unanswered_question(error, self._said(error, key))
            raise _unreachable(failed.outcome, f"at {call.address.host}, {failed.message}") from error

    async def _send(self, call: Call, key: str) -> Reply:
        reply = await self._receive(call, key)
        if (left := reply.requests_left) is not None:
            self._pacer.slow_down(left)
        return reply

    async def _receive(self, call: Call, key: str) -> Reply:
        answer = await self._transport.send(call)
        headers, content, damage = by_name(answer.headers), answer.content, ""
        if "content-encoding" in headers:  # none was asked for, so this is rare, and it may take as long as a bomb can
            content, damage = await asyncio.to_thread(unpacked, content, headers["content-encoding"], call.max_bytes)
            if len(content) > call.max_bytes:
                raise AnswerTooLarge(f"the answer, once unpacked, is larger than {call.max_bytes} bytes")
        return Reply(answer.status, headers, self._masked(narrowed(content), key), damage)

    def _masked(self, content: bytes, key: str) -> bytes:
        for form in forms_of_key(key) + self._beside_key:
            content = without_secret(content, form)
        return content

    def _said(self, error: httpx.TransportError, key: str) -> str:
        """An error's text, which may quote the carrier's bytes."""
        return clean_text(self._masked(str(error).encode("utf-8", "replace"), key).decode())

    def _headers(self, accept: str, key: str) -> dict[str, str]:
        return {"Accept": accept, "User-Agent": USER_AGENT, **self._authorization(key)}

    @contextmanager
    def _judged(
        self,
        operation: str,
        started: float,
        key: str,
        unanswered: Callable[[httpx.TransportError, str], CarrierError] = unanswered_question,
        judged: Callable[[CarrierError], CarrierError] = lambda error: error,
    ) -> Iterator[None]:
        """Tell the observer how what is done within has ended, and turn a bad end into the port's error."""

        def ended(outcome: RequestOutcome) -> None:
            seconds = time.monotonic() - started
            count(outcome, lambda counted: self._observe(operation, counted, seconds))

        try:
            yield
        except httpx.TransportError as error:
            failed = unanswered(error, self._said(error, key))
            ended(failed.outcome)
            raise failed from error
        except CarrierError as error:
            failed = judged(error)
            ended(failed.outcome)
            raise failed from error.__cause__
        except LabelUnreachable as error:
            ended(error.outcome)
            raise
        ended(RequestOutcome.OK)


def _unreachable(outcome: RequestOutcome, reason: str) -> LabelUnreachable:
    return LabelUnreachable(f"the label cannot be had, {clean_text(reason, 300)}", outcome)


def _followed(address: Address, reply: Reply) -> Address:
    """Where a redirect leads (RFC 9110, 10.2.2), which is the caller's to judge; raises `NotAnAddress`."""
    location = reply.headers.get("location")
    if not location:
        raise NotAnAddress(f"it answered {reply.status} and no place")
    return resolved(location, address, "latin-1")
