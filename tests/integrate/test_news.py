"""docs/integrate/news.md: its loops run as they stand, miss nothing and take nothing that they did not end."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import roles
from tests.documents.pages import names, read, rows, section, snippet
from tests.process.shop import Shop
from worker.domain.news import EVENTS

PAGE = read("docs/integrate/news.md")
EVENT = """
INSERT INTO return_event
  (subscriber, type, account, reference, return_order_id, position, source, source_id, observed_at)
VALUES ('shop', 'state.tracking', 'default', 'R-1', 1, {0}, 'transition', {0}, '2026-11-26 12:00:00.000'),
       ('other', 'state.tracking', 'default', 'R-1', 1, {0}, 'transition', {0}, '2026-11-26 12:00:00.000')"""


def test_every_event_is_in_the_page() -> None:
    named = {name for cells in rows(section(PAGE, "What an event is")) for name in names(cells[0])}
    assert named == set(EVENTS)


class NotDone(Exception):
    """What follows from an event went wrong."""


def fails(*_: object) -> None:
    raise NotDone


def defined(mark: str) -> Callable[..., int]:
    shop: dict[str, Any] = {}
    exec(snippet(mark, PAGE), shop)
    read_news: Callable[..., int] = shop["read_news"]
    return read_news


def read_all(read_news: Callable[..., int], database: object) -> list[tuple[str, ...]]:
    told: list[tuple[str, ...]] = []
    with pytest.raises(NotDone):
        read_news(database, fails)
    assert read_news(database, lambda *event: told.append(event)) == 2
    assert read_news(database, fails) == 0
    return told


async def test_the_loop_for_postgresql_has_a_shops_rights_and_gives_back_what_was_not_done(
    shop_url: str,
) -> None:
    worker = Shop(roles.of("returns_worker", shop_url))
    for number in (1, 2):
        await worker.execute(EVENT.format(number))
    told = await asyncio.to_thread(read_all, defined("news-postgresql"), shop_url)
    assert told == [("state.tracking", "default", "R-1")] * 2
    assert await worker.execute("SELECT DISTINCT subscriber FROM return_event") == [{"subscriber": "other"}]


def test_the_loop_for_sqlite_reads_and_gives_back_what_was_not_done(migrated_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "returns.db"
    file.write_bytes(migrated_file.read_bytes())
    connection = sqlite3.connect(file)
    for number in (1, 2):
        connection.execute(EVENT.format(number))
    connection.commit()
    assert read_all(defined("news-sqlite"), file) == [("state.tracking", "default", "R-1")] * 2
    assert connection.execute("SELECT DISTINCT subscriber FROM return_event").fetchall() == [("other",)]
    connection.close()
