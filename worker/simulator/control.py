"""The simulator's controls over HTTP, under `/simulator/`, for tests in any language; no key is asked."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields

from aiohttp import web

from worker.simulator.carrier import Carrier, Ledger, Request
from worker.simulator.delivery import Reply, json_reply
from worker.simulator.faults import FAULTS, FaultPlan, build_fault
from worker.simulator.journeys import MAGIC_WORDS

CONTROL_PREFIX = "/simulator"
_DEFAULT_LIMIT, _LARGEST_LIMIT = 1000, 10_000  # encoding more at once would hold up the carrier's answers


class Control:
    """Answers what is asked under `/simulator`; bad input is 400 with `{"error": ...}`."""

    def __init__(
        self, faults: FaultPlan, ledger: Ledger, carriers: Mapping[str, Carrier], reset: Callable[[], None]
    ) -> None:
        """`carriers` by name, the first one where none is named."""
        self._faults = faults
        self._ledger = ledger
        self._carriers = carriers
        self._reset = reset

    async def answer(self, request: web.BaseRequest) -> Reply:
        """The answer to one control request."""
        try:
            match request.method, request.path.rstrip("/"):
                case "GET", "/simulator":
                    return json_reply({"magic_words": dict(MAGIC_WORDS), "faults": dict(FAULTS)})
                case "POST", "/simulator/faults":
                    return self._inject(await request.read())
                case "GET", "/simulator/requests":
                    return self._requests(request.query)
                case "GET", "/simulator/orders":
                    return self._orders(request.query)
                case "POST", "/simulator/reset":
                    self._reset()
                    return json_reply({"reset": True})
                case _:
                    return json_reply({"error": f"no such control: {request.method} {request.path}"}, 404)
        except ValueError as error:
            return json_reply({"error": str(error)}, 400)
        except web.HTTPRequestEntityTooLarge:
            return json_reply({"error": "the body is too large"}, 413)

    def _inject(self, raw: bytes) -> Reply:
        wish = json_object(raw)
        if wish is None:
            raise ValueError("the body must be a JSON object")
        parameters = dict(wish)
        operation, name = parameters.pop("operation", None), parameters.pop("fault", None)
        times = parameters.pop("times", 1)
        self._faults.inject(operation, build_fault(name, parameters), times)
        return json_reply({"operation": operation, "fault": name, "times": times}, 201)

    def _requests(self, query: Mapping[str, str]) -> Reply:
        operation = query.get("operation")
        chosen = [entry for entry in self._ledger if operation in (None, entry.operation)]
        shown = chosen[-_limit(query) :]
        return json_reply({"total": len(chosen), "requests": [_request_document(entry) for entry in shown]})

    def _orders(self, query: Mapping[str, str]) -> Reply:
        name = query.get("carrier", next(iter(self._carriers)))
        if name not in self._carriers:
            raise ValueError(f"carrier must be one of {', '.join(self._carriers)}, not {name!r}")
        total, shown = self._carriers[name].describe(_limit(query))
        return json_reply({"total": total, "orders": shown})


def json_object(raw: bytes) -> dict[str, object] | None:
    """`raw` as a JSON object; None if it is anything else."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(_DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= _LARGEST_LIMIT):
        raise ValueError(f"limit must be 1 to {_LARGEST_LIMIT}, not {text!r}")
    return int(text)


def _request_document(entry: Request) -> dict[str, object]:
    return {each.name: getattr(entry, each.name) for each in fields(entry)}
