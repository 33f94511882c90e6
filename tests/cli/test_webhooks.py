"""The commands about webhooks, as a person types them."""

import asyncio
import base64
import json
from pathlib import Path

import pytest

from tests.carriers.wire import Wire, http, raw_server
from tests.cli.calls import ACCOUNTS, called, configured
from tests.databases import on_sqlite
from tests.process.shop import Shop

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()

RELEASED = (
    "hook is released: 13 events wait; no worker serves it: start one with [news.hook], or"
    " `returns-worker webhooks retire hook` removes it"
)


def with_hook(folder: Path, url: str, address: str = "https://shop.example/news") -> None:
    hook = f'[news.hook]\nkind = "webhook"\nurl = "{address}"\nprivate = true\nsecret = "{SECRET}"\n[news.outbox]\n'
    configured(folder, f'[database]\nurl = "{url}"\n{ACCOUNTS}{hook}')


@on_sqlite
def test_each_command_does_its_work_says_so_and_who_did_it_goes_to_the_log(folder: Path, filled_url: str) -> None:
    with_hook(folder, filled_url)
    assert called("webhooks", "release", "hook").exit_code == 1  # no worker was started with it
    shop = Shop(filled_url)
    for statement in (
        "INSERT INTO news_subscriber (name, kind) VALUES ('hook', 'webhook'), ('outbox', 'table')",
        "INSERT INTO status_transition (return_order_id, observed_at, field, new_value, event_position)"
        " SELECT id, '2026-01-01 00:00:00', 'state', 'tracking', 1 FROM return_order",
    ):
        asyncio.run(shop.execute(statement))

    done = called("webhooks", "hold", "hook", "--reason", "their deploy", "--by", "anna")
    assert "held (held_by_person: by anna: their deploy) until `returns-worker webhooks release hook`" in done.stderr
    assert '"did": "held"' in done.stderr and '"by": "anna"' in done.stderr
    replayed = called("webhooks", "replay", "hook", "T-1", "D-1")
    assert replayed.stderr.startswith("2 events wait for hook once more\n"), replayed.stderr
    assert "wait as before" in called("webhooks", "replay", "hook", "--since", "3650d").stderr
    listed = [json.loads(line) for line in called("webhooks", "--json").stdout.splitlines()]
    assert [(each["subscriber"], each["waiting"], each["hold_code"]) for each in listed] == [
        ("hook", 13, "held_by_person"),
        ("outbox", 0, None),
    ]
    assert " 13 " in called("webhooks").stdout
    released = called("webhooks", "release", "hook")
    assert (released.exit_code, released.stderr.partition("\n")[0]) == (0, RELEASED)

    refused = called("webhooks", "retire", "hook")
    assert refused.exit_code == 2 and "hook, with 13 events that wait for it" in refused.stderr
    assert called("webhooks", "retire", "hook", "--yes").stderr.startswith("hook is removed, with 13 events\n")


@on_sqlite
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("replay hook", "say what: REFERENCEs, --since or --missed"),
        ("replay hook R-1 --missed", "say one of them alone: REFERENCEs, --since or --missed"),
        ("replay hook --since 0s", "--since: "),
        ("replay hook --since x", "--since: "),
        ("release nowhere", "there is no subscriber 'nowhere'"),
        ("test nowhere", "no webhook 'nowhere' is configured here, only hook: "),
        ("test outbox", "outbox is a table: the shop reads it by itself, and nothing is sent to it"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage_in_one_line(folder: Path, migrated_url: str, words: str, said: str) -> None:
    with_hook(folder, migrated_url)
    done = called("webhooks", *words.split())
    assert done.exit_code == 2 and done.stderr.startswith(f"error: {said}"), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_test_event_is_sent_now_and_what_came_back_is_said(folder: Path) -> None:
    async def tried(answer: bytes) -> tuple[int, str, bytes]:
        sent = bytearray()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Wire) -> None:
            sent.extend(await reader.readuntil(b"}}"))
            writer.write(answer)
            await writer.drain()

        async with raw_server(serve) as wire:
            with_hook(folder, "sqlite:///never-made.db", f"{wire.url}/news")
            done = await asyncio.to_thread(called, "webhooks", "test", "hook")
            return done.exit_code, done.stderr, bytes(sent)

    code, said, sent = asyncio.run(tried(http(b"")))
    assert (code, said.startswith("hook: the endpoint took it, after ")) == (0, True), said
    assert b'{"type":"test","timestamp":' in sent and b"webhook-signature: v1," in sent
    code, said, _ = asyncio.run(tried(http(b"", status="500 Oops")))
    assert (code, said.startswith("hook: the endpoint answered 500, after ")) == (1, True), said
    assert not (folder / "never-made.db").exists()
