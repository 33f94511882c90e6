"""The pages of a whole worker: served from its database, and neither they nor their tokens are in its log."""

from pathlib import Path

import aiohttp
import pytest

from tests.web.served import ACTOR, SAME_ORIGIN
from worker.app import Application
from worker.settings import load
from worker.telemetry.logs import Redactor, configure_logs

SETTINGS = """
[accounts.default]
api_key = "IZI-a-key"
[database]
url = "sqlite:///{folder}/returns.db"
[labels]
store = "file:{folder}/labels"
[http]
listen = "{listen}"
"""
TOKEN = """
[http.tokens.anna]
file = "{folder}/anna.token"
may = "act"
"""


def a_worker(
    folder: Path, file: Path, redactor: Redactor, *, listen: str = "127.0.0.1:0", more: str = ""
) -> Application:
    (folder / "returns.db").write_bytes(file.read_bytes())
    (folder / "anna.token").write_text(ACTOR)
    (folder / "worker.toml").write_text((SETTINGS + more).format(folder=folder, listen=listen))
    return Application(load(folder / "worker.toml", {}, need_keys=True), redactor)


async def test_a_worker_serves_its_pages_and_hides_their_tokens_from_its_log(
    tmp_path: Path, migrated_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    redactor = Redactor()
    configure_logs("json", "debug", redactor)
    worker = a_worker(tmp_path, migrated_file, redactor, more=TOKEN)
    await worker.start()
    host, port = worker.address
    try:
        async with aiohttp.ClientSession(f"http://{host}:{port}", cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
            answer = await browser.post("/login", data={"token": ACTOR, "to": "/accounts"}, headers=SAME_ORIGIN)
            assert (answer.status, answer.url.path) == (200, "/accounts")
            assert "<bdi>default</bdi>" in await answer.text()
            metrics = await (await browser.get("/metrics")).text()
            assert 'returns_worker_page_requests_total{page="accounts",status="200"} 1.0' in metrics
            assert 'returns_worker_page_requests_total{page="overview",status="503"} 0.0' in metrics
            assert (await browser.post("/logout", headers=SAME_ORIGIN)).url.path == "/login"
            assert (await browser.get("/accounts")).url.path == "/login"
    finally:
        await worker.stop()
    assert redactor.redact(f"{ACTOR} said") == "******** said"
    said = capsys.readouterr().err
    assert '"paths": "/metrics /livez /readyz /"' in said
    assert ACTOR not in said and "/accounts" not in said


async def test_where_no_page_is_shown_the_worker_says_so_once(
    tmp_path: Path, migrated_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("json", "info", Redactor())
    a_worker(tmp_path, migrated_file, Redactor(), listen="0.0.0.0:0")
    assert capsys.readouterr().err.count('"event": "pages_hidden"') == 1
