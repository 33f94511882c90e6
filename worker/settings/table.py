"""The ground of every settings table: frozen, closed to unknown keys, and silent about secrets."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from worker.settings.urls import masked_url


@dataclass(frozen=True)
class MayHoldPassword:
    """Marks a text field (in `Annotated`) as a URL that may hold a password: shown through `masked_url` only."""


class Table(BaseModel):
    """One table of the TOML file."""

    # hide_input_in_errors: pydantic's own error text would repeat values, and a value may be a secret.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    def in_force(self) -> dict[str, Any]:
        """Give the values that unset fields come to, by field name; for `show`."""
        return {}

    def shown(self) -> dict[str, Any]:
        """Give every field's value in order, unset ones resolved, passwords in URLs masked."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        values |= {name: value for name, value in self.in_force().items() if values[name] is None}
        for name, field in type(self).model_fields.items():
            if isinstance(values[name], str) and any(isinstance(mark, MayHoldPassword) for mark in field.metadata):
                values[name] = masked_url(values[name])
        return values

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield from self.shown().items()
