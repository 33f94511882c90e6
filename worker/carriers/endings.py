"""Every way a request can end badly: for a question, and for a creation.

The same event means different things. A question may be asked again whenever it went wrong. A creation happened, unless
something proves that it did not: `_NOT_SENT` and `_NOTHING_WAS_MADE` are all the proofs there are.
"""

import httpx

from worker.carriers.port import (
    CarrierError,
    NotFound,
    NotSent,
    OutcomeUnknown,
    Refused,
    RequestOutcome,
    Throttled,
    TimedOut,
    Unauthorized,
    Unavailable,
    Unintelligible,
    WrongAddress,
)
from worker.carriers.replies import NoAnswer, Reply, as_document, clean_text
from worker.http.transport import AnswerTooLarge

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
"""No byte of the request left: no connection, no name, no TLS, or a proxy that refused to connect."""

_NOTHING_WAS_MADE = {
    400: "the request was not understood",
    401: "the key was not accepted, and is looked at first",
    403: "the key may not do this, and is looked at first",
    422: "the request breaks a rule of the carrier's",
    429: "it was turned away for its rate",
    503: "it was turned away with a time to come back, by a carrier that is trusted with it",
}
"""The answers of which each proves that no return was made, and why. No other answer proves it: a front, a proxy or
a gateway may have passed the request on and then given an answer of its own (404, 407, 424, 460, 499 ...)."""

_WRONG_ADDRESS = frozenset({404, 405, 410})
_TOO_SLOW = frozenset({408, 425})  # the 4xx that are about the other end's state, not about the request


def check_question(reply: Reply) -> None:
    """Raise for an answer to a GET that is not a success."""
    status = reply.status
    if 200 <= status < 300:
        return
    check_turned_away(reply)
    answered = f"the carrier answered {status}"
    if status in (404, 410):
        raise NotFound(f"{answered}: it does not know this return")
    kind = Unavailable if status >= 500 or status in _TOO_SLOW else Refused
    raise kind(f"{answered}: {reply.excerpt()}", raw=reply.raw())


def check_deletion(reply: Reply) -> None:
    """Raise for an answer to a DELETE that does not say that it is done."""
    if reply.status == 403:
        raise Refused(f"the carrier answered 403: {_reason(reply)}", raw=reply.raw())
    if reply.is_redirect or (200 <= reply.status < 300 and reply.content.strip()):
        raise Unintelligible(f"the carrier answered {reply.status}: {reply.excerpt()}", raw=reply.raw())
    check_question(reply)


def check_creation(reply: Reply, *, trust_503: bool = True) -> None:
    """Raise for an answer to a creation that is not a success; what proves nothing is in doubt."""
    status = reply.status
    if 200 <= status < 300:
        return
    answered, raw = f"the carrier answered {status}", reply.raw()
    if status in _NOTHING_WAS_MADE and (status != 503 or trust_503):
        check_turned_away(reply)
        if status != 503:
            raise Refused(f"{answered}: {_reason(reply)}", raw=raw)
    said = f"{answered}: {reply.excerpt()}"
    if status in _WRONG_ADDRESS:
        raise WrongAddress(said, raw=raw)
    outcome = RequestOutcome.UNINTELLIGIBLE if status < 400 else RequestOutcome.REFUSED
    if status >= 500 or status in _TOO_SLOW:
        outcome = RequestOutcome.SERVER_ERROR
    raise OutcomeUnknown(said, raw=raw, outcome=outcome)


def check_turned_away(reply: Reply) -> None:
    """Raise for an answer that is about the account: its key, or how often it asks."""
    if reply.status in (401, 403):
        raise Unauthorized(f"the carrier refused the key ({reply.status})")
    if reply.status == 429 or (reply.status == 503 and reply.retry_after is not None):
        nonsense = "retry-after" in reply.headers and reply.retry_after is None  # it may quote our key: it is not shown
        message = f"the carrier asks to wait ({reply.status}" + (", a Retry-After without sense)" if nonsense else ")")
        raise Throttled(message, retry_after=reply.wait_asked)


def unanswered_question(error: httpx.TransportError, said: str) -> CarrierError:
    """What it means for a question that no answer came; `said` is the error's text without our key."""
    if isinstance(error, _NOT_SENT):
        return NotSent(f"the carrier cannot be reached: {said}")
    if isinstance(error, httpx.TimeoutException):
        return TimedOut("the carrier did not answer in time")
    if isinstance(error, AnswerTooLarge):
        return Unintelligible(said)
    return Unavailable(f"{_broken(error)}: {said}", outcome=RequestOutcome.NETWORK)


def unanswered_creation(error: httpx.TransportError, said: str) -> CarrierError:
    """What it means for a creation: not sent, or in doubt."""
    asked = unanswered_question(error, said)
    match asked:
        case NotSent():
            return asked
        case TimedOut():
            message = "the creation was sent and not answered in time"
        case Unintelligible():
            message = said
        case _:
            message = f"{_broken(error)} after the creation was sent: {said}"
    return OutcomeUnknown(message, outcome=asked.outcome)


def _broken(error: httpx.TransportError) -> str:
    is_no_http = isinstance(error, httpx.RemoteProtocolError)
    return "something came that is no HTTP answer, or half of one" if is_no_http else "the connection was cut"


def in_doubt(error: CarrierError) -> CarrierError:
    """A success that cannot be read may still have created the return."""
    if isinstance(error, Unintelligible):
        return OutcomeUnknown(error.message, raw=error.raw, outcome=error.outcome)
    return error


def in_outage(error: CarrierError) -> CarrierError:
    """A page for people, or nothing, in the place of an answer to a question is the carrier's trouble, like a 5xx.

    No return is to blame for it: the next one would be answered alike.
    """
    return Unavailable(error.message, raw=error.raw) if isinstance(error, NoAnswer) else error


def _reason(reply: Reply) -> str:
    """What a refusal says: ASP.NET's problem+json (RFC 9457) when it is that, else its beginning."""
    try:
        problem = reply.json_object()
    except Unintelligible:
        return reply.excerpt()
    parts = [problem[name] for name in ("title", "detail", "message") if isinstance(problem.get(name), str)]
    errors = problem.get("errors")
    if isinstance(errors, dict):
        for path, said in errors.items():
            messages = said if isinstance(said, list) else [said]
            texts = (each if isinstance(each, str) else as_document(each) for each in messages)
            parts.append(f"{path}: {', '.join(texts)}")
    return clean_text("; ".join(filter(None, parts)), 1000) or reply.excerpt()
