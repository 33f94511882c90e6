"""The pages as a browser, a program and a stranger find them: real requests at a real listener."""

import asyncio
import json
import logging
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from tests.web.served import ACTOR, LOOKER, SAME_ORIGIN, links, listening, served
from worker.settings import DatabaseSettings, HttpSettings, Settings
from worker.telemetry.metrics import Metrics
from worker.web import open_pages
from worker.web.guard import May
from worker.web.page import Answer, Page, Route, place
from worker.web.routes import ROUTES

TOKENS = {"support": LOOKER, "anna": ACTOR}
OUTSIDE = ("/metrics", "/livez", "/readyz")
CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@pytest.fixture
def url(migrated_file: Path, tmp_path: Path) -> str:
    (tmp_path / "returns.db").write_bytes(migrated_file.read_bytes())
    return f"sqlite:///{tmp_path}/returns.db"


async def did_it(page: Page) -> Answer:
    return page.redirect("/accounts#" + page.person("  be\ncause ").signed("done").replace(" ", "_"))


async def api(page: Page) -> Answer:
    return Answer(b'{"who": "%s"}' % str(page.who.name).encode(), "application/json")


async def echo(page: Page) -> Answer:
    return page.json({"places": dict(page.places), "query": dict(page.query)})


at_the_database: list[Page] = []
most: list[int] = []


async def slow(page: Page) -> Answer:
    async def use_case(*_: object) -> None:
        at_the_database.append(page)
        try:
            await asyncio.Event().wait()
        finally:
            most.append(len(at_the_database))
            at_the_database.remove(page)

    await page.ask(use_case)
    raise AssertionError


ACTIONS = (
    *ROUTES,
    Route("act", "/act", did_it, needs=May.ACT, method="POST"),
    Route("api", "/api/thing", api),
    Route("api", "/api/act", api, needs=May.ACT, method="POST"),
    Route("slow", "/slow", slow),
    Route("echo", "/echo/{account}/{reference}", echo),
)


async def test_without_a_token_everybody_on_this_machine_looks_and_nobody_acts(url: str, tmp_path: Path) -> None:
    async with served(url, tmp_path, routes=ACTIONS) as browser:
        for path in ("/", "/accounts", "/login", "/style.css", "/api/thing"):
            assert (await browser.get(path)).status == 200, path
        assert (await browser.post("/act", {})).status == 403
        assert "<bdi>default</bdi>" in (await browser.get("/accounts")).text
        assert browser.counted("accounts", 200) == 2
        assert browser.counted("accounts", 503) == 0


