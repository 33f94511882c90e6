"""The log says that the database is away while it is, that a person is needed where one is, and when it is over."""

import pytest
from structlog.testing import capture_logs

from worker.engine.outage import say_away, say_back
from worker.store.database import Database
from worker.store.failures import DatabaseRefused, DatabaseUnavailable
from worker.store.outage import Outage

CUT = DatabaseUnavailable("connection refused")
DENIED = DatabaseRefused("permission denied for table return_order")


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def away(now: list[float]) -> Database:
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    database.outage = Outage(lambda: now[0])
    return database


def test_the_end_of_an_outage_is_said_once_with_its_length_when_the_last_thing_goes_well(
    away: Database, now: list[float]
) -> None:
    with capture_logs() as lines:
        say_back(away, "claim")
        say_away(away, "claim", CUT, retry_in=0.123)
        now[0] += 40.0
        say_away(away, "gauges", CUT)
        now[0] += 5.25
        say_back(away, "claim")
        assert away.outage.since is not None
        say_back(away, "gauges")
        say_back(away, "claim")
    assert [line["event"] for line in lines] == ["database_unavailable", "database_unavailable", "database_back"]
    assert lines[0]["retry_in"] == 0.1
    assert lines[-1]["seconds"] == 45.2
    assert away.outage.since is None


def test_a_permission_that_never_comes_is_not_called_an_outage_and_is_said_once(away: Database) -> None:
    with capture_logs() as lines:
        for _ in range(20):
            say_away(away, "claim", DENIED, retry_in=2.0)
        assert away.outage.refuses
        say_back(away, "claim")
        say_away(away, "claim", DENIED, retry_in=2.0)
    said = [(line["event"], line["log_level"]) for line in lines if line["log_level"] != "debug"]
    assert said == [("database_refuses", "error"), ("database_back", "info"), ("database_refuses", "error")]
    assert "permission denied" in lines[0]["error"]
    assert "waiting does not help" in lines[0]["hint"]


def test_an_outage_after_a_refusal_needs_nobody(away: Database) -> None:
    say_away(away, "claim", DENIED)
    say_away(away, "claim", CUT)
    assert not away.outage.refuses
