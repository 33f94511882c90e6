"""Durations are read as people write them, and nothing else is."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.settings import format_duration, parse_duration
from worker.settings.durations import LONGEST, parse_age, parse_positive_duration


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("200ms", timedelta(milliseconds=200)),
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("6h", timedelta(hours=6)),
        ("60d", timedelta(days=60)),
        ("1.5h", timedelta(minutes=90)),
        (" 2 s ", timedelta(seconds=2)),
        (0.5, timedelta(milliseconds=500)),
        ("0.5", timedelta(milliseconds=500)),
        (90, timedelta(seconds=90)),
        (0, timedelta()),
        ("3650d", LONGEST),
    ],
)
def test_a_duration_is_read_as_written(written: object, meant: timedelta) -> None:
    assert parse_duration(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "",
        "s",
        "-1s",
        "1w",
        "1h30m",
        "1e3",
        "nan",
        "inf",
        "٣s",
        "3651d",
        "9" * 400 + "d",
        -0.1,
        1e300,
        10**400,
        float("nan"),
        float("inf"),
        float("-inf"),
        True,
        None,
        [],
        {},
    ],
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError):
        parse_duration(written)


@pytest.mark.parametrize("written", [0, "0s", "0.0000001s", 1e-9])
def test_zero_is_refused_where_it_makes_no_sense(written: object) -> None:
    with pytest.raises(ValueError, match="more than zero"):
        parse_positive_duration(written)


@given(st.timedeltas(min_value=timedelta(), max_value=LONGEST))
def test_what_is_written_is_read_back(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.one_of(st.text(), st.integers(), st.floats(), st.from_regex(r"-?[0-9.]{1,30}(ms|s|m|h|d)?")))
def test_any_input_gives_a_sane_duration_or_a_value_error(written: object) -> None:
    try:
        duration = parse_duration(written)
    except ValueError:
        return
    assert timedelta() <= duration <= LONGEST


@given(st.floats(min_value=0, max_value=1e8))
def test_a_number_is_seconds_whether_it_is_text_or_not(seconds: float) -> None:
    assert parse_duration(seconds) == timedelta(microseconds=round(seconds * 10**6)) or seconds > 1e6
    assert parse_duration(f"{seconds:f}") == parse_duration(f"{seconds:f}s")


@pytest.mark.parametrize(("value", "age"), [("", None), ("1d", timedelta(days=1)), ("400d", timedelta(days=400))])
def test_an_age_is_a_day_or_more_or_never(value: object, age: timedelta | None) -> None:
    assert parse_age(value) == age
    for wrong in (400, "400", "23h", "soon"):
        with pytest.raises(ValueError, match=r"at least \"1d\"|a duration is"):
            parse_age(wrong)
