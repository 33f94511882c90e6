"""docs/integrate/webhooks.md: the request that it shows is what is sent; both receivers take that, and nothing else."""

import asyncio
import base64
import http.client
import os
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.documents.pages import read, snippet
from worker.domain.delivery import Delivered
from worker.domain.news import Message, Source
from worker.http.transport import AiohttpTransport
from worker.news.body import body_of
from worker.news.sender import Sender
from worker.news.signing import signed
from worker.settings import load

PAGE = read("docs/integrate/webhooks.md")
KEY, OLD = bytes(range(24)), bytes(range(1, 33))
SECRETS = " ".join("whsec_" + base64.b64encode(key).decode() for key in (OLD, KEY))
AT = datetime(2026, 11, 26, 12, 0, 0, 123456, UTC)
MESSAGE = Message(
    *("tracking_status.in_transit", "default", "R-1001", 7, 3, Source.TRANSITION, 4711, AT),
    *("9RET326720205706", "OnItsWay", AT - timedelta(hours=1), "pre_transit", "in_transit"),
)
RECEIVERS = {"python": (sys.executable, "receiver.py"), "node": ("node", "receiver.js")}


def test_the_request_of_the_page_is_the_one_that_is_sent() -> None:
    content = body_of(MESSAGE)
    headers = "".join(f"{name}: {value}\n" for name, value in signed(MESSAGE.id, content, [KEY], AT).items())
    shown = "POST /returns/news HTTP/1.1\nContent-Type: application/json\n" + headers + f"\n{content.decode()}\n"
    assert snippet("webhook-request", PAGE) == shown


@pytest.fixture(params=list(RECEIVERS))
def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A receiver of the page as a file, and what runs it."""
    program, name = RECEIVERS[request.param]
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}: .ci/run takes it where it is")
    (tmp_path / name).write_text(snippet(f"webhook-receiver-{request.param}", PAGE))
    return program, tmp_path / name


@asynccontextmanager
async def listening(receiver: tuple[str, Path]) -> AsyncIterator[int]:
    """The receiver as a process of its own; the port that it listens on."""
    program, file = receiver
    environment = os.environ | {"WEBHOOK_SECRET": SECRETS, "PORT": "0"}
    process = await asyncio.create_subprocess_exec(
        program,
        file,
        cwd=file.parent,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        yield int((await asyncio.wait_for(process.stdout.readline(), 20)).split()[-1])
    finally:
        process.kill()
        await process.wait()


def posted(port: int, content: bytes, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/", content, headers)
        return connection.getresponse().status
    finally:
        connection.close()


async def test_a_receiver_of_the_page_takes_what_we_send_and_answers_400_to_everything_else(
    receiver: tuple[str, Path],
) -> None:
    async with listening(receiver) as port:
        sender = Sender(f"http://127.0.0.1:{port}/news", AiohttpTransport(timeout=10), lambda: [KEY], private=True)
        tried = Message("test", "", "", 0, 0, Source.TRANSITION, 0, AT)
        for message in (MESSAGE, MESSAGE, replace(MESSAGE, position=1, source_id=1, reference="R-ë"), tried):
            assert await sender.send(message, datetime.now(UTC)) == Delivered()
        await sender.close()

        content, now = body_of(MESSAGE), datetime.now(UTC)
        good = dict(signed(MESSAGE.id, content, [KEY], now))
        signature = good["webhook-signature"]
        other = dict(signed(MESSAGE.id, content, [bytes(24)], now))["webhook-signature"]
        latin = b'{"type": "\xe9"}'
        bad: list[tuple[bytes, dict[str, str]]] = [
            (content, {}),
            (content, {name: value for name, value in good.items() if name != "webhook-signature"}),
            (content, {name: value for name, value in good.items() if name != "webhook-id"}),
            *(
                (content, good | {"webhook-signature": each})
                for each in (
                    "",
                    ",",
                    "v1",
                    signature[3:],
                    "v1,",
                    "v1,!!!",
                    "v1,\xe9",
                    f"v2,{signature[3:]}",
                    other,
                    "a b,c",
                )
            ),
            *((content, good | {"webhook-timestamp": each}) for each in ("", "soon", "1e9", "9" * 400, "\xb2")),
            (content, dict(signed(MESSAGE.id, content, [KEY], now - timedelta(minutes=6)))),
            (content, dict(signed(MESSAGE.id, content, [KEY], now + timedelta(minutes=6)))),
            (content + b" ", good),
            (b"\xff\xfe", good),
            (latin, dict(signed("x", latin, [KEY], now))),  # ours, were it JSON
        ]
        statuses = await asyncio.to_thread(lambda: [posted(port, *each) for each in bad])
        assert statuses == [400] * len(bad)
        assert (
            await asyncio.to_thread(posted, port, content, good | {"webhook-signature": f"v1,AAAA v2 {signature}"})
            == 204
        )
    if (kept := receiver[1].with_name("shop.db")).exists():
        with closing(sqlite3.connect(kept)) as shop:
            news = set(shop.execute("SELECT reference, type FROM news"))
        assert news == {("R-1001", MESSAGE.type), ("R-ë", MESSAGE.type)}  # and nothing of a test


def test_what_the_page_adds_to_the_laptop_s_settings_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop-news.secret").write_text(SECRETS)
    Path("news.toml").write_text(f"{read('config/local.toml')}\n{snippet('webhook-local', PAGE)}")
    assert load(Path("news.toml"), {}, need_keys=True).news["shop"].private


def test_the_receiver_in_python_takes_an_event_once_and_none_over_a_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRETS)
    monkeypatch.setenv("SHOP_DATABASE", str(tmp_path / "shop.db"))
    code: dict[str, object] = {}
    exec(snippet("webhook-receiver-python", PAGE).partition("\nserver = ")[0], code)
    take, database = code["take"], code["database"]
    data = {"account": "default", "reference": "R-1"}
    for event_id, position in (("a", 1), ("c", 3), ("b", 2), ("a", 1)):
        take(event_id, {"type": f"state.{position}", "data": data | {"position": position}})  # type: ignore[operator]
    assert database.execute("SELECT position, type FROM news").fetchall() == [(3, "state.3")]  # type: ignore[attr-defined]
    database.close()  # type: ignore[attr-defined]