async def test_with_a_token_every_path_but_the_probes_asks_for_it_and_it_is_in_no_address_page_or_metric(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with served(url, tmp_path, TOKENS, routes=ACTIONS, wrong_token_pause=0) as browser:
        for path in ("/", "/accounts", "/nowhere", "/metrics/", "/api"):
            assert (await browser.get(path)).status == (401 if path == "/api" else 303), path
        assert (await browser.get("/accounts")).headers["Location"] == "/login?to=/accounts"
        for path in OUTSIDE:
            assert (await browser.get(path, Host="evil.example")).status == 200
        assert 'href="/accounts?a=b"' in (await browser.get("/login?to=/accounts%3Fa=b")).text  # the cookie is SameSite
        assert (await browser.get("/accounts?" + "x" * 2_000)).headers["Location"] == "/login"
        assert (await browser.log_in("w" * 40)).status == 401
        gone = await browser.log_in(ACTOR)
        assert (gone.status, gone.headers["Location"]) == (303, "/")
        cookie = gone.headers["Set-Cookie"]
        assert cookie.startswith("returns_worker=1.anna.")
        assert cookie.endswith("; HttpOnly; Max-Age=43200; Path=/; SameSite=Strict")
        answer = await browser.get("/accounts")
        assert answer.status == 200
        assert "anna may act" in answer.text
        done = await browser.post("/act", {})
        assert done.headers["Location"] == "/accounts#done;_by_anna:_be_cause"
        assert (await browser.post("/logout", {})).headers["Location"] == "/login"
        assert (await browser.get("/accounts")).status == 303
        shown = f"{caplog.text}{answer}{gone}{done}"
        assert ACTOR not in shown
        assert ACTOR in browser.hidden


async def test_where_the_address_is_https_so_is_the_cookie_and_no_forwarded_header_is_believed(
    url: str, tmp_path: Path
) -> None:
    async with served(url, tmp_path, TOKENS, "https://returns.example.com") as browser:
        answer = await browser.post("/login", {"token": ACTOR}, Host="returns.example.com", **SAME_ORIGIN)
        assert answer.headers["Set-Cookie"].startswith("__Host-returns_worker=")
        assert "; Secure" in answer.headers["Set-Cookie"]
        forwarded = {"Host": "evil.example", "X_Forwarded_Host": "returns.example.com", "X_Forwarded_For": "127.0.0.1"}
        assert (await browser.get("/accounts", **forwarded)).status == 421
        assert (await browser.get("/accounts", Host="returns.example.com")).status == 200


async def test_a_wrong_token_is_answered_late_and_keeps_nobody_with_a_good_one_out(url: str, tmp_path: Path) -> None:
    async with served(url, tmp_path, TOKENS, wrong_token_pause=1.0) as browser:
        guesses = [asyncio.create_task(browser.log_in("w" * 40)) for _ in range(20)]
        await asyncio.sleep(0)
        assert (await browser.log_in(ACTOR)).status == 303
        assert not any(guess.done() for guess in guesses)
        assert {(await guess).status for guess in guesses} == {401}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Host: localhost\r\nOrigin: http://localhost", "401"),  # it is the token that is wrong
        ("Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://evil.example", "403"),
        ("Host: localhost\r\nOrigin: http://localhost\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Site: none", "403"),
        ("Host: localhost\r\nHost: evil.example", "400"),
    ],
    ids=["once", "Origin", "Sec-Fetch-Site", "Host"],
)
async def test_a_header_that_is_there_twice_is_not_believed(
    url: str, tmp_path: Path, headers: str, status: str
) -> None:
    async with served(url, tmp_path, TOKENS, wrong_token_pause=0) as browser:
        host, _, port = browser.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"POST /login HTTP/1.1\r\n{headers}\r\nContent-Length: 0\r\n\r\n".encode())
        assert (await reader.readline()).split()[1].decode() == status
        writer.transport.abort()


async def test_a_login_leads_on_to_a_page_of_ours_only(url: str, tmp_path: Path) -> None:
    async with served(url, tmp_path, TOKENS) as browser:
        for to, leads in {
            "/returns?q=a b": "/",
            "/returns?q=a%20b": "/returns?q=a%20b",
            "//evil.example": "/",
            "/\\evil.example": "/",
            "https://evil.example": "/",
            "/a\r\nSet-Cookie: x=y": "/",
        }.items():
            answer = await browser.post("/login", {"token": ACTOR, "to": to})
            assert (answer.status, answer.headers["Location"]) == (303, leads)


async def test_a_token_that_is_changed_or_taken_away_ends_what_it_opened(url: str, tmp_path: Path) -> None:
    async with served(url, tmp_path, TOKENS, routes=ACTIONS, wrong_token_pause=0) as browser:
        await browser.log_in(ACTOR)
        file = tmp_path / "anna.token"
        for content in ("b" * 40, "short", None):
            file.write_text(content) if content else file.unlink()
            assert (await browser.get("/accounts")).status == 303
            assert (await browser.get("/api/thing", Authorization=f"Bearer {ACTOR}")).status == 401
            if content == "b" * 40:
                assert (await browser.log_in(content)).status == 303


