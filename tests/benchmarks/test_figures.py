"""The pure parts of the benchmarks: ratios, the verdict on noise, the table, percentiles, the plots."""

import importlib.util
import json
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.benchmarks.__main__ import arguments_of_the_command
from tests.benchmarks.figure import NOISE_BOUND, Figure, Reach, Samples, Subject
from tests.benchmarks.groups import GROUPS
from tests.benchmarks.plot import Axis, marks_around, svg
from tests.benchmarks.table import HEADER, row, rows_of, shown, table, with_rows
from tests.benchmarks.throughput import percentile

_PAGE = (Path(__file__).parents[2] / "docs" / "internals" / "performance.md").read_text(encoding="utf-8")
_EXPLAINED = _PAGE.partition("## What each figure means")[2]
RATIO = Subject("cpu", "CPU over CPU", Reach(2.0), measured_in="us")
VALUE = Subject("start", "to ready", Reach(2.0), "s")


def test_a_ratio_is_the_median_of_the_rounds_each_over_its_own_baseline() -> None:
    figure = Figure(RATIO, Samples([10, 40, 30], [10, 10, 20]))
    assert figure.rounds == [1, 4, 1.5]
    assert figure.value == 1.5


def test_a_value_has_no_baseline_and_a_ratio_has_one_for_each_round() -> None:
    assert Figure(VALUE, Samples([1.0, 3.0])).value == 2.0
    for subject, samples in (
        (RATIO, Samples([1, 2])),
        (RATIO, Samples([1, 2], [1])),
        (VALUE, Samples([1], [1])),
        (VALUE, Samples([])),
    ):
        with pytest.raises(ValueError, match=subject.name):
            Figure(subject, samples)


def test_a_reach_may_be_a_lower_bound() -> None:
    most, least = Reach(1.5), Reach(1.6, at_least=True)
    assert (most.holds(1.5), most.holds(1.51), str(most)) == (True, False, "<= 1.5")
    assert (least.holds(1.6), least.holds(1.59), str(least)) == (True, False, ">= 1.6")


@pytest.mark.parametrize(
    ("rounds", "verdict"),
    [
        ([1.0, 1.1, 1.05], "reached"),
        ([2.3, 2.4, 2.2], "MISSED"),
        ([1.9, 2.1, 2.0], "reached"),  # on both sides of the reach, and close together
        ([1.5, 2.5, 1.9], "too noisy to say"),
        ([0.1, 1.9, 0.5], "reached"),  # far apart, and every round says the same
        ([2.1, 9.0, 4.0], "MISSED"),
        ([1.9, 1.95, 1.9, 1.9, 30.0], "reached"),  # with five rounds the outermost do not count
        ([1.0, 1.2, 1.9, 2.5, 3.0], "too noisy to say"),
    ],
)
def test_noise_is_a_verdict_only_where_the_rounds_disagree(rounds: list[float], verdict: str) -> None:
    assert Figure(VALUE, Samples(rounds)).verdict == verdict


def test_the_spread_is_a_part_of_the_median() -> None:
    assert Figure(VALUE, Samples([1.0, 2.0, 3.0])).spread == 1.0
    assert Figure(VALUE, Samples([0, 0, 0])).spread == 0.0
    assert NOISE_BOUND < 1.0


def test_a_line_says_what_was_measured_over_what_and_whether_it_is_enough() -> None:
    assert row(Figure(RATIO, Samples([500, 600, 550], [200, 200, 220]))) == (
        "| `cpu` | 550 us | 200 us | **2.5** | <= 2 | MISSED | 20% | 3 |"
    )
    assert row(Figure(VALUE, Samples([1.234]), quick=True)) == (
        "| `start` | 1.23 s |  | **1.23** s | <= 2 | reached | 0% | 1, quick |"
    )
    noted = Samples([2.5], note="4 of 5 parts")
    assert row(Figure(VALUE, noted)) == "| `start` | 2.5 s |  | **2.5** s | <= 2 | MISSED; 4 of 5 parts | 0% | 1 |"
    assert (shown(1234.5), shown(0.0123), shown(0)) == ("1234", "0.0123", "0")


