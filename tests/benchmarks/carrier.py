"""A stand-in carrier that costs as little as can be: a process of its own, a bare protocol, answers made beforehand.

It speaks as much of Izipack as the worker asks for, after the samples of its documentation: `GET /shipment/N`, its
label, and `POST /shipment/retour`. What it served it tells at `GET /served`. It checks no key and no body.
"""

import argparse
import asyncio
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvloop

from tests.benchmarks.processes import said, started
from worker.simulator.pdf import text_pdf

STATUS = {
    "status": "Created",
    "deliveryDateUtc": "2023-01-24T13:08:25.482314",
    "description": None,
    "extraInstructions": None,
    "companyName": None,
    "toAttentionOf": None,
    "packages": [
        {"labelCode": "7IZP25F79D8C432A4F7490F4DA8704843CD4"},
        {"labelCode": "7IZP3C12767E8D1341889DE82988644EA04D"},
    ],
}
CREATED = {
    "orderNumber": "RO00000000000000",
    "status": "Created",
    "packages": [
        {"labelCode": "7RET063502270276", "description": "package 1"},
        {"labelCode": "7RET350272270660", "description": "package 2"},
    ],
}


@dataclass(slots=True)
class Served:
    """How many answers of each kind have been sent."""

    status: int = 0
    label: int = 0
    creation: int = 0


class StandIn:
    """A stand-in in a process of its own, and where it listens."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid, self.url = pid, f"http://127.0.0.1:{port}"

    @classmethod
    @contextmanager
    def serving(cls, *, latency: float = 0.0, labels: bool = True) -> Iterator["StandIn"]:
        """One that answers `latency` seconds after each question; without `labels` it says that none is ready."""
        arguments = ("--latency", str(latency), *(() if labels else ("--no-labels",)))
        with started("-m", "tests.benchmarks.carrier", *arguments) as process:
            yield cls(process.pid, said(process)["port"])

    def served(self) -> Served:
        """What it has answered so far."""
        with urllib.request.urlopen(f"{self.url}/served", timeout=10) as answer:
            return Served(**json.load(answer))


class _Connection(asyncio.Protocol):
    """One kept-alive connection; requests come one after the other, as HTTP clients send them without pipelining."""

    def __init__(self, latency: float, labels: bool, served: Served) -> None:
        self._latency, self._labels, self._served = latency, labels, served
        self._received = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:  # uvloop's, which is no subclass of asyncio's
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or (head.startswith(b"POST") and len(body) < _length(head)):
            return
        self._received = b""
        if head.startswith(b"GET /served "):
            self._transport.write(_answer(200, _JSON, json.dumps(self._counts()).encode()))
            return
        answer = self._answered(head)
        if self._latency:
            self._loop.call_later(self._latency, self._send, answer)
        else:
            self._transport.write(answer)

    def _answered(self, head: bytes) -> bytes:
        if head.startswith(b"POST /shipment/retour "):
            self._served.creation += 1
            return _CREATED.replace(b"RO00000000000000", b"RO%014d" % self._served.creation)
        if b"/label " in head[:200]:
            self._served.label += 1
            return _LABEL if self._labels else _NO_LABEL
        self._served.status += 1
        return _STATUS

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)

    def _counts(self) -> dict[str, int]:
        return {name: getattr(self._served, name) for name in ("status", "label", "creation")}


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


def _answer(status: int, content_type: bytes, body: bytes) -> bytes:
    reason = {200: b"OK", 404: b"Not Found"}[status]
    return b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        *(status, reason, content_type, len(body)),
        body,
    )


_JSON = b"application/json; charset=utf-8"
_STATUS = _answer(200, _JSON, json.dumps(STATUS).encode())
_CREATED = _answer(200, _JSON, json.dumps(CREATED).encode())
_LABEL = _answer(200, b"application/pdf", text_pdf([["package 1"], ["package 2"]]))
_NO_LABEL = _answer(404, _JSON, b"{}")


async def _serve(latency: float, labels: bool) -> None:
    served = Served()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(latency, labels, served), "127.0.0.1", 0, backlog=4096
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--no-labels", dest="labels", action="store_false")
    chosen = parser.parse_args()
    uvloop.run(_serve(chosen.latency, chosen.labels))


if __name__ == "__main__":
    main()