async def test_a_token_that_two_names_have_lets_nobody_do_more_than_before(url: str, tmp_path: Path) -> None:
    async with served(url, tmp_path, {"anna": ACTOR, "support": LOOKER}, wrong_token_pause=0) as browser:
        (tmp_path / "anna.token").write_text(LOOKER)
        assert (await browser.log_in(LOOKER)).status == 401
        (tmp_path / "anna.token").write_text(ACTOR)
        assert (await browser.log_in(LOOKER)).status == 303


async def test_a_program_shows_its_token_and_no_cookie_counts_for_it(url: str, tmp_path: Path) -> None:
    async with served(url, tmp_path, TOKENS, routes=ACTIONS, wrong_token_pause=0) as browser:
        answer = await browser.get("/api/thing", Authorization=f"bearer {LOOKER}")
        assert (answer.status, answer.text) == (200, '{"who": "support"}')
        assert (await browser.get("/api/act", "POST", Authorization=f"Bearer {ACTOR}")).status == 200
        refused = await browser.get("/api/act", "POST", Authorization=f"Bearer {LOOKER}")
        assert (refused.status, refused.headers["Content-Type"]) == (403, "application/problem+json")
        await browser.log_in(ACTOR)
        for headers in ({}, {"Authorization": "Bearer " + "w" * 40}, {"Authorization": f"Basic {ACTOR}"}):
            answer = await browser.get("/api/thing", **headers)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await browser.get("/api/nowhere", Authorization=f"Bearer {LOOKER}")).status == 404