def test_a_run_of_some_figures_leaves_the_lines_of_the_others_in_the_page() -> None:
    page = "before\n<!-- figures -->\n<!-- end of figures -->\nafter\n"
    first = row(Figure(VALUE, Samples([1.0])))
    page = with_rows(page, {"start": first}, ["cpu", "start"])
    assert rows_of(page) == {"start": first}
    second = row(Figure(RATIO, Samples([1.0], [1.0])))
    page = with_rows(page, {"cpu": second}, ["cpu", "start"])
    assert page == f"before\n<!-- figures -->\n{table([second, first])}\n<!-- end of figures -->\nafter\n"
    assert HEADER in page
    with pytest.raises(ValueError, match="figures"):
        with_rows("a page without a place", {}, [])


def test_every_figure_has_a_name_of_its_own() -> None:
    names = [subject.name for group in GROUPS for subject in group.subjects]
    assert len(names) == len(set(names)) > 10


def test_all_that_was_measured_can_be_written_as_json() -> None:
    document = Figure(RATIO, Samples([10, 20], [10, 10], {"polls": 5})).as_document()
    read = json.loads(json.dumps(document))
    assert (read["value"], read["verdict"], read["rounds"]) == (1.5, "reached", [1.0, 2.0])
    assert (read["measured_in"], read["details"]) == ("us", {"polls": 5})


def test_a_percentile_lies_within_its_bucket() -> None:
    buckets = {0.05: 90.0, 0.1: 98.0, 0.25: 100.0, float("inf"): 100.0}
    assert percentile(buckets, 0.99) == pytest.approx(0.175)
    assert percentile(buckets, 0.5) == pytest.approx(0.05 * 50 / 90)
    assert percentile({0.05: 0.0, float("inf"): 10.0}, 0.99) == 0.05
    with pytest.raises(ValueError, match="nothing"):
        percentile({0.05: 0.0, float("inf"): 0.0}, 0.99)


def test_a_plot_places_what_it_draws_by_its_logarithm() -> None:
    across, up = Axis("in flight", (1, 10, 100)), Axis("us", marks_around([20, 900]))
    assert (across.place(1), across.place(10), across.place(100)) == (0, 0.5, 1)
    assert list(up.marks) == [20, 50, 100, 200, 500, 1000]
    picture = ElementTree.fromstring(svg("a < b", across, up, {"worker": [(1, 20), (100, 1000)]}))
    (line,) = picture.iter("{http://www.w3.org/2000/svg}polyline")
    (left, bottom), (right, top) = (map(float, point.split(",")) for point in line.attrib["points"].split())
    texts = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert left < right
    assert top < bottom
    assert {"a < b", "in flight", "us", "worker", "1,000", "100"} <= set(texts)


@pytest.mark.parametrize("values", [[1.0], [0.3, 40.0], [5.0, 5.0], [999.0, 1001.0]])
def test_the_marks_of_an_axis_enclose_its_values(values: list[float]) -> None:
    marks = marks_around(values)
    assert marks[0] <= min(values) <= max(values) <= marks[-1]
    assert marks == sorted(set(marks))


def test_every_figure_is_in_the_table_of_the_page_in_order_and_explained_below_it() -> None:
    names = [subject.name for group in GROUPS for subject in group.subjects]
    assert list(rows_of(_PAGE)) == names
    assert {name for name in names if f"`{name}`" not in _EXPLAINED} == set()


def test_the_command_beside_the_table_is_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"<!-- benchmarks -->\n```sh\n\.venv/bin/python -m (\S+) (.*)\n```", _PAGE)
    assert found is not None
    module, *arguments = found[1], *shlex.split(found[2])
    assert importlib.util.find_spec(f"{module}.__main__") is not None
    monkeypatch.setattr("sys.argv", [module, *arguments])
    chosen = arguments_of_the_command()
    assert (chosen.quick, chosen.write_docs, chosen.only) == (False, True, None)
