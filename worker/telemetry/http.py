"""The small HTTP server that answers for the worker: /metrics, /livez and /readyz."""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from worker.telemetry.connections import Connection, Limits

_BACKLOG = 32  # connections that the event loop accepts in one go, and so may have beside the limit for a moment

_log = logging.getLogger(__name__)

_LARGE = 100_000  # bytes; more is compressed in a thread


class ListenError(Exception):
    """The address of `http.listen` cannot be listened on; the message names both and says why."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the worker can do its work now, and what each check found, by the check's name.

    All who reach the port may read it, so a finding must not hold a secret or an error's raw text.
    """

    ready: bool
    checks: Mapping[str, str]


@dataclass(slots=True)
class TelemetryServer:
    """Answers with the metrics and the two probes, between `start()` and `stop()`."""

    host: str
    port: int  # 0: any free one
    registry: CollectorRegistry
    seconds_since_turn: Callable[[], float]  # how long ago the loop last turned
    turn_limit: float  # from more seconds than that on, /livez answers 503
    readiness: Callable[[], Awaitable[Readiness]]  # is asked for each /readyz
    readiness_timeout: float = 2.0  # seconds it has for that
    limits: Limits = field(default_factory=Limits)  # what all who ask may take together
    # Serves what else there is beside these three; None: nothing.
    serve_pages: Callable[[web.Application], None] | None = None

    _runner: web.AppRunner | None = field(default=None, init=False)
    _listening: asyncio.Server | None = field(default=None, init=False)

    @property
    def address(self) -> tuple[str, int]:
        """The host and port it listens on, the port as the system chose it for 0; RuntimeError before `start()`."""
        if self._listening is None:
            raise RuntimeError("the telemetry server is not started")
        host, port, *_ = self._listening.sockets[0].getsockname()
        return host, port

    async def start(self) -> None:
        """Begin to listen; ListenError when the address is taken, forbidden or not of this machine."""
        app = web.Application(middlewares=[_without_traces])
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        if self.serve_pages is not None:
            self.serve_pages(app)
        app.on_response_prepare.append(_finish_headers)
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        server = runner.server
        assert server is not None
        try:
            self._listening = await asyncio.get_running_loop().create_server(
                lambda: Connection(server, self.limits), self.host, self.port, backlog=_BACKLOG
            )
        except OSError as error:
            await runner.cleanup()
            raise ListenError(self._why_not(error)) from error
        self._runner = runner

    async def stop(self) -> None:
        """Stop listening; answers under way get a second. Without a `start()`, or again, it does nothing."""
        listening, self._listening = self._listening, None
        runner, self._runner = self._runner, None
        if listening is not None:
            listening.close()
        if runner is not None:
            await runner.cleanup()

    def _why_not(self, error: OSError) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        # A failed look-up of a name counts its errors differently from os.strerror.
        named = error.errno is not None and not isinstance(error, socket.gaierror)
        reason = os.strerror(error.errno or 0) if named else error.strerror or str(error)
        return f"cannot listen on {host}:{self.port} (setting http.listen): {reason}"

    async def _metrics(self, request: web.Request) -> web.Response:
        accept = ",".join(request.headers.getall("Accept", []))
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # it takes what stands for the version for a number
            encode, content_type = choose_encoder("")
        # With a thousand accounts it is 120,000 lines, which take seconds: the event loop must not wait.
        body = await asyncio.to_thread(encode, self.registry)
        response = web.Response(body=body, headers={"Content-Type": content_type}, zlib_executor_size=_LARGE)
        response.enable_compression()
        return response

    async def _livez(self, _: web.Request) -> web.Response:
        age = self.seconds_since_turn()
        if age <= self.turn_limit:
            return web.Response(text="ok\n")
        text = f"the loop last turned {age:.1f} s ago; the limit is {self.turn_limit:g} s\n"
        return web.Response(status=503, text=text)

    async def _readyz(self, _: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(self.readiness_timeout):
                found = await self.readiness()
        except TimeoutError:
            found = Readiness(ready=False, checks={"readiness": f"no answer within {self.readiness_timeout:g} s"})
        except Exception:
            _log.exception("the readiness check failed")
            found = Readiness(ready=False, checks={"readiness": "the check failed, see the log"})
        content = {"ready": found.ready, "checks": dict(found.checks)}
        return web.json_response(content, status=200 if found.ready else 503)


@web.middleware
async def _without_traces(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer an unforeseen error with 500 and one sentence: aiohttp's own page shows the trace in debug mode."""
    if isinstance(request.protocol, Connection):
        request.protocol.asks()
    try:
        return await handler(request)
    except web.HTTPException:
        raise
    except Exception:
        _log.exception("no answer for %s", request.path)
        return web.Response(status=500, text="internal error, see the log\n")


async def _finish_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)  # it names the versions that run here
    response.headers["Cache-Control"] = "no-store"
