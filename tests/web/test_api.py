"""The API as a program finds it: what its description says is what it answers."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from yarl import URL

from tests.cli.calls import called, configured
from tests.store.rows import insert, insert_tracked
from tests.store.shop import Shop
from tests.web.served import ACTOR, LOOKER, Browser, Got, served
from worker.settings.model import AccountSettings
from worker.simulator import Simulator
from worker.simulator.carrier import Order
from worker.store.database import Database
from worker.store.presence import ACCOUNT, begin_presence
from worker.store.tables import LabelRow, PackageRow, ReturnOrderRow, StatusTransitionRow
from worker.usecases import browse, without_delay
from worker.usecases.ways import Way
from worker.web.api import models
from worker.web.api.openapi import document
from worker.web.page import place
from worker.web.problems import Kind

TOKENS = {"support": LOOKER, "anna": ACTOR}
KEY = "IZI-simulator"
CONTENT = b"%PDF-1.4 a label"
REFERENCES = ("A/B", "..", "~.", "%2F", "a b?c=d#e&f", "\U0001f4e6 \u00e9", "<script>", "\u202eR", "x" * 300)

formats = FormatChecker([])


@formats.checks("date-time", ValueError)
def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def strict() -> dict[str, Any]:
    """The description, as one that no answer has more members than; but for the columns of the worker's own."""
    described: dict[str, Any] = json.loads(json.dumps(document()))
    own = {"Listed": ReturnOrderRow, "Return": ReturnOrderRow}
    own |= {"Package": PackageRow, "Label": LabelRow, "Transition": StatusTransitionRow}
    for name, schema in described["components"]["schemas"].items():
        if schema["type"] == "object" and name not in {"Act", "Resolve", "Hold", "Release", "Why"}:
            schema["additionalProperties"] = False
            if name in own:
                columns = {column.name for column in own[name].__table__.c} - {"payload"}
                schema["properties"] = dict.fromkeys(columns, True) | schema["properties"]
    return described


@dataclass
class Program:
    """Asks as a program does, and holds each answer against the description."""

    browser: Browser
    token: str = ACTOR
    described: dict[str, Any] = field(default_factory=strict)
    seen: set[tuple[str, int]] = field(default_factory=set)

    async def ask(self, path: str, body: Any = None, *, method: str = "", of: str, token: str | None = None) -> Got:
        """`of`: the operation that it is."""
        shown = self.token if token is None else token
        headers = {"Authorization": f"Bearer {shown}"} if shown else {}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers["Content_Type"] = "application/json"
        got = await self.browser.get(path, method or ("GET" if body is None else "POST"), data, **headers)
        operation = next(
            each
            for methods in self.described["paths"].values()
            for each in methods.values()
            if each["operationId"] == of
        )
        assert str(got.status) in operation["responses"], (of, got)
        content = operation["responses"][str(got.status)]["content"]
        assert got.headers["Content-Type"] in content, (of, got)
        self.seen.add((of, got.status))
        if schema := content[got.headers["Content-Type"]].get("schema"):
            whole = {"components": self.described["components"], **schema}
            Draft202012Validator(whole, format_checker=formats).validate(json.loads(got.text))
        return got

    async def told(self, path: str, body: Any = None, *, of: str) -> Any:
        got = await self.ask(path, body, of=of)
        assert got.status == 200, got
        return json.loads(got.text)

    async def refused(self, kind: Kind, path: str, body: Any = None, *, of: str, **options: Any) -> Any:
        got = await self.ask(path, body, of=of, **options)
        problem = json.loads(got.text)
        assert (got.status, problem["type"], problem["status"]) == (kind.status, kind.type, kind.status), got
        assert got.headers.get("Retry-After") == (str(kind.retry_after) if kind.retry_after else None)
        return problem


@asynccontextmanager
async def programs(url: str, folder: Path, **options: Any) -> AsyncIterator[Program]:
    async with served(url, folder, TOKENS, wrong_token_pause=0, **options) as browser:
        yield Program(browser)


async def insert_label(shop: Shop, order_id: int, folder: Path) -> Path:
    file = folder / "labels" / "default" / "9RET1.pdf"
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    await shop.run(
        "INSERT INTO label (return_order_id, position, location, media_type, byte_count, page_count, sha256)"
        " VALUES ($1, 1, $2, 'application/pdf', $3, 1, $4)",
        *(order_id, file.as_uri(), len(CONTENT), hashlib.sha256(CONTENT).hexdigest()),
    )
    await shop.run("INSERT INTO package (return_order_id, position, label_code) VALUES ($1, 1, 'LC-1')", order_id)
    return file


