"""The page of one return: its whole story, what it waits for, and what can be done about it; and its labels' files."""

import json
import re
from typing import Any

from worker.domain.waits import REASON
from worker.labels import LabelMissing, LabelStoreError
from worker.store.upkeep.history import History
from worker.usecases.label import LabelFile, LabelRemoved, label_file
from worker.usecases.show import show_to_person
from worker.usecases.ways import Way
from worker.web.page import Answer, Page
from worker.web.problems import Kind, Problem
from worker.web.words import ENDS, LABEL_WAYS, MEANING, WAYS, is_link, sentence

# What is rendered keeps the loop waiting: some 20 ms for so much, of which hardly a return has a tenth.
_MOST_LINES = 200  # of a history
_MOST_CHARACTERS = 100_000  # of a payload; a larger one is not indented, which takes five times as long

_POSITION = re.compile(r"[1-9][0-9]{0,8}")
_SHOWN_BY_BROWSERS = frozenset({"application/pdf", "image/png"})


async def show_one(page: Page) -> Answer:
    """What `returns-worker show` says of a return."""
    found = await page.ask(show_to_person, page.places["reference"], page.places["account"], _MOST_LINES)
    history = found.history
    return page.render(
        "return.html",
        found=found,
        order=history.order,
        lines=history.transitions,
        lines_left_out=history.left_out,
        payload=_payload(history),
        shown_by_browsers=_SHOWN_BY_BROWSERS,
        waits={each: f"{sentence(REASON[each])} {ENDS[each]}" for each in ENDS},
        label_ways=LABEL_WAYS,
        meaning=MEANING,
        ways=WAYS,
        offered=sorted(found.ways, key=lambda way: way is not Way.RETRY),  # what is rejected is mended and sent again
        is_link=is_link,
    )


async def download_label(page: Page) -> Answer:
    """A label's file, to be kept; a program has it so, too."""
    return _sent(await _label(page), "attachment")


async def view_label(page: Page) -> Answer:
    """The same, for a browser that shows it by itself; Chromium's viewer does under the policy that all pages have."""
    label = await _label(page)
    if label.media_type not in _SHOWN_BY_BROWSERS:
        raise Problem(Kind.NO_SUCH_LABEL, f"No browser shows {label.media_type}: download the label instead.")
    return _sent(label, "inline")


async def _label(page: Page) -> LabelFile:
    reference, account, position = (page.places[name] for name in ("reference", "account", "position"))
    if not _POSITION.fullmatch(position):
        raise Problem(Kind.NO_SUCH_LABEL, "A label's position is a number, from 1.")
    try:
        label = await page.ask(label_file, reference, account, int(position))
    except LabelRemoved as error:
        raise Problem(Kind.NO_SUCH_LABEL, str(error)) from None
    except LabelMissing as error:
        raise Problem(Kind.NO_SUCH_LABEL, f"The label is not in the label store: {error}.") from None
    except LabelStoreError as error:
        raise Problem(Kind.LABEL_STORE_AWAY, f"The label cannot be had now: {error}.") from None
    if label is None:
        raise Problem(Kind.NO_SUCH_LABEL, f"This return has no label {position}; what is shown of it says why.")
    return label


def _sent(label: LabelFile, how: str) -> Answer:
    return Answer(label.content, label.media_type, headers={"Content-Disposition": f'{how}; filename="{label.name}"'})


def _payload(history: History) -> dict[str, Any]:
    text = json.dumps(history.order.payload, ensure_ascii=False)
    if len(text) <= _MOST_CHARACTERS:
        text = json.dumps(history.order.payload, indent=2, ensure_ascii=False)
    return {"text": text[:_MOST_CHARACTERS], "left_out": max(len(text) - _MOST_CHARACTERS, 0)}
