"""The faults that can be injected, by name, and the queue of those still to come."""

import gzip
import inspect
import json
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import NoneType

from worker.simulator.answers import ANSWER_CHANGES, with_references_changed, without_any, without_newest
from worker.simulator.changes import chosen, in_json
from worker.simulator.delivery import (
    Altered,
    Cut,
    Delivery,
    Flood,
    Hang,
    Reply,
    Spoiled,
    send_half,
    send_slowly,
    send_twice,
)
from worker.simulator.labels import with_label_changed
from worker.simulator.links import changed_labels

_GARBAGE = b'{"orderNumber": "9RET\x00\xff\xfe\x80'
_HTML = b"<!DOCTYPE html><html><body><h1>Service temporarily unavailable</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request: `delivery` is what the client gets instead of the true answer.

    With `process` the carrier first does what was asked (an order exists, though its answer is lost).
    """

    delivery: Delivery
    process: bool = False


def reply(
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    body: str | bytes | Mapping[str, object] = "",
    process: bool = False,
) -> Fault:
    """Answer with any status, headers and body (an object is sent as JSON).

    Raises ValueError for a status outside 200..599 and for headers that HTTP does not allow here.
    """
    _check_range("status", status, 200, 599)
    media_type = "text/plain; charset=utf-8"
    if isinstance(body, Mapping):
        body, media_type = json.dumps(body), "application/json"
    sent = {"Content-Type": media_type}
    for name, value in (headers or {}).items():
        if not isinstance(value, str) or not (name + value).isprintable() or not name:
            raise ValueError(f"headers: {name!r} must have a value of printable text")
        if name.lower() in {"content-length", "transfer-encoding"}:
            raise ValueError(f"headers: {name} is set by the server; see the faults truncated and huge")
        if name.lower() == "content-type":
            del sent["Content-Type"]
        sent[name] = value
    return Fault(Reply(status, body.encode() if isinstance(body, str) else body, sent), process)


def busy(retry_after: int | None = 1) -> Fault:
    """503 with Retry-After in seconds (None: without the header); nothing is done."""
    return reply(503, _retry_after(retry_after), "Service Unavailable")


def throttled(retry_after: int | None = 1) -> Fault:
    """429 with Retry-After in seconds (None: without the header); nothing is done."""
    return reply(429, _retry_after(retry_after), "Too Many Requests")


def server_error(status: int = 500, process: bool = False) -> Fault:
    """A server error, 500 unless told otherwise."""
    return reply(status, None, "Internal Server Error", process)


def cut(process: bool = False) -> Fault:
    """Close the connection without an answer, before or (process) after doing what was asked."""
    return Fault(Cut(), process)


def hang(process: bool = False) -> Fault:
    """Take the request and never answer; with process, do what was asked all the same."""
    return Fault(Hang(), process)


def garbage(process: bool = False) -> Fault:
    """200, application/json, and bytes that are no JSON."""
    return reply(200, {"Content-Type": "application/json"}, _GARBAGE, process)


def html(status: int = 200, process: bool = False) -> Fault:
    """A web page with 200 or another status, as a gateway or a maintenance page in between may send it."""
    return reply(status, {"Content-Type": "text/html; charset=utf-8"}, _HTML, process)


def huge(byte_count: int = 100_000_000, process: bool = False) -> Fault:
    """200 and a stream of that many bytes, its length not announced."""
    if byte_count < 1:
        raise ValueError(f"byte_count must be at least 1, not {byte_count}")
    return Fault(Flood(byte_count), process)


def truncated() -> Fault:
    """Do what was asked, announce the whole answer, send half of it, cut the connection."""
    return Fault(Spoiled(send_half), process=True)


def redirect(url: str, status: int = 307) -> Fault:
    """Redirect to url; nothing is done."""
    _check_range("status", status, 300, 399)
    return reply(status, {"Location": url})


def trickle(seconds_per_byte: float = 0.1) -> Fault:
    """Do what was asked and answer truly, one byte of the body at a time."""
    _check_range("seconds_per_byte", seconds_per_byte, 0, 3600)
    return Fault(Spoiled(partial(send_slowly, pause=seconds_per_byte)), process=True)


def not_found(status: int = 404, process: bool = True) -> Fault:
    """Do what was asked and answer 404 (or another status) all the same, as a front that lost its way may."""
    return reply(status, None, "Not Found", process)


def twice(pause_seconds: float = 0.02) -> Fault:
    """Do what was asked, answer truly, and after a pause send the same answer once more, unasked."""
    _check_range("pause_seconds", pause_seconds, 0, 3600)
    return Fault(Spoiled(partial(send_twice, pause=pause_seconds)), process=True)


def long_headers(byte_count: int = 12_000, lines: int = 1) -> Fault:
    """Do what was asked and answer truly, with that many bytes of headers more, on so many lines."""
    _check_range("lines", lines, 1, 100_000)
    if not lines <= byte_count <= 100_000_000:
        raise ValueError(f"byte_count must be {lines} (one for each line) to 100000000, not {byte_count}")
    names = ["Content-Security-Policy", *(f"X-Added-{number}" for number in range(1, lines))]
    added = dict.fromkeys(names, "x" * (byte_count // lines))
    return _altered(lambda true: replace(true, headers={**true.headers, **added}))


def encoding(coding: str = "gzip", applied: bool = False) -> Fault:
    """Do what was asked and answer truly under that Content-Encoding; the body is encoded so only if applied."""
    if not coding.isascii() or not coding.isprintable():
        raise ValueError(f"coding must be printable ASCII, not {coding!r}")
    if applied and coding not in _ENCODERS:
        raise ValueError(f"coding must be one of {', '.join(_ENCODERS)} to be applied, not {coding!r}")
    encode = _ENCODERS[coding] if applied else bytes
    return _altered(lambda true: replace(true, body=encode(true.body), headers=_with(true, "Content-Encoding", coding)))


def charset(name: str = "iso-8859-1", declared: bool = True) -> Fault:
    """Do what was asked and answer truly, JSON in that charset with nothing escaped; named so only if declared."""
    try:
        "".encode(name)
    except (LookupError, ValueError):
        raise ValueError(f"name must be a charset's, such as iso-8859-1 or utf-16, not {name!r}") from None

    def alter(true: Reply) -> Reply:
        media_type = true.headers.get("Content-Type", "")
        if "json" not in media_type:
            return true
        text = json.dumps(json.loads(true.body), ensure_ascii=False)
        said = f"{media_type}; charset={name}" if declared else media_type
        return replace(true, body=text.encode(name, "replace"), headers=_with(true, "Content-Type", said))

    return _altered(alter)


_ENCODERS: Mapping[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


def _altered(alter: Callable[[Reply], Reply]) -> Fault:
    return Fault(Altered(alter), process=True)


def _with(true: Reply, name: str, value: str) -> Mapping[str, str]:
    return {**true.headers, name: value}


def changed_references(change: str = "number") -> Fault:
    """Show each order of the list with its reference changed: number, entities, separator, cut, dropped or replaced."""
    return _altered(with_references_changed(change))


def lagging_list(seconds: float = 60) -> Fault:
    """Leave out of the list what was made less than so many seconds ago."""
    _check_range("seconds", seconds, 0, 10**6)
    return _altered(without_newest(seconds))


def empty_list() -> Fault:
    """Show a list without any order, even where there are orders."""
    return _altered(without_any)


def changed_label(change: str = "mangled") -> Fault:
    """Do what was asked and serve the label as the word sim:CHANGE-label does."""
    return _altered(with_label_changed(change))


def changed_links(change: str = "signed", seconds: float = 300) -> Fault:
    """Answer truly, each label_url as the word sim:CHANGE-label makes it; a signature lasts so many seconds."""
    return _altered(in_json(changed_labels(change, seconds)))


def changed_answer(change: str = "null-status") -> Fault:
    """Do what was asked and answer truly, in the JSON that the word sim:CHANGE makes of it."""
    return _altered(in_json(chosen(ANSWER_CHANGES, change).apply))


def _check_range(name: str, value: float, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name} must be {least} to {most}, not {value}")


def _retry_after(seconds: int | None) -> dict[str, str]:
    return {} if seconds is None else {"Retry-After": str(seconds)}


_BUILDERS: Mapping[str, Callable[..., Fault]] = {
    builder.__name__: builder
    for builder in (
        *(reply, busy, throttled, server_error, cut, hang),
        *(garbage, html, huge, truncated, redirect, trickle),
        *(not_found, twice, long_headers, encoding, charset),
        *(changed_references, lagging_list, empty_list),
        *(changed_label, changed_links, changed_answer),
    )
}

FAULTS: Mapping[str, str] = {name: (builder.__doc__ or "").partition("\n")[0] for name, builder in _BUILDERS.items()}
"""Every fault's name and what it does, in one line; the function of that name builds it."""

