"""Draws lines on two logarithmic axes as SVG, with nothing but the standard library."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 190, 44, 52
_COLORS = ("#3274d9", "#56a64b", "#ff780a", "#e02f44", "#8f5bd6")
_FONT = 'font-family="sans-serif" font-size="12" fill="#444"'


@dataclass(frozen=True, slots=True)
class Axis:
    """A logarithmic axis: its title, and where it has a mark and a number."""

    title: str
    marks: Sequence[float]

    def place(self, value: float) -> float:
        """Where a value lies, 0 the first mark and 1 the last."""
        first, last = math.log(self.marks[0]), math.log(self.marks[-1])
        return (math.log(value) - first) / (last - first)


def marks_around(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 of each power of ten, from the last below all values to the first above them."""
    low, high = min(values), max(values)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    return [
        *[max(step for step in steps if step <= low)],
        *[step for step in steps if low < step < high],
        *[min(step for step in steps if step >= high and step > low)],
    ]


def svg(title: str, across: Axis, up: Axis, lines: Mapping[str, Points]) -> str:
    """The picture; each line has its name beside it."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="22" {_FONT} font-weight="bold">{escape(title)}</text>',
        *_grid(across, up),
        *(_line(across, up, points, _COLORS[number % len(_COLORS)]) for number, points in enumerate(lines.values())),
        *_legend(list(lines)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _grid(across: Axis, up: Axis) -> list[str]:
    parts = []
    for mark in across.marks:
        x = _x(across, mark)
        parts.append(f'<path d="M{x} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{_HEIGHT - _BOTTOM + 17}" text-anchor="middle" {_FONT}>{_spoken(mark)}</text>')
    for mark in up.marks:
        y = _y(up, mark)
        parts.append(f'<path d="M{_LEFT} {y}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{y + 4}" text-anchor="end" {_FONT}>{_spoken(mark)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 12}" text-anchor="middle" {_FONT}>{escape(across.title)}</text>')
    turned = f'transform="translate(18 {(_TOP + _HEIGHT - _BOTTOM) / 2}) rotate(-90)"'
    parts.append(f'<text {turned} text-anchor="middle" {_FONT}>{escape(up.title)}</text>')
    return parts


def _line(across: Axis, up: Axis, points: Points, color: str) -> str:
    places = [(_x(across, x), _y(up, y)) for x, y in points]
    path = " ".join(f"{x},{y}" for x, y in places)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{color}"/>' for x, y in places)
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>{dots}'


def _legend(names: Sequence[str]) -> list[str]:
    parts = []
    for number, name in enumerate(names):
        x, y = _WIDTH - _RIGHT + 14, _TOP + 12 + 20 * number
        color = _COLORS[number % len(_COLORS)]
        parts.append(f'<path d="M{x} {y - 4}h18" stroke="{color}" stroke-width="3"/>')
        parts.append(f'<text x="{x + 24}" y="{y}" {_FONT}>{escape(name)}</text>')
    return parts


def _x(axis: Axis, value: float) -> float:
    return round(_LEFT + axis.place(value) * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(axis: Axis, value: float) -> float:
    return round(_HEIGHT - _BOTTOM - axis.place(value) * (_HEIGHT - _TOP - _BOTTOM), 1)


def _spoken(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
