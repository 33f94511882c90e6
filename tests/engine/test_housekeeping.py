"""What a worker tidies up, and what it says of the database at its start."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from tests.databases import on_postgresql
from tests.engine.scripted import ScriptedCarrier, make_loop
from worker.engine.housekeeping import Housekeeping
from worker.engine.starting import warn_of_risks
from worker.labels import FileLabelStore, LabelMissing, LabelName, names
from worker.store.database import Database


async def test_refused_labels_are_tidied_once_an_hour_and_a_store_that_fails_in_it_wakes_nobody(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now, name = FileLabelStore(tmp_path / "labels"), [1000.0], LabelName("default", "1", 1)
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    housekeeping = Housekeeping(replace(loop.tools, labels=store, clock=lambda: now[0]), dict)
    monkeypatch.setattr(names, "LONGEST", timedelta(seconds=-60))
    await store.keep_aside(name, b"<html>")
    await housekeeping.tidy()
    with pytest.raises(LabelMissing):
        await store.aside(name)
    await store.keep_aside(name, b"<html>")
    now[0] += 3599
    await housekeeping.tidy()
    assert await store.aside(name) == b"<html>"
    kept = tmp_path / "labels" / "refused-labels" / "default" / "1-1"
    kept.unlink()
    kept.mkdir()
    now[0] += 1
    with capture_logs() as logged:
        await housekeeping.tidy()
    assert [line["event"] for line in logged] == ["refused_labels_not_tidied"]
    assert not loop.metrics.registry.get_sample_value("returns_worker_storage_errors_total", {"operation": "labels"})


@on_postgresql
async def test_a_start_says_what_the_server_may_forget(database: Database) -> None:
    """The tests' own server does without fsync."""
    setting = text("SELECT current_setting('fsync') = 'off'")
    off = await database.reading(lambda connection: connection.execute(setting).scalar_one())
    with capture_logs() as lines:
        await warn_of_risks(database)
    assert any(line["event"] == "database_may_forget" and "fsync is off" in line["risk"] for line in lines) == off
