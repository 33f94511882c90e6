"""The simulated carriers as one real HTTP server: start, stop, faults in, ledger out."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Self

from aiohttp import web
from aiohttp.http import HttpProcessingError

from worker.simulator.carrier import LEDGER_LENGTH, Call, Carrier, Ledger, Order, Request, masked_headers
from worker.simulator.control import CONTROL_PREFIX, Control, json_object
from worker.simulator.delivery import Cut, Delivery, deliver, shaped, status_of, with_headers
from worker.simulator.faults import Fault, FaultPlan
from worker.simulator.izipack import Izipack
from worker.simulator.journeys import DEFAULT_JOURNEY
from worker.simulator.returnpilot import PREFIX, ReturnPilot
from worker.simulator.returnpilot_order import PilotOrder

_BACKLOG = 1024  # benchmarks open hundreds of connections at once


class Simulator:
    """A simulated Izipack and a simulated ReturnPilot on a real port, for demos and for tests of an integration.

    Port 0 takes any free one. `stage_seconds` is the time between two words of the journey and `label_seconds`
    the time from creation to the label, both measured by `clock`. Only the status word `Created` is documented by
    Izipack; the other words are made up. Magic words in a request's description ask for trouble, see
    `worker.simulator.MAGIC_WORDS`; ReturnPilot, below `/api/v1`, answers `rate_limit` requests a minute (0: no limit).
    Faults can be injected here and over HTTP (`POST /simulator/faults`).

    `ledger` has every request in the order it was read, the oldest first, the last 100,000. `orders` (Izipack's) and
    `pilot_orders` (ReturnPilot's) are by their numbers, the oldest first; a test may take some away.

    A stopped simulator can be started again: on the same port, with the same orders, as after an outage.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        api_key: str = "IZI-simulator",
        stage_seconds: float = 2.0,
        label_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        journey: Sequence[str] = DEFAULT_JOURNEY,
        token: str = "RP-simulator",  # noqa: S107  the simulator's alone
        rate_limit: int = 60,
    ) -> None:
        self._host, self._port = host, port
        self._izipack = Izipack(api_key, stage_seconds, label_seconds, clock, journey)
        self._pilot = ReturnPilot(token, stage_seconds, rate_limit, clock)
        self.orders: dict[str, Order] = self._izipack.orders
        self.pilot_orders: dict[int, PilotOrder] = self._pilot.orders
        self._carriers: Mapping[str, Carrier] = {"izipack": self._izipack, "returnpilot": self._pilot}
        self._faults = FaultPlan([name for carrier in self._carriers.values() for name in carrier.operations])
        self.ledger: Ledger = deque(maxlen=LEDGER_LENGTH)
        self._control = Control(self._faults, self.ledger, self._carriers, self.reset)
        self._runner: web.ServerRunner | None = None
        self._open: set[asyncio.WriteTransport] = set()  # connections with a request in hand

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The base URL, `http://host:port`; RuntimeError before the first start if the port was left open."""
        if self._port == 0:
            raise RuntimeError("the simulator has no port before it is started")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def returnpilot_url(self) -> str:
        """The base URL of ReturnPilot's API."""
        return self.url + PREFIX

    def add_pilot_order(
        self,
        reference: str,
        body: Mapping[str, object] | None = None,
        *,
        stage: int | None = None,
        created_utc: datetime | None = None,
        link_expires_at: datetime | None = None,
        **fields: object,
    ) -> PilotOrder:
        """Make an order at ReturnPilot that was not asked for over HTTP; nothing of it is checked.

        `fields` are fields of the creation's body and win over `body`; the rest is set on the order itself.
        """
        order = self._pilot.add(reference, {**(body or {}), **fields})
        order.stage = stage
        order.created_utc = created_utc or order.created_utc
        order.link_expires_at = link_expires_at or order.link_expires_at
        return order

    def requests(self, operation: str) -> list[Request]:
        """The ledger's requests of one operation, such as create or rp_create, or unknown."""
        return [request for request in self.ledger if request.operation == operation]

    def inject(self, operation: str, fault: Fault, times: int | None = 1) -> None:
        """Let the next `times` requests of an operation meet `fault` (None: all, until cleared).

        Faults of one operation queue up. Raises ValueError for an unknown operation or times below 1.
        """
        self._faults.inject(operation, fault, times)

    def clear_faults(self, operation: str | None = None) -> None:
        """Forget the injected faults still to come, of one operation or of all."""
        self._faults.clear(operation)

    def reset(self) -> None:
        """Forget orders, ledger and injected faults; open connections stay."""
        self._faults.clear()
        self.ledger.clear()
        for carrier in self._carriers.values():
            carrier.reset()

    async def start(self) -> None:
        """Listen; OSError if the port cannot be had, RuntimeError if it is running already."""
        if self._runner is not None:
            raise RuntimeError("the simulator is already running")
        server = web.Server(self._serve, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=1.0)
        self._runner = runner
        try:
            await runner.setup()
            await web.TCPSite(runner, self._host, self._port, backlog=_BACKLOG).start()
        except BaseException:
            self._runner = None
            await runner.cleanup()
            raise
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and end every request in hand at once; does nothing when not running."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for site in list(runner.sites):
            await site.stop()
        for transport in list(self._open):
            transport.abort()  # the lost connection cancels the handler and its waiting
        await runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            return web.Response()  # the client has gone already
        self._open.add(transport)
        try:
            if request.headers.get("Expect", "").lower() == "100-continue":
                transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # curl waits a second for it
            if request.path == CONTROL_PREFIX or request.path.startswith(CONTROL_PREFIX + "/"):
                return await deliver(request, await self._control.answer(request))
            return await deliver(request, await self._exchange(request))
        finally:
            self._open.discard(transport)

    async def _exchange(self, request: web.BaseRequest) -> Delivery:
        """Read one request, let the carrier or a fault answer it, and enter both in the ledger."""
        carrier = self._pilot if request.path.startswith((PREFIX, "/labels/")) else self._izipack
        operation = carrier.operation(request.method, request.path)
        body: dict[str, object] | None = None
        delivery: Delivery | None = None
        try:
            if request.can_read_body:
                body = json_object(await request.read())
            call = Call(operation, request.method, request.raw_path, request.path, request.query, request.headers, body)
            delivery = self._answer(carrier, call)
        except web.HTTPRequestEntityTooLarge:
            delivery = with_headers(carrier.error(413, "Content Too Large"), carrier.throttle.headers())
        except (web.RequestPayloadError, HttpProcessingError):
            delivery = Cut()  # broken framing or compression: where the next request begins is unknown
        finally:  # also when the client goes away while it is still sending
            asked = (operation, request.method, request.path, request.query_string, masked_headers(request.raw_headers))
            status = None if delivery is None else status_of(delivery)
            self.ledger.append(Request(time.monotonic(), *asked, body, status))
        return delivery

    def _answer(self, carrier: Carrier, call: Call) -> Delivery:
        if not carrier.throttle.admit():
            refusal = carrier.error(429, "Too Many Attempts.")
            return with_headers(refusal, {**carrier.throttle.headers(), **carrier.throttle.refusal_headers()})
        fault = self._faults.take(call.operation)
        answer = carrier.answer(call) if fault is None or fault.process else None
        delivery = answer if fault is None else shaped(fault.delivery, answer)
        assert delivery is not None
        return with_headers(delivery, carrier.throttle.headers())