@pytest.fixture
def url(migrated_file: Path, tmp_path: Path) -> str:
    (tmp_path / "returns.db").write_bytes(migrated_file.read_bytes())
    return f"sqlite:///{tmp_path}/returns.db"


@pytest.fixture
async def shop(migrated_url: str) -> AsyncIterator[Shop]:
    async with Shop.at(migrated_url) as shop:
        yield shop


async def test_every_operation_answers_as_its_description_says(
    migrated_url: str, tmp_path: Path, shop: Shop, database: Database
) -> None:
    at_carrier = await insert_tracked(shop, "T-1", carrier_ref="9RET1", due=3600)
    await shop.run("UPDATE return_order SET track_due_at = due_at WHERE id = $1", at_carrier)
    label = await insert_label(shop, at_carrier, tmp_path)
    for reference in ("D-1", "D-2"):
        await insert(shop, reference, state="needs_attention", error_code="create_outcome_unknown", due=None)
    await shop.run("UPDATE return_order SET create_started_at = '2020-01-01 00:00:00' WHERE state = 'needs_attention'")
    await insert(shop, "R-1", state="rejected", error_code="invalid_payload", error_message="no name", due=None)
    await insert(shop, "P-1", payload='{"customer": {"name": "Jo", "email": "jo@example.com"}, "n": 1e2}')
    async with Simulator() as simulator:
        simulator.orders["9RET1"] = Order(
            *("9RET1", "T-1", {}, (), 0.0, datetime.now(UTC), frozenset(), ("Created",)),
        )
        account = AccountSettings(base_url=simulator.url, api_key=KEY)
        async with programs(migrated_url, tmp_path, account=account) as program:
            told, ask, refused = program.told, program.ask, program.refused
            listed = await told("/api/returns?limit=2", of="returns")
            assert [each["reference"] for each in listed["returns"]] == ["P-1", "R-1"]
            found = await told("/api/returns?q=lc-1&state=tracking", of="returns")
            assert (found["found"][0]["reference"], found["next"]) == ("T-1", None)
            assert (await told("/api/returns?q=lc-1&state=rejected", of="returns"))["found"] == []
            one = await told("/api/returns/default/T-1", of="return")
            assert (one["ways"], one["labels"][0]["sha256"]) == (
                ["poll", "cancel"],
                hashlib.sha256(CONTENT).hexdigest(),
            )
            file = await ask("/api/returns/default/T-1/labels/1", of="label")
            assert hashlib.sha256(file.text.encode()).hexdigest() == one["labels"][0]["sha256"]
            assert file.headers["Content-Disposition"] == 'attachment; filename="9RET1.pdf"'
            assert file.headers["X-Content-Type-Options"] == "nosniff"

            would = await told("/api/returns/default/R-1/retry", {"dry_run": True}, of="retry")
            assert (await told("/api/returns/default/R-1", of="return"))["state"] == "rejected"
            done = await told("/api/returns/default/R-1/retry", {"reason": "mended"}, of="retry")
            assert (would["after"]["state"], would["dry_run"], done["dry_run"]) == ("pending", True, False)
            assert done["transitions"][-1]["reason"] == "put back to be created; by anna: mended"
            taken = {"carrier_ref": "9RET1", "dry_run": True}
            would_not = await refused(Kind.REFUSED, "/api/returns/default/D-1/resolve", taken, of="resolve")
            assert would_not["detail"] == "another return of its account has the number 9RET1: T-1"
            done = await told("/api/returns/default/D-1/resolve", {"carrier_ref": "9RET7"}, of="resolve")
            assert done["after"]["carrier_ref"] == "9RET7"
            done = await told("/api/returns/default/D-2/resolve", {"not_created": True}, of="resolve")
            assert done["after"]["state"] == "pending"
            assert (await told("/api/returns/default/T-1/poll", {"dry_run": True}, of="poll"))["transitions"] == []
            polled = await told("/api/returns/default/T-1/poll", {"reason": "asked\u202e by phone"}, of="poll")
            assert polled["after"]["carrier_status"] == "Created"
            assert (await ask("/api/returns/default/P-1/cancel", method="POST", of="cancel")).status == 200
            again = await refused(Kind.REFUSED, "/api/returns/default/P-1/cancel", {}, of="cancel")
            assert again["detail"] == "its withdrawal has been asked for already"

            waits = await told("/api/accounts/default/hold", {"reason": "strike", "lasting": "2h"}, of="hold")
            assert "by anna: strike" in waits["waits_for"]
            await refused(Kind.REFUSED, "/api/returns/default/T-1/poll", {}, of="poll")
            assert (await told("/api/accounts", of="accounts"))["accounts"][0]["held_until"] is not None
            assert (await told("/api/accounts/default/release", {}, of="release"))["waits_for"] == "ok"

            await shop.run("INSERT INTO news_subscriber (name, kind) VALUES ('shop', 'webhook')")
            assert "by anna" in (await told("/api/news/shop/hold", {}, of="news_hold"))["waits_for"]
            assert (await told("/api/news", of="news"))["subscribers"][0]["hold_code"] == "held_by_person"
            assert "held" not in (await told("/api/news/shop/release", {}, of="news_release"))["waits_for"]
            await begin_presence(database, "host:1", {ACCOUNT: ["default"]})
            today = await told("/api/today", of="today")
            assert today["accounts"][0]["pending"] == 3
            assert [each["worker"] for each in today["workers"]] == ["host:1"]

            label.unlink()
            for position in ("1", "2", "0", "one", "1" * 30):
                await refused(Kind.NO_SUCH_LABEL, f"/api/returns/default/T-1/labels/{position}", of="label")
            await refused(Kind.NO_SUCH_RETURN, "/api/returns/other/T-1", of="return")
            await refused(Kind.NO_SUCH_RETURN, "/api/returns/default/X/poll", {}, of="poll")
            await refused(Kind.NO_SUCH_ACCOUNT, "/api/accounts/nowhere/hold", {}, of="hold")
            simulator.orders.clear()
            await simulator.stop()
            failed = await refused(Kind.NO_ANSWER, "/api/returns/default/T-1/poll", {}, of="poll")
            assert failed["detail"]
    every = {each["operationId"] for methods in document()["paths"].values() for each in methods.values()}
    assert {of for of, status in program.seen if status == 200} == every