# The same word means the same everywhere, so one table checks the parameters of all faults.
_PARAMETER_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("status", "byte_count", "lines"), (int,)),
    **dict.fromkeys(("seconds_per_byte", "pause_seconds", "seconds"), (int, float)),
    **dict.fromkeys(("process", "applied", "declared"), (bool,)),
    **dict.fromkeys(("url", "coding", "name", "change"), (str,)),
    "headers": (dict, NoneType),
    "body": (str, dict),
    "retry_after": (int, NoneType),
}


def build_fault(name: object, parameters: Mapping[str, object]) -> Fault:
    """The fault called `name` with JSON `parameters`; raises ValueError saying what is wrong with them."""
    if not isinstance(name, str) or name not in _BUILDERS:
        raise ValueError(f"fault must be one of {', '.join(_BUILDERS)}, not {name!r}")
    signature = inspect.signature(_BUILDERS[name]).parameters
    for key, value in parameters.items():
        if key not in signature:
            raise ValueError(f"{name} has no parameter {key!r}; it takes: {', '.join(signature) or 'none'}")
        allowed = _PARAMETER_TYPES[key]
        # bool is an int to Python; to a reader of JSON it is not.
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            wanted = " or ".join("null" if kind is NoneType else kind.__name__ for kind in allowed)
            raise ValueError(f"{key} must be {wanted}, not {value!r}")
    for key, parameter in signature.items():
        if parameter.default is inspect.Parameter.empty and key not in parameters:
            raise ValueError(f"{name} needs the parameter {key!r}")
    return _BUILDERS[name](**parameters)


