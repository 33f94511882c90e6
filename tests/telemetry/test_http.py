"""The promises of /metrics, /livez and /readyz, asked over real HTTP."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import Metric

from worker.telemetry.http import ListenError, Readiness, TelemetryServer


async def all_is_well() -> Readiness:
    return Readiness(ready=True, checks={"database": "ok", "schema": "ok"})


def a_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("returns_worker_steps", "Steps taken.", registry=registry).inc(3)
    return registry


class Failing:
    def collect(self) -> Iterator[Metric]:
        raise RuntimeError("secret inside")

    def describe(self) -> list[Metric]:
        return []


class Asking:
    """A server under test and a client that asks it."""

    def __init__(self, server: TelemetryServer, client: aiohttp.ClientSession) -> None:
        self.server, self.client = server, client

    async def __call__(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str, aiohttp.ClientResponse]:
        host, port = self.server.address
        async with self.client.request(method, f"http://{host}:{port}{path}", headers=headers) as answer:
            return answer.status, await answer.text(), answer


@asynccontextmanager
async def serving(
    readiness: Callable[[], Awaitable[Readiness]] = all_is_well,
    age: Callable[[], float] = lambda: 0.0,
    registry: CollectorRegistry | None = None,
    **options: Any,
) -> AsyncIterator[Asking]:
    server = TelemetryServer(
        "127.0.0.1",
        0,
        registry=registry or a_registry(),
        seconds_since_turn=age,
        turn_limit=30.0,
        readiness=readiness,
        **options,
    )
    await server.start()
    try:
        async with aiohttp.ClientSession() as client:
            yield Asking(server, client)
    finally:
        await server.stop()


async def test_port_0_becomes_a_real_one() -> None:
    async with serving() as ask:
        host, port = ask.server.address
        assert host == "127.0.0.1"
        assert port > 0


@pytest.mark.parametrize("accept", ["*/*", "text/plain;version=0.0.4", "application/openmetrics-text; version=x.y"])
async def test_metrics_are_prometheus_text_by_default(accept: str) -> None:
    async with serving() as ask:
        status, text, answer = await ask("/metrics", Accept=accept)
    assert status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert "\nreturns_worker_steps_total 3.0\n" in text
    assert "# EOF" not in text


async def test_metrics_are_openmetrics_for_who_asks() -> None:
    async with serving() as ask:
        accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
        status, text, answer = await ask("/metrics", Accept=accept)
    assert status == 200
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


async def test_a_collector_that_fails_shows_no_trace() -> None:
    registry = CollectorRegistry()
    registry.register(Failing())
    asyncio.get_running_loop().set_debug(True)  # in which aiohttp itself would show one
    async with serving(registry=registry) as ask:
        status, text, _ = await ask("/metrics")
    assert (status, text) == (500, "internal error, see the log\n")


@pytest.mark.parametrize(("age", "status"), [(0.0, 200), (30.0, 200), (30.1, 503), (float("nan"), 503)])
async def test_alive_means_that_the_loop_turned_lately(age: float, status: int) -> None:
    async with serving(age=lambda: age) as ask:
        answer, text, _ = await ask("/livez")
    assert answer == status
    assert text == "ok\n" if status == 200 else "the limit is 30 s" in text


async def test_alive_asks_neither_database_nor_carrier() -> None:
    async def must_not_be_asked() -> Readiness:
        raise AssertionError

    async with serving(must_not_be_asked) as ask:
        status, _, _ = await ask("/livez")
    assert status == 200


async def test_ready_tells_what_was_checked() -> None:
    async with serving() as ask:
        status, text, answer = await ask("/readyz")
    assert status == 200
    assert answer.content_type == "application/json"
    assert json.loads(text) == {"ready": True, "checks": {"database": "ok", "schema": "ok"}}


async def test_not_ready_is_503_with_the_reasons() -> None:
    async def behind() -> Readiness:
        return Readiness(ready=False, checks={"database": "ok", "schema": "behind: run returns-worker migrate"})

    async with serving(behind) as ask:
        status, text, _ = await ask("/readyz")
    assert status == 503
    assert json.loads(text)["checks"]["schema"] == "behind: run returns-worker migrate"


async def test_a_check_that_fails_is_503_and_says_nothing_of_how() -> None:
    async def broken() -> Readiness:
        raise OSError("password=hunter2")

    async with serving(broken) as ask:
        status, text, _ = await ask("/readyz")
    assert status == 503
    assert json.loads(text) == {"ready": False, "checks": {"readiness": "the check failed, see the log"}}


async def test_a_check_that_hangs_is_503_in_time() -> None:
    async def hangs() -> Readiness:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(hangs, readiness_timeout=0.05) as ask:
        status, text, _ = await ask("/readyz")
    assert status == 503
    assert json.loads(text)["checks"] == {"readiness": "no answer within 0.05 s"}


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz"])
async def test_head_is_get_without_the_body(path: str) -> None:
    async with serving() as ask:
        got, head = await ask(path), await ask(path, "HEAD")
    assert head[0] == got[0] == 200
    assert head[1] == ""
    assert head[2].headers["Content-Type"] == got[2].headers["Content-Type"]


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_nothing_can_be_written(path: str, method: str) -> None:
    async with serving() as ask:
        status, _, answer = await ask(path, method)
    assert status == 405
    assert answer.headers["Allow"] == "GET,HEAD"


@pytest.mark.parametrize("path", ["/", "/metrics/more"])
async def test_beside_the_three_there_is_nothing(path: str) -> None:
    async with serving() as ask:
        status, _, _ = await ask(path)
    assert status == 404


@pytest.mark.parametrize("path", ["/", "/metrics", "/nowhere"])
async def test_no_answer_names_versions_or_is_kept_by_caches(path: str) -> None:
    async with serving() as ask:
        _, _, answer = await ask(path)
    assert "Server" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_taken_port_is_told_by_address_and_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = TelemetryServer(
            "127.0.0.1",
            port,
            registry=a_registry(),
            seconds_since_turn=lambda: 0.0,
            turn_limit=30.0,
            readiness=all_is_well,
        )
        with pytest.raises(ListenError) as error:
            await server.start()
    assert str(error.value) == f"cannot listen on 127.0.0.1:{port} (setting http.listen): Address already in use"


@pytest.mark.parametrize(
    ("host", "shown"), [("nowhere.invalid", "nowhere.invalid:0"), ("2001:db8::1", "[2001:db8::1]:0")]
)
async def test_an_address_that_is_not_ours_is_told_too(host: str, shown: str) -> None:
    server = TelemetryServer(
        host, 0, registry=a_registry(), seconds_since_turn=lambda: 0.0, turn_limit=1.0, readiness=all_is_well
    )
    with pytest.raises(ListenError) as error:
        await server.start()
    assert str(error.value).startswith(f"cannot listen on {shown} (setting http.listen): ")


async def test_after_stop_nobody_answers_and_stopping_again_is_fine() -> None:
    async with serving() as ask:
        host, port = ask.server.address
        await ask.server.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)
    with pytest.raises(RuntimeError, match="not started"):
        _ = ask.server.address


class Slow:
    """As long as the metrics of a thousand accounts are; it looks whether the loop goes on meanwhile."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def collect(self) -> Iterator[Metric]:
        self.asked.set()
        assert self.go_on.wait(10)
        metric = Metric("returns_worker_steps", "Steps taken.", "counter")
        for number in range(5000):
            metric.add_sample("returns_worker_steps_total", {"account": f"shop_{number}"}, 0.0)
        yield metric

    def describe(self) -> list[Metric]:
        return []


async def test_many_metrics_are_written_beside_the_loop_and_compressed_for_who_asks() -> None:
    registry, slow = CollectorRegistry(), Slow()
    registry.register(slow)
    async with serving(registry=registry) as ask:
        asking = asyncio.create_task(ask("/metrics", **{"Accept-Encoding": "gzip"}))
        assert await asyncio.to_thread(slow.asked.wait, 10)
        assert (await ask("/livez"))[0] == 200
        slow.go_on.set()
        status, text, answer = await asking
        assert (status, answer.headers["Content-Encoding"]) == (200, "gzip")
        assert int(answer.headers["Content-Length"]) < len(text) / 5
        status, plain, answer = await ask("/metrics", **{"Accept-Encoding": "identity"})
        assert (plain, "Content-Encoding" in answer.headers) == (text, False)
