"""Which cadence holds: the most particular setting, key by key."""

from datetime import timedelta

import pytest

from worker.settings import AccountPolling, AccountSettings, PollingOverride, PollingSettings, Settings, load


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


def test_the_four_layers_come_in_their_order() -> None:
    settings = Settings(
        polling=PollingSettings(
            first=seconds(4),
            factor=4,
            jitter=0.4,
            by_status={"unknown": PollingOverride(first=seconds(3), factor=3, jitter=0.3)},
        ),
        accounts={
            "a": AccountSettings(
                polling=AccountPolling(
                    first=seconds(2), factor=2, by_status={"unknown": PollingOverride(first=seconds(1))}
                )
            ),
            "b": AccountSettings(),
        },
    )
    ladder = settings.polling_for("a", "unknown")
    assert (ladder.first, ladder.factor, ladder.jitter) == (seconds(1), 2, 0.3)
    assert settings.polling_for("a", "pending").first == seconds(2)
    assert settings.polling_for("b", "unknown").first == seconds(3)
    assert settings.polling_for("b", "pending").first == seconds(4)
    assert settings.polling_for("nobody", "pending").first == seconds(4)


def test_a_parcel_under_way_is_first_asked_about_after_half_an_hour() -> None:
    assert Settings().polling_for("default", "in_transit").first == timedelta(minutes=30)
    assert Settings().polling_for("default", "pre_transit").first == timedelta(minutes=15)


def test_the_built_in_value_stays_when_other_keys_of_its_table_are_set() -> None:
    settings = load(environ={"RETURNS_WORKER_POLLING__BY_STATUS__IN_TRANSIT__FACTOR": "3"})
    ladder = settings.polling_for("default", "in_transit")
    assert (ladder.first, ladder.factor) == (timedelta(minutes=30), 3)


def test_the_built_in_value_gives_way_to_a_smaller_cap() -> None:
    settings = load(environ={"RETURNS_WORKER_POLLING__FIRST": "2s", "RETURNS_WORKER_POLLING__CAP": "5s"})
    ladder = settings.polling_for("default", "in_transit")
    assert (ladder.first, ladder.cap) == (seconds(5), seconds(5))


def test_a_ladder_cannot_be_changed() -> None:
    with pytest.raises(ValueError):
        Settings().polling_for("default", "unknown").first = seconds(1)  # type: ignore[misc]