async def test_of_a_return_that_a_worker_has_it_is_said_when_to_ask_again(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(without_delay, "PATIENCE", 0.0)
    async with Shop.at(url) as shop, programs(url, tmp_path) as program:
        await insert(shop, "R-1", state="rejected", due=None)
        await shop.run(f"UPDATE return_order SET lease_owner = 'w', lease_until = {shop.moment(60)}")
        await program.refused(Kind.HELD_BY_WORKER, "/api/returns/default/R-1/retry", {}, of="retry")


async def test_what_was_begun_comes_to_its_end_though_who_asked_has_gone(url: str, tmp_path: Path) -> None:
    async with Shop.at(url) as shop, programs(url, tmp_path) as program:
        await insert(shop, "R-1", state="rejected", due=None)
        await shop.run(f"UPDATE return_order SET lease_owner = 'w', lease_until = {shop.moment(60)}")
        asking = asyncio.create_task(program.ask("/api/returns/default/R-1/retry", {}, of="retry"))
        await asyncio.sleep(0.2)  # it waits for the worker
        assert not asking.done()
        asking.cancel()
        await shop.run("UPDATE return_order SET lease_owner = NULL, lease_until = NULL")
        async with asyncio.timeout(5):
            while await shop.value("SELECT state FROM return_order") != "pending":  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_only_a_token_that_may_act_acts_and_no_cookie_counts(url: str, tmp_path: Path) -> None:
    async with Shop.at(url) as shop, programs(url, tmp_path) as program:
        await insert(shop, "R-1", state="rejected", due=None)
        path = "/api/returns/default/R-1/retry"
        await program.refused(Kind.NOT_ALLOWED, path, {}, of="retry", token=LOOKER)
        await program.browser.log_in(ACTOR)
        for token in ("", "w" * 40):
            problem = await program.refused(Kind.UNAUTHORIZED, path, {}, of="retry", token=token)
            assert token not in json.dumps(problem) or not token
        program.browser.cookie = ""
        missing = await program.browser.get("/api/today/nothing", Authorization=f"Bearer {LOOKER}")
        assert json.loads(missing.text)["type"] == Kind.NOT_FOUND.type
        wrong = await program.browser.get(path, Authorization=f"Bearer {ACTOR}")
        assert (json.loads(wrong.text)["type"], wrong.headers["Allow"]) == (Kind.WRONG_METHOD.type, "POST")
        strange = await program.browser.get("/api/returns", Authorization=f"Bearer {ACTOR}", Host="evil.example")
        assert json.loads(strange.text)["type"] == Kind.WRONG_NAME.type
        assert await shop.value("SELECT state FROM return_order") == "rejected"


async def test_whoever_is_on_the_machine_looks_without_a_token_and_does_nothing(url: str, tmp_path: Path) -> None:
    async with served(url, tmp_path) as browser:
        program = Program(browser, token="")
        assert await program.told("/api/returns", of="returns") == {"returns": [], "next": None}
        await program.refused(Kind.NOT_ALLOWED, "/api/accounts/default/hold", {}, of="hold")


MISTAKES: dict[str, tuple[str, str, Any, Kind, list[str]]] = {
    "an unknown member": ("retry", "retry", {"re/asn": "x"}, Kind.INVALID, ["/re~1asn"]),
    "two mistakes": ("retry", "retry", {"reason": 1, "dry_run": "yes"}, Kind.INVALID, ["/reason", "/dry_run"]),
    "a long reason": ("retry", "retry", {"reason": "x" * 501}, Kind.INVALID, ["/reason"]),
    "a NUL": ("retry", "retry", {"reason": "a\0b"}, Kind.INVALID, ["/reason"]),
    "no object": ("retry", "retry", [1], Kind.INVALID, [""]),
    "a text that is no UTF-8": ("retry", "retry", b'{"reason": "\\ud800"}', Kind.MALFORMED, []),
    "no JSON": ("retry", "retry", b"{", Kind.MALFORMED, []),
    "nested deeply": ("retry", "retry", b'{"reason": ' + b"[" * 30_000, Kind.MALFORMED, []),
    "too large": ("retry", "retry", b'"' + b"x" * 70_000, Kind.TOO_LARGE, []),
    "neither": ("resolve", "resolve", {}, Kind.INVALID, [""]),
    "both": ("resolve", "resolve", {"carrier_ref": "9RET1", "not_created": True}, Kind.INVALID, [""]),
    "no number of the carrier's": ("resolve", "resolve", {"carrier_ref": "../x"}, Kind.INVALID, []),
    "a hold for nothing": ("hold", "hold", {"lasting": 0}, Kind.INVALID, ["/lasting"]),
    "a hold of creations that ends": ("hold", "hold", {"lasting": "2h", "creations": True}, Kind.INVALID, [""]),
    "a member of none": ("release", "release", {"reason": "x"}, Kind.INVALID, ["/reason"]),
}
QUERIES = {
    "state=lost": ["state"],
    "limit=1000&before=x": ["limit", "before"],
    "sort=id": ["sort"],
    "q=x&error_code=worker_crashed": [""],
    "q=": ["q"],
    "before=99999999999999999999": ["before"],
}


async def test_every_mistake_in_what_is_sent_is_named_and_nothing_is_done(url: str, tmp_path: Path) -> None:
    async with Shop.at(url) as shop, programs(url, tmp_path) as program:
        await insert(shop, "R-1", state="rejected", due=None)
        for what, (of, action, body, kind, places) in MISTAKES.items():
            below = "accounts/default" if of in {"hold", "release"} else "returns/default/R-1"
            problem = await program.refused(kind, f"/api/{below}/{action}", body, of=of)
            assert [each["pointer"] for each in problem.get("errors") or []] == places, (what, problem)
        for query, names in QUERIES.items():
            problem = await program.refused(Kind.INVALID, f"/api/returns?{query}", of="returns")
            assert [each.get("parameter", "") for each in problem["errors"]] == names, problem
        typed = {"Authorization": f"Bearer {ACTOR}", "Content_Type": "text/plain"}
        wrong = await program.browser.get("/api/returns/default/R-1/retry", "POST", b"{}", **typed)
        assert json.loads(wrong.text)["type"] == Kind.NOT_JSON.type
        assert await shop.value("SELECT state FROM return_order") == "rejected"
        assert await shop.value("SELECT count(*) FROM status_transition") == 0


async def test_by_next_every_return_is_met_once_whatever_is_inserted_meanwhile_and_however_far_back(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met, cut = list[str](), 0
    monkeypatch.setattr(browse, "_FIRST_WINDOW", 2)  # ids, and then its time is over
    monkeypatch.setitem(browse.browse.__kwdefaults__, "within", timedelta(microseconds=1))
    async with Shop.at(url) as shop, programs(url, tmp_path) as program:
        for number in range(7):
            await insert(shop, f"R-{number}", account="a b&c")
            await insert(shop, f"O-{number}")
        path = "/api/returns?account=a+b%26c&limit=3&state=pending"
        while path and len(met) < 20:
            answer = await program.told(path, of="returns")
            cut += len(answer["returns"]) < 3 and answer["next"] is not None
            met += [each["reference"] for each in answer["returns"]]
            path = answer["next"]
            await insert(shop, f"N-{len(met)}-{path}", account="a b&c")
        assert met == [f"R-{number}" for number in reversed(range(7))]
        assert cut


async def test_a_label_is_handed_out_only_as_it_was_stored_and_those_who_guess_a_token_keep_none_back(
    url: str, tmp_path: Path
) -> None:
    path = "/api/returns/default/T-1/labels/1"
    async with Shop.at(url) as shop, served(url, tmp_path, TOKENS, wrong_token_pause=1.0, patience=0.3) as browser:
        program = Program(browser)
        file = await insert_label(shop, await insert_tracked(shop, "T-1"), tmp_path)
        guesses = [asyncio.create_task(browser.get(path, Authorization="Bearer " + "w" * 40)) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert (await program.ask(path, of="label")).text.encode() == CONTENT
        assert {(await guess).status for guess in guesses} == {401}
        file.write_bytes(b"<html>")
        spoilt = await program.refused(Kind.LABEL_STORE_AWAY, path, of="label")
        assert "its checksum differs" in spoilt["detail"]


async def test_any_reference_and_what_json_has_not_come_through(url: str, tmp_path: Path) -> None:
    async with Shop.at(url) as shop, programs(url, tmp_path) as program:
        for reference in REFERENCES:
            await insert(shop, reference, payload='{"far": 1e999, "near": [1.5]}')
            path = URL(f"http://localhost/api/returns/default/{place(reference)}").raw_path
            one = await program.told(path, of="return")
            assert (one["reference"], one["payload"]) == (reference, {"far": None, "near": [1.5]})
        await insert(shop, "R-1", payload='{"a": ' + "9" * 5000 + "}")
        one = await program.told("/api/returns/default/R-1", of="return")
        assert (one["payload"], one["payload_unreadable"]) == (None, "it holds a number of more than 4,300 digits")


async def test_bytes_in_the_place_of_a_text_hide_no_return_from_a_page_or_a_program(url: str, tmp_path: Path) -> None:
    async with Shop.at(url) as shop, programs(url, tmp_path) as program:
        order_id = await insert(shop, "R-1")  # SQLite keeps what it is given
        await shop.run("UPDATE return_order SET error_message = x'6eff', return_url = x'ff' WHERE id = $1", order_id)
        assert (await program.told("/api/returns", of="returns"))["returns"][0]["error_message"] == "n\ufffd"
        assert (await program.told("/api/returns/default/R-1", of="return"))["return_url"] == "\ufffd"
        await program.browser.log_in(LOOKER)
        assert (await program.browser.get("/returns/default/R-1")).status == 200


async def test_a_return_is_what_the_command_says_of_it(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    configured(tmp_path, f'[database]\nurl = "{url}"\n[accounts.default]\napi_key = "a-key"\n')
    async with Shop.at(url) as shop, programs(url, tmp_path) as program:
        await insert_label(shop, await insert_tracked(shop, "T-1"), tmp_path)
        one = await program.told("/api/returns/default/T-1", of="return")
        listed = await program.told("/api/returns", of="returns")
    assert one == json.loads((await asyncio.to_thread(called, "show", "T-1", "--json")).stdout)
    assert listed["returns"] == [json.loads((await asyncio.to_thread(called, "list", "--json")).stdout)]


def test_the_description_is_whole_and_every_member_of_it_is_told_of() -> None:
    described = document()
    assert described["openapi"] == "3.1.0"
    text = json.dumps(described)
    for schema in described["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
        assert schema["description"]
    referred = {each.split('"')[0] for each in text.split("#/components/schemas/")[1:]}
    assert referred == set(described["components"]["schemas"])
    assert models.Return.model_fields["ways"].annotation.__args__[0].__args__ == tuple(way.name.lower() for way in Way)
    assert set(models.Listed.model_fields) <= {column.name for column in ReturnOrderRow.__table__.c}
