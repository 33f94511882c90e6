"""Draws the dashboard's panels in its own grid with matplotlib; it is no picture of Grafana."""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from PIL import Image

from tests.deploy.prometheus import DASHBOARD

Drawn = list[tuple[str, list[tuple[float, float]]]]  # name and samples of each series of a panel

_UNIT = 0.235  # inches for a unit of the grid's height
_WIDTH = 15.0
_COLORS = {"green": "#56a64b", "yellow": "#e0b400", "orange": "#ff780a", "red": "#e02f44", "blue": "#3274d9"}
_MOST_IN_LEGEND = 9


def draw(data: dict[int, Drawn], since: float, file: Path, caption: str) -> None:
    """`data` is by the panel's number; the file is a small PNG."""
    mpl.use("Agg")
    written = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in written) + 1
    figure = pyplot.figure(figsize=(_WIDTH, height * _UNIT), facecolor="white")
    for panel in written:
        at = panel["gridPos"]
        x, y = at["x"] / 24, 1 - (at["y"] + at["h"] + 1) / height
        if panel["type"] == "row":
            figure.text(x + 0.004, y + 0.3 / height, panel["title"], fontsize=10, fontweight="bold", color="#333333")
            continue
        left, low, top = (0.038, 1.9, 1.15) if panel["type"] != "stat" else (0.01, 0.3, 1.0)
        box = (x + left, y + low / height, at["w"] / 24 - left - 0.012, (at["h"] - low - top) / height)
        axes = figure.add_axes(box)
        axes.set_title(panel["title"], fontsize=8, loc="left", pad=3)
        _KINDS[panel["type"]](axes, panel, data[panel["id"]], since)
    figure.text(0.004, 1 - 0.75 / height, caption, fontsize=8, color="#555555")
    figure.savefig(file, dpi=78)
    with Image.open(file) as picture:  # 256 colours are enough for lines and letters, and a third of the size
        few = picture.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(file, optimize=True)


def named(legend: str, labels: dict[str, str]) -> str:
    """Grafana's legend format."""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), legend).strip()


def _lines(axes: Axes, panel: dict[str, Any], drawn: Drawn, since: float) -> None:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    custom = panel["fieldConfig"]["defaults"]["custom"]
    drawn = sorted(drawn, key=lambda each: -max(value for _, value in each[1]))
    if custom.get("stacking", {}).get("mode") == "normal":
        moments = sorted({when for _, values in drawn for when, _ in values})
        rows = [[dict(values).get(when, 0.0) for when in moments] for _, values in drawn]
        axes.stackplot([when - since for when in moments], rows, labels=[name for name, _ in drawn], alpha=0.7)
    else:
        for name, values in drawn:
            axes.plot([when - since for when, _ in values], [value for _, value in values], label=name, linewidth=0.9)
    highest = max((value for _, values in drawn for _, value in values), default=0.0)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]) if highest > 0 else 0.0, top=None if highest > 0 else 1.0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _spoken(value, unit)))
    _finish(axes)
    handles, names = axes.get_legend_handles_labels()
    left_out = len(names) - _MOST_IN_LEGEND
    if left_out > 0:
        names[_MOST_IN_LEGEND - 1] += f"  and {left_out} more"
    axes.legend(handles[:_MOST_IN_LEGEND], names[:_MOST_IN_LEGEND], **_below(3 if panel["gridPos"]["w"] < 12 else 5))


def _states(axes: Axes, panel: dict[str, Any], drawn: Drawn, since: float) -> None:
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    words = {int(value): shown for value, shown in mapping["options"].items()}
    for row, (_, values) in enumerate(drawn):
        step = values[1][0] - values[0][0] if len(values) > 1 else 1.0
        for when, value in values:
            axes.barh(row, step, left=when - since, color=_COLORS[words[int(value)]["color"]], height=0.7)
    axes.set_yticks(range(len(drawn)), [re.sub(r"\d+\.\d+\.\d+\.\d+:\d+", "", name) for name, _ in drawn])
    axes.tick_params(axis="y", direction="in", pad=-4)
    for label in axes.get_yticklabels():
        label.set_horizontalalignment("left")
    axes.invert_yaxis()
    _finish(axes)
    keys = [pyplot.Rectangle((0, 0), 1, 1, color=_COLORS[shown["color"]]) for shown in words.values()]
    axes.legend(keys, [shown["text"] for shown in words.values()], **_below(3))


def _figures(axes: Axes, panel: dict[str, Any], drawn: Drawn, since: float) -> None:
    axes.axis("off")
    names_only = panel["options"].get("textMode") == "name"
    unit = panel["fieldConfig"]["defaults"]["unit"]
    shown = [name if names_only else _spoken(values[-1][1], unit) for name, values in drawn] or ["none"]
    axes.text(0.5, 0.45, "  ".join(shown), fontsize=17, ha="center", va="center", transform=axes.transAxes)


def _bars(axes: Axes, panel: dict[str, Any], drawn: Drawn, since: float) -> None:
    drawn = sorted(drawn, key=lambda each: -each[1][-1][1])
    counts = [values[-1][1] for _, values in drawn]
    places = axes.barh(range(len(drawn)), counts, color=_COLORS["blue"], height=0.65)
    axes.bar_label(places, [f"{count:.0f}" for count in counts], fontsize=6.5, padding=3)
    axes.set_yticks(range(len(drawn)), [name for name, _ in drawn])
    axes.invert_yaxis()
    left, low, width, high = axes.get_position().bounds
    axes.set_position((left + 0.05, low, width - 0.07, high))  # the names are longer than numbers
    axes.tick_params(labelsize=6.5, length=2)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_xticks([])


_KINDS = {"timeseries": _lines, "state-timeline": _states, "stat": _figures, "bargauge": _bars}


def _finish(axes: Axes) -> None:
    axes.margins(x=0)
    axes.grid(visible=True, color="#dddddd", linewidth=0.5)
    axes.tick_params(labelsize=6.5, length=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{int(value) // 60}:{int(value) % 60:02}"))


def _below(columns: int) -> dict[str, Any]:
    return {
        "loc": "upper left",
        "bbox_to_anchor": (-0.02, -0.1),
        "ncols": columns,
        "fontsize": 5.8,
        "frameon": False,
        "handlelength": 1.0,
        "columnspacing": 1.0,
        "labelspacing": 0.2,
    }


def _spoken(value: float, unit: str) -> str:
    if unit == "s":
        if 0 < abs(value) < 1:
            return f"{value * 1000:.0f} ms"
        return f"{value:.3g} s" if abs(value) < 120 else f"{value / 60:.3g} min"
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    if unit == "percentunit":
        return f"{value:.3g}" if 0 < value < 0.01 else f"{value:.0%}"
    short = f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"
    return f"{short}/min" if unit == "cpm" else short
