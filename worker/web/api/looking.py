"""What programs look at: returns, one return, its labels."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from worker.labels import LabelMissing, LabelStoreError
from worker.labels.names import EXTENSIONS
from worker.settings import Settings
from worker.store.database import Database
from worker.store.upkeep.history import find_orders
from worker.usecases.for_programs import found_returns, listed, shown_return
from worker.usecases.label import stored_label
from worker.usecases.not_done import NotDone
from worker.usecases.search import Findings, Sought, search
from worker.usecases.show import show_return, show_to_person
from worker.web.api.asked import ReturnsAsked
from worker.web.api.reading import query_of
from worker.web.page import Answer, Page
from worker.web.problems import Kind, Problem

_WITHIN = timedelta(seconds=1)  # for so long payloads are read: less than the pages' patience
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]")
_POSITION = re.compile(r"[1-9][0-9]{0,8}")


async def list_returns(page: Page) -> Answer:
    """Returns by filters, or what a text finds."""
    asked = query_of(page, ReturnsAsked)
    return page.json(await page.ask(_list if asked.q is None else _find, asked))


async def _list(_: Settings, database: Database, asked: ReturnsAsked) -> dict[str, Any]:
    orders = await find_orders(
        database,
        account=asked.account,
        states=[asked.state] if asked.state else (),
        error_code=asked.error_code,
        before=asked.before,
        limit=asked.limit + 1,
    )
    wanted = orders[: asked.limit]
    return {
        "returns": [listed(order) for order in wanted],
        "next": _next(asked, wanted[-1].id) if len(orders) > len(wanted) else None,
    }


async def _find(_: Settings, database: Database, asked: ReturnsAsked) -> dict[str, Any]:
    findings: Findings = await search(database, Sought(asked.q or "", asked.limit, asked.before, _WITHIN))
    told = found_returns(findings)
    told["found"] = [
        each
        for each in told["found"]
        if asked.state in (None, each["state"]) and asked.account in (None, each["account"])
    ]
    before = findings.go_on_before
    return told | {"next": _next(asked, before) if before is not None else None}


def _next(asked: ReturnsAsked, before: int) -> str:
    same = asked.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    return f"/api/returns?{urlencode(same | {'before': before})}"


async def show_one(page: Page) -> Answer:
    """One return with all that belongs to it."""
    return page.json(shown_return(await page.ask(show_to_person, page.places["reference"], page.places["account"])))


async def hand_out_label(page: Page) -> Answer:
    """The file of a label."""
    name, media_type, content = await page.ask(_read_label, page.places)
    headers = {"Content-Disposition": f'attachment; filename="{_NOT_IN_A_NAME.sub("_", name)}"'}
    return Answer(content, media_type, headers=headers)


async def _read_label(settings: Settings, database: Database, places: Any) -> tuple[str, str, bytes]:
    found = await show_return(settings, database, places["reference"], places["account"])
    position = int(places["position"]) if _POSITION.fullmatch(places["position"]) else 0
    try:
        label = await stored_label(settings, found.history, position)
    except NotDone as error:
        raise Problem(Kind.NO_SUCH_LABEL, str(error)) from None
    except LabelMissing:
        raise Problem(Kind.NO_SUCH_LABEL, f"The file of label {position} is not in the label store any more.") from None
    except LabelStoreError:  # its message names places of this machine
        raise Problem(Kind.LABEL_STORE_AWAY, "The label store cannot be used now; the worker's log says why.") from None
    if label is None:
        raise Problem(Kind.NO_SUCH_LABEL, "It has no label of this position; `labels` of the return has those it has.")
    name, content = label
    media_type = next(row.media_type for row in found.history.labels if row.position == position)
    return name, media_type if media_type in EXTENSIONS else "application/octet-stream", content
