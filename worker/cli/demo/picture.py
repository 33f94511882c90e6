"""The demo's end as a picture, for a page: an SVG that fetches nothing and says nothing of the machine or the time."""

import io
import re

from rich.console import Console

_WIDTH = 92  # characters: the longest line of the demo's end
_FONT_FACE = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


def blank() -> Console:
    """What is printed here is kept for the picture, and shown nowhere."""
    return Console(file=io.StringIO(), record=True, width=_WIDTH, highlight=False, markup=False)


def svg(console: Console) -> str:
    """All that was printed. rich names fonts of another host, which a reader of the page would be sent to: they go."""
    return _FONT_FACE.sub("", console.export_svg(title="returns-worker demo", unique_id="demo"))
