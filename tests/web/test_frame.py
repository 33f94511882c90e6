"""What others wrote stands in a page as a text and nothing else; times are told with their distance from now."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from jinja2 import UndefinedError

from worker.web.frame import distance, frame

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\u202eevil\0\x1b[2J & \"'"
CLEAN = "&lt;script&gt;alert(1)&lt;/script&gt; evil  [2J &amp; &#34;&#39;"


def rendered(template: str, **values: object) -> str:
    return frame().from_string(template).render(now=NOW, **values)


def test_a_word_of_others_is_escaped_cleaned_and_keeps_its_direction_to_itself() -> None:
    assert rendered("{{ said | word }}", said=HOSTILE) == f"<bdi>{CLEAN}</bdi>"
    assert rendered("{{ said | text }}", said=f"a\n{HOSTILE}") == f'<bdi class="lines">a\n{CLEAN}</bdi>'


def test_an_address_is_broken_behind_its_slashes_before_it_is_broken_anywhere() -> None:
    assert rendered("{{ at | word }}", at=f"https://a/<b>/{'9' * 30}") == (
        f'<bdi class="long">https:/<wbr>/<wbr>a/<wbr>&lt;b&gt;/<wbr>{"9" * 30}</bdi>'
    )


def test_what_no_filter_was_put_on_is_cleaned_all_the_same() -> None:
    assert rendered('<p title="{{ said }}">{{ said }}', said=HOSTILE) == f'<p title="{CLEAN}">{CLEAN}'


def test_nothing_is_shown_as_nothing_and_a_name_that_is_not_there_is_a_mistake() -> None:
    assert rendered("{{ a }}{{ a | word }}{{ a | text }}{{ a | moment }}", a=None) == ""
    with pytest.raises(UndefinedError):
        rendered("{{ nowhere }}")


def test_a_time_is_utc_wherever_it_comes_from() -> None:
    there = (NOW + timedelta(minutes=5)).astimezone(timezone(timedelta(hours=2)))
    assert rendered("{{ at | moment }}", at=there) == (
        '<time datetime="2026-11-26T12:05:00Z">2026-11-26 12:05:00 UTC</time> <span class="far">in 5 min</span>'
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *((0, "now"), (0.4, "now"), (1, "in 1 s"), (-1, "1 s ago"), (119, "in 119 s"), (120, "in 2 min")),
        *((-5_400, "90 min ago"), (7_200, "in 2 h"), (-172_799, "47 h ago"), (-172_800, "2 d ago")),
        (31_536_000 * 100, "in 36500 d"),
    ],
)
def test_how_far_a_time_is_from_now(seconds: float, said: str) -> None:
    assert distance(NOW + timedelta(seconds=seconds), NOW) == said