def refused_by_words(words: frozenset[str], name: str, turned_away: set[str], refusal: Reply) -> Delivery | None:
    """What the magic words of a creation answer instead of making it; `turned_away`: the names that were busy once."""
    if "sim:busy" in words and name not in turned_away:
        turned_away.add(name)
        return busy(retry_after=1).delivery
    if "sim:refuse" in words:
        return refusal
    return server_error().delivery if "sim:server-error" in words else None


class FaultPlan:
    """The faults still to come, first in first out for each operation."""

    def __init__(self, operations: Sequence[str]) -> None:
        self._queues: dict[str, deque[tuple[Fault, int | None]]] = {name: deque() for name in operations}

    def inject(self, operation: object, fault: Fault, times: object = 1) -> None:
        """Let the next `times` requests of `operation` meet `fault`; None: all of them, until `clear`.

        Raises ValueError for an unknown operation or times below 1.
        """
        if not isinstance(operation, str) or operation not in self._queues:
            raise ValueError(f"operation must be one of {', '.join(self._queues)}, not {operation!r}")
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
            raise ValueError(f"times must be a whole number from 1, or null for always, not {times!r}")
        self._queues[operation].append((fault, times))

    def take(self, operation: str) -> Fault | None:
        """The fault that the request now at hand meets, used up by this call; None: no fault."""
        queue = self._queues.get(operation)
        if not queue:
            return None
        fault, times = queue[0]
        if times == 1:
            queue.popleft()
        elif times is not None:
            queue[0] = (fault, times - 1)
        return fault

    def clear(self, operation: str | None = None) -> None:
        """Forget what is still to come, of one operation or of all."""
        for name, queue in self._queues.items():
            if operation in (None, name):
                queue.clear()
