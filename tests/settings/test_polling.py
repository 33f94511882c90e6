"""Which cadence holds: the most particular setting, key by key."""

from datetime import timedelta

import pytest

from worker.domain.tracking import TrackingStatus
from worker.settings import (
    AccountPolling,
    AccountSettings,
    ConfigurationError,
    PollingOverride,
    PollingSettings,
    Settings,
    load,
)
from worker.settings.durations import read_daytime


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
    ladder = settings.polling_for("a", TrackingStatus.UNKNOWN)
    assert (ladder.first, ladder.factor, ladder.jitter) == (seconds(1), 2, 0.3)
    assert settings.polling_for("a", TrackingStatus.PENDING).first == seconds(2)
    assert settings.polling_for("b", TrackingStatus.UNKNOWN).first == seconds(3)
    assert settings.polling_for("b", TrackingStatus.PENDING).first == seconds(4)
    assert settings.polling_for("nobody", TrackingStatus.PENDING).first == seconds(4)


def test_a_parcel_under_way_is_first_asked_about_after_half_an_hour() -> None:
    assert Settings().polling_for("default", TrackingStatus.IN_TRANSIT).first == timedelta(minutes=30)
    assert Settings().polling_for("default", TrackingStatus.PRE_TRANSIT).first == timedelta(minutes=15)


def test_the_built_in_value_stays_when_other_keys_of_its_table_are_set() -> None:
    settings = load(environ={"RETURNS_WORKER_POLLING__BY_STATUS__IN_TRANSIT__FACTOR": "3"})
    ladder = settings.polling_for("default", TrackingStatus.IN_TRANSIT)
    assert (ladder.first, ladder.factor) == (timedelta(minutes=30), 3)


def test_the_built_in_value_gives_way_to_a_smaller_cap() -> None:
    settings = load(environ={"RETURNS_WORKER_POLLING__FIRST": "2s", "RETURNS_WORKER_POLLING__CAP": "5s"})
    ladder = settings.polling_for("default", TrackingStatus.IN_TRANSIT)
    assert (ladder.first, ladder.cap) == (seconds(5), seconds(5))


def test_a_ladder_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().polling_for("default", TrackingStatus.UNKNOWN).first = seconds(1)  # type: ignore[misc]


def test_a_max_age_by_status_ends_a_stay_and_the_general_one_ends_it_all() -> None:
    environ = {
        "RETURNS_WORKER_POLLING__BY_STATUS__UNKNOWN__MAX_AGE": "14d",
        "RETURNS_WORKER_ACCOUNTS__A__POLLING__MAX_AGE": "30d",
        "RETURNS_WORKER_ACCOUNTS__B__POLLING__BY_STATUS__UNKNOWN__MAX_AGE": "7d",
    }
    settings = load(environ=environ)
    ages = {
        name: (
            settings.polling_for(name, TrackingStatus.UNKNOWN).max_age.days,
            settings.polling_for(name, TrackingStatus.UNKNOWN).max_stay,
        )
        for name in ("a", "b", "nobody")
    }
    assert ages == {"a": (30, timedelta(days=14)), "b": (60, timedelta(days=7)), "nobody": (60, timedelta(days=14))}
    assert settings.polling_for("a", TrackingStatus.IN_TRANSIT).max_stay is None


@pytest.mark.parametrize(
    ("text", "begin", "length"),
    [("07:00-21:00", 7, 14), ("22:30-06:00", 22.5, 7.5), ("00:00-24:00", 0, 24), ("23:00-24:00", 23, 1)],
)
def test_a_daytime_may_end_on_the_next_day(text: str, begin: float, length: float) -> None:
    assert read_daytime(text) == (timedelta(hours=begin), timedelta(hours=length))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("DAYTIME", "7-21", "07:00-21:00"),
        ("DAYTIME", "24:00-07:00", "between 00:00 and 24:00"),
        ("DAYTIME", "08:00-24:30", "between 00:00 and 24:00"),
        ("DAYTIME", "08:00-08:00", "begins when it ends"),
        ("TIMEZONE", "Europe/Amstelveen", "is no time zone"),
        ("TIMEZONE", "../etc/passwd", "is no time zone"),
        ("TIMEZONE", "", "is no time zone"),
        ("NEAR_PICKUP", "-1h", "must not be negative"),
        ("FIRST", "11y", "a duration is"),
        ("CAP", "4000d", "longer than 3650d"),
    ],
)
def test_what_makes_no_sense_is_said(key: str, value: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load(environ={f"RETURNS_WORKER_POLLING__{key}": value})
