"""The description of the API as OpenAPI 3.1 has it, made from the operations and their models."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from operator import attrgetter
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from worker import __version__
from worker.labels.names import EXTENSIONS
from worker.web.api.operations import OPERATIONS, Operation
from worker.web.guard import May
from worker.web.page import Answer, Page, Route
from worker.web.problems import Kind

OF_EVERY = (Kind.UNAUTHORIZED, Kind.WRONG_NAME, Kind.OUR_MISTAKE, Kind.BUSY, Kind.DATABASE_AWAY, Kind.MALFORMED)
"""What can go wrong with every operation."""

OF_EVERY_POST = (Kind.TOO_LARGE, Kind.NOT_JSON, Kind.NOT_ALLOWED)
"""What can besides with one that does something."""

_ABOUT = (
    "What the worker's pages show and do, for programs. Each request sends its token, `Authorization: Bearer TOKEN`;"
    " where no token is configured, who is on the worker's own machine may look without one. Times are UTC. New members"
    " may come into any answer. A part of a path is percent-encoded; `.` and `..` are written `~.` and `~..`."
)
_PROBLEM = "ProblemDetails"
_PLACES = {
    "account": "The account's name.",
    "reference": "The shop's reference of the return.",
    "position": "Which label; from 1.",
    "name": "The subscriber's name.",
}


async def show_openapi(page: Page) -> Answer:
    """The description itself."""
    return page.json(document())


ROUTES = (*(each.route for each in OPERATIONS), Route("api_openapi", "/api/openapi.json", show_openapi))
"""Where the API answers."""


@cache
def document() -> dict[str, Any]:
    """The whole description; it is the same as long as the worker runs."""
    from worker.web.api import models, summaries  # noqa: PLC0415 - no answer needs them, and no start of a worker waits for them

    named = {_PROBLEM, *(name for each in OPERATIONS for name in each.answers)}
    found: set[type[BaseModel]] = {getattr(summaries if hasattr(summaries, name) else models, name) for name in named}
    found |= {each.asks for each in OPERATIONS if each.asks is not None}
    order = sorted(found, key=lambda model: model.__name__)
    _, made = models_json_schema(
        [(model, "validation") for model in order], ref_template="#/components/schemas/{model}"
    )
    schemas = made["$defs"]
    for schema in schemas.values():
        if "enum" in schema:  # what further its class says of itself is for who changes it
            schema["description"] = re.split("[.;]", schema["description"])[0] + "."
    paths: dict[str, Any] = {}
    for each in OPERATIONS:
        paths.setdefault(each.route.path, {})[each.route.method.lower()] = _operation(each, schemas)
    for each in OPERATIONS:  # a query is told parameter by parameter
        if each.asks is not None and each.route.method == "GET":
            schemas.pop(each.asks.__name__, None)
    return {
        "openapi": "3.1.0",
        "info": {"title": "returns-worker", "version": __version__, "description": _ABOUT},
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def problems_of(operation: Operation) -> list[Kind]:
    """What can go wrong with it, in the order of their statuses."""
    told = {*OF_EVERY, *operation.problems}
    if operation.route.needs is May.ACT:
        told |= {*OF_EVERY_POST}
    if operation.asks is not None:
        told.add(Kind.INVALID)
    return [kind for kind in Kind if kind in told]


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    route = operation.route
    told: dict[str, Any] = {"operationId": route.name.removeprefix("api_"), "summary": operation.summary}
    if operation.description:
        told["description"] = operation.description
    parameters = [
        {"name": name, "in": "path", "required": True, "description": about, "schema": {"type": "string"}}
        for name, about in _PLACES.items()
        if f"{{{name}}}" in route.path
    ]
    if operation.asks is not None and route.method == "GET":
        parameters += _query(schemas[operation.asks.__name__])
    elif operation.asks is not None:
        body = {"$ref": f"#/components/schemas/{operation.asks.__name__}"}
        told["requestBody"] = {"required": False, "content": {"application/json": {"schema": body}}}
    if parameters:
        told["parameters"] = parameters
    return told | {"responses": {"200": _answer(operation.answers), **_problems(problems_of(operation))}}


def _query(schema: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for name, about in schema["properties"].items():
        value = {key: each for key, each in about.items() if key not in {"description", "title"}}
        if "anyOf" in value:  # what is not given is left out of a query, and not null
            (value,) = (each for each in value["anyOf"] if each != {"type": "null"})
        yield {"name": name, "in": "query", "description": about["description"], "schema": value}


def _answer(models: Sequence[str]) -> dict[str, Any]:
    if not models:
        content: dict[str, Any] = {media_type: {} for media_type in EXTENSIONS}
    else:
        each = [{"$ref": f"#/components/schemas/{model}"} for model in models]
        content = {"application/json": {"schema": each[0] if len(each) == 1 else {"oneOf": each}}}
    return {"description": "It is so, or it is done.", "content": content}


def _problems(kinds: Sequence[Kind]) -> dict[str, Any]:
    schema = {"schema": {"$ref": f"#/components/schemas/{_PROBLEM}"}}
    return {
        str(status): {
            "description": "; ".join(f"{kind.title} (`{kind.type}`)" for kind in some),
            "content": {"application/problem+json": schema},
        }
        for status, some in ((status, list(group)) for status, group in groupby(kinds, attrgetter("status")))
    }
