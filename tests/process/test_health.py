"""`returns-worker health` asks the worker on this machine, with real processes: it is a container's health check."""

import asyncio
import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases import on_sqlite
from tests.process.nursery import nursery
from tests.process.running import RunningWorker, typed

Start = Callable[..., RunningWorker]

pytestmark = on_sqlite


@pytest.fixture
def port(config: Path) -> int:
    """A free port that the worker of this test listens on, on all addresses as it does in a container."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = int(probe.getsockname()[1])
    config.write_text(config.read_text().replace('listen = "127.0.0.1:0"', f'listen = "0.0.0.0:{number}"'))
    return number


async def test_a_worker_that_is_well_is_asked_without_its_keys_its_database_or_a_proxy(
    start: Start, port: int, config: Path, tmp_path: Path
) -> None:
    await (await start().ready()).get("/livez")
    for key in tmp_path.glob("*.key"):
        key.unlink()
    config.write_text(config.read_text().replace("returns.db", "nowhere/returns.db"))
    child = nursery().start(
        "--config",
        str(config),
        "health",
        output=tmp_path / "said",
        errors=tmp_path / "errors",
        environ={"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"},
    )
    code = await asyncio.to_thread(child.wait)
    assert (code, (tmp_path / "said").read_text(), (tmp_path / "errors").read_text()) == (0, "ok\n", "")

    code, said, _ = await typed(config, "health", "--ready")
    assert code == 0
    assert json.loads(said)["ready"] is True


async def test_a_worker_that_hangs_is_unwell_after_the_time_limit(start: Start, port: int, config: Path) -> None:
    worker = await start().ready()
    worker.send(signal.SIGSTOP)
    try:
        code, said, errors = await typed(config, "health", "--timeout", "0.5")
    finally:
        worker.send(signal.SIGCONT)
    assert (code, said) == (1, "")
    assert errors == f"error: no answer from http://127.0.0.1:{port}/livez: nothing within 0.5 s\n"


async def test_where_no_worker_runs_it_says_so(port: int, config: Path) -> None:
    code, said, errors = await typed(config, "health")
    assert (code, said) == (1, "")
    assert f"no answer from http://127.0.0.1:{port}/livez" in errors
    assert "refused" in errors


@pytest.mark.parametrize(("words", "path"), [([], "/livez"), (["--ready"], "/readyz")])
async def test_an_answer_that_is_not_200_is_printed_and_fails(
    port: int, config: Path, words: list[str], path: str
) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n"))
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\nthe loop stands \x1b[31m still\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        code, said, errors = await typed(config, "health", *words)
    assert (code, said, errors) == (1, "the loop stands  [31m still\n", "")
    assert asked == [f"GET {path} HTTP/1.1\r\n".encode()]


async def test_a_worker_on_any_free_port_cannot_be_asked(config: Path) -> None:
    code, said, errors = await typed(config, "health")
    assert (code, said) == (78, "")
    assert "http.listen is 127.0.0.1:0" in errors
