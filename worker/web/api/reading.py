"""Reads what a program sends: a query or a body of JSON, by its model; every mistake is named at once."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from worker.usecases.not_done import NAMED, capped
from worker.web.page import Page
from worker.web.problems import Kind, Problem

T = TypeVar("T", bound=BaseModel)

_LONGEST_NAME = 100  # characters of a member that there is not


def query_of(page: Page, model: type[T]) -> T:
    """What the query says."""
    try:
        return model.model_validate(page.query)
    except ValidationError as error:
        raise _invalid(error, model, lambda path: {"parameter": path} if path else {}) from None


def body_of(page: Page, model: type[T]) -> T:
    """What the body says; none at all is `{}`."""
    try:
        return model.model_validate_json(page.body or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise Problem(Kind.MALFORMED, f"What was sent is no JSON: {first['msg']}.") from None
        raise _invalid(error, model, lambda path: {"pointer": f"/{path}" if path else ""}) from None


def _invalid(error: ValidationError, model: type[BaseModel], where: Any) -> Problem:
    # Without what was sent: it may be anything, and as large as a request may be.
    found = error.errors(include_url=False, include_context=False, include_input=False)
    mistakes = [where("/".join(map(_named, each["loc"]))) | _said(each, model) for each in found]
    lines = [
        f"{each.get('parameter') or each.get('pointer') or ''}: {each['detail']}".lstrip(": ") for each in mistakes
    ]
    return Problem(Kind.INVALID, "; ".join(capped(lines)), errors=mistakes[:NAMED])


def _named(part: str | int) -> str:
    return str(part)[:_LONGEST_NAME].replace("~", "~0").replace("/", "~1")  # as RFC 6901 has it


def _said(each: Mapping[str, Any], model: type[BaseModel]) -> dict[str, str]:
    if each["type"] == "extra_forbidden":
        return {"detail": f"there is no such member; there is {', '.join(model.model_fields) or 'none'}"}
    return {"detail": str(each["msg"]).removeprefix("Value error, ")}
