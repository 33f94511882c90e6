"""Sends one event to a webhook's endpoint, once, and says what its answer comes to."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx

from worker.domain.delivery import Answered, AskedToWait, Delivered, DeliveryPolicy, Ending, Gone, Undelivered
from worker.domain.news import Message
from worker.http.addresses import ForbiddenAddress
from worker.http.headers import USER_AGENT, by_name, retry_after
from worker.http.links import Address, resolved
from worker.http.transport import AnswerTooLarge, Call, Transport
from worker.news.body import body_of
from worker.news.signing import signed

_MOST_READ = 65_536  # bytes of an answer: its status is all that counts
_NOWHERE = Address("https", "", 443, "/")  # an endpoint is named whole


class Sender:
    """Tells one endpoint of events; what it answers is judged by its status alone, and quoted nowhere."""

    def __init__(
        self, url: str, transport: Transport, keys: Callable[[], Sequence[bytes]], *, private: bool = False
    ) -> None:
        """`keys` is asked at every try, and gives none while the secret cannot be read; all that it gives sign.

        Only one that is `private` may be at an address that is not public. Raises `NotAnAddress`.
        """
        self._address = resolved(url, _NOWHERE)
        self._transport, self._keys, self._public_only = transport, keys, not private

    async def send(self, message: Message, now: datetime, check: Callable[[], None] | None = None) -> Answered:
        """Send it; `now` is what the request says as its time. What `check` raises before the first byte goes through.

        It takes as long as the transport's time limit, with all that belongs to it: look-up, connection, answer.
        """
        started = time.monotonic()
        keys = self._keys()
        if not keys:
            return Undelivered(Ending.NOT_SENT, "its secret cannot be read, so that nothing can be signed")
        content = body_of(message)
        headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT, "Accept": "*/*"}
        call = Call(
            "POST",
            self._address,
            headers | dict(signed(message.id, content, keys, now)),
            started,
            _MOST_READ,
            content,
            fresh=True,  # a kept-alive one that the other end just closed would look like a lost answer
            public_only=self._public_only,
            cut=True,
            last_check=check,
        )
        try:
            answer = await self._transport.send(call)
        except httpx.TransportError as error:
            return _unanswered(error)
        return _answered(answer.status, retry_after(by_name(answer.headers)))

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One configured webhook."""

    name: str
    sender: Sender
    timeout: float  # seconds for one request, all in all
    policy: DeliveryPolicy


def _answered(status: int, wait: timedelta | None) -> Answered:
    said = f"the endpoint answered {status}"
    if 200 <= status < 300:
        return Delivered()
    if status == 410:
        return Gone()
    if status == 429 or (status == 503 and wait is not None):
        return AskedToWait(wait, f"{said}: it asks to wait")
    if 300 <= status < 400:
        return Undelivered(Ending.REDIRECTED, f"{said}: a redirect is not followed, set the address it leads to")
    if 400 <= status < 500:
        return Undelivered(Ending.REFUSED, said)
    return Undelivered(Ending.SERVER_ERROR, said)


def _unanswered(error: httpx.TransportError) -> Undelivered:
    match error:
        case ForbiddenAddress():
            return Undelivered(Ending.FORBIDDEN_ADDRESS, f"{error}; private = true at its subscriber allows it")
        case httpx.ConnectTimeout():
            return Undelivered(Ending.TIMED_OUT, "no connection to the endpoint came about in time")
        case httpx.TimeoutException():
            return Undelivered(Ending.TIMED_OUT, "the endpoint did not answer in time, to the end of its answer")
        case httpx.ConnectError():
            return Undelivered(Ending.UNREACHABLE, f"the endpoint cannot be reached: {error}")
        case AnswerTooLarge() | httpx.RemoteProtocolError():
            return Undelivered(Ending.UNINTELLIGIBLE, "the endpoint answered with something that is no HTTP answer")
    return Undelivered(Ending.UNREACHABLE, "the connection to the endpoint was cut")