@pytest.mark.parametrize("path", ["/", "/nowhere", "/style.css", "/login"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_every_answer_has_the_headers_that_keep_others_out(
    url: str, tmp_path: Path, path: str, method: str
) -> None:
    async with served(url, tmp_path) as browser:
        answer = await browser.get(path, method)
        strange = await browser.get(path, method, Host="evil.example")
    assert answer.status == (405 if method == "OPTIONS" and path != "/nowhere" else 404 if path == "/nowhere" else 200)
    assert strange.status == 421
    for each in (answer, strange):
        assert each.headers["Content-Security-Policy"] == CSP
        assert each.headers["Referrer-Policy"] == "same-origin"
        assert (
            each.headers["Cross-Origin-Opener-Policy"] == each.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        )
        assert (each.headers["X-Content-Type-Options"], each.headers["Cache-Control"]) == ("nosniff", "no-store")
        assert "Server" not in each.headers
        assert method == "GET" or not each.text or method == "OPTIONS"


async def test_the_images_defaults_show_a_stranger_the_three_and_nothing_else(url: str) -> None:
    settings = Settings(database=DatabaseSettings(url=url), http=HttpSettings(listen="0.0.0.0:0"))
    assert open_pages(settings, Metrics("1"), lambda: url, print) is None
    async with listening("0.0.0.0", None) as address, aiohttp.ClientSession() as client:
        for path in {"/", *OUTSIDE, *(each.path for each in ROUTES), "/returns", "/news", "/api/openapi.json", "/api/"}:
            async with client.get(f"http://{address}{path}", allow_redirects=False) as answer:
                text = await answer.text()
                known = path in OUTSIDE
                assert (answer.status, answer.content_type) == (200 if known else 404, answer.content_type), path
                assert known or text == "404: Not Found"


async def test_a_page_that_takes_too_long_is_given_up_and_the_next_one_waits_no_longer_either(
    url: str, tmp_path: Path
) -> None:
    async with served(url, tmp_path, routes=ACTIONS, patience=0.5) as browser:
        answers = await asyncio.gather(*(browser.get("/slow") for _ in range(4)), browser.get("/login"))
        assert [each.status for each in answers] == [503] * 4 + [200]
        assert answers[0].headers["Retry-After"] == "2"
        assert set(most) == {1}
        assert (await browser.get("/accounts")).status == 200


async def test_a_database_that_is_away_is_a_page_that_says_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nowhere/returns.db"
    async with served(url, tmp_path) as browser:
        answer = await browser.get("/accounts")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
        assert "cannot be reached" in answer.text
        assert str(tmp_path) not in answer.text
        assert (await browser.get("/login")).status == 200


async def test_what_is_sent_has_bounds(url: str, tmp_path: Path) -> None:
    async with served(url, tmp_path, TOKENS, wrong_token_pause=0) as browser:
        assert (await browser.post("/login", {"token": "x" * 70_000})).status == 413
        assert (await browser.post("/login", {str(number): "" for number in range(60)})).status == 400
        assert (await browser.get("/login", "POST", b"%ff=%ff", Content_Type="text/plain", **SAME_ORIGIN)).status == 415
        assert (await browser.get("/login?q=" + "x" * 10_000)).status == 400
        assert (await browser.get("/login?to=" + "x" * 5_000)).status == 200


@pytest.mark.parametrize("rest", [None, b"zz\r\n\r\n"], ids=["cut", "no chunk"])
async def test_a_body_that_does_not_come_as_it_was_announced_is_no_line_in_the_log(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, rest: bytes | None
) -> None:
    caplog.set_level(logging.INFO)
    async with served(url, tmp_path, TOKENS) as browser:
        host, _, port = browser.address.partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n"
        writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await asyncio.sleep(0.05)
        if rest is not None:
            writer.write(rest)
            await asyncio.sleep(0.05)
        writer.transport.abort()
        for _ in range(100):
            if browser.counted("login", 400):
                break
            await asyncio.sleep(0.01)
        assert browser.counted("login", 400) == 1
    assert caplog.text == ""


REFERENCES = (
    *("A/B", ".", "..", "~..", "~~.", "...", "%2F", "a b+c&d=e?f#g", "\U0001f4e6 \u00e9", "<script>", "'\"", "x" * 300),
)


async def test_any_reference_is_a_part_of_an_address_and_of_a_query(url: str, tmp_path: Path) -> None:
    async with served(url, tmp_path, routes=ACTIONS) as browser:
        for reference in REFERENCES:
            address = URL(f"http://localhost/echo/default/{place(reference)}?q={quote(reference)}&q=2")
            answer = await browser.get(address.raw_path_qs)  # as a browser has it, `..` taken out
            assert json.loads(answer.text) == {
                "places": {"account": "default", "reference": reference},
                "query": {"q": reference},
            }


@pytest.mark.parametrize(
    "path", ["/echo/a/b?q=%00", "/echo/a/b?q=%ff", "/echo/a/b%00", "/echo/a/b?" + "x&" * 51 + "y=1"]
)
async def test_what_no_database_can_hold_is_refused_before_it_is_asked(url: str, tmp_path: Path, path: str) -> None:
    async with served(url, tmp_path, routes=ACTIONS) as browser:
        assert (await browser.get(path)).status == 400


async def test_of_two_hundred_connections_that_ask_and_read_nothing_none_keeps_a_reader_out(
    url: str, tmp_path: Path
) -> None:
    async with served(url, tmp_path) as browser:
        host, _, port = browser.address.partition(":")
        wires = [await asyncio.open_connection(host, int(port)) for _ in range(200)]
        for _, writer in wires:
            writer.write(b"GET /accounts HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        assert (await browser.get("/accounts")).status in {200, 503}
        for path in (*OUTSIDE, "/login"):
            assert (await browser.get(path)).status == 200
        for _, writer in wires:
            writer.transport.abort()


async def test_no_page_loads_anything_from_elsewhere_or_runs_a_script(url: str, tmp_path: Path) -> None:
    async with served(url, tmp_path) as browser:
        for path in ("/", "/accounts", "/login", "/nowhere"):
            text = (await browser.get(path)).text
            assert all(each.startswith(("/", "#")) and not each.startswith("//") for each in links(text)), path
            assert "<script" not in text and " style=" not in text and " onclick" not in text
