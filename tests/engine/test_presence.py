"""A worker says in the database what it serves, for as long as it lives."""

import pytest
from structlog.testing import capture_logs

from tests.databases import on_sqlite
from tests.store.shop import Shop
from worker.engine import presence
from worker.engine.presence import Presence
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.store.presence import end_presence


@on_sqlite
async def test_a_renewal_that_fails_is_said_once_and_tried_again(
    database: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Presence(database, "host:1:abc", ["default"])
    await worker.end()  # it never began: nothing is asked
    await worker.begin()

    async def away(*_: object) -> None:
        raise DatabaseUnavailable("it is away")

    with capture_logs() as lines, monkeypatch.context() as broken:
        for name in ("renew_presence", "end_presence"):
            broken.setattr(presence, name, away)
        await worker.renew()
        await worker.renew()
        await worker.end()
        database.outage.failed("claim", refused=False)
        await worker.end()  # it is away already: nothing is asked
    assert [line["event"] for line in lines if line["log_level"] != "debug"] == ["presence_not_renewed"]
    await end_presence(database, "host:1:abc")  # as another worker's start, after so long an outage
    with capture_logs() as lines:
        await worker.renew()
    assert lines == []
    assert await shop.value("SELECT name FROM worker_presence JOIN worker_serves USING (worker)") == "default"
