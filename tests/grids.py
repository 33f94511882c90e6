"""Large parametrisations: a sample is part of every run, the rest of `-m long`, for when their subject changes."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pytest


def first_of_each(classes: Mapping[str, Sequence[Any]]) -> list[Any]:
    """Every value of every class; the first of each class runs always."""
    return [
        pytest.param(value, id=f"{name}: {value}", marks=pytest.mark.long if place else ())
        for name, values in classes.items()
        for place, value in enumerate(values)
    ]


def diagonal(*axes: Mapping[str, Any] | Sequence[Any]) -> list[Any]:
    """Every combination of the axes' values; so many run always that each value is in one of them."""
    named = [
        list(axis.items()) if isinstance(axis, Mapping) else [(str(value), value) for value in axis] for axis in axes
    ]
    always = {tuple(index % len(axis) for axis in named) for index in range(max(map(len, named)))}
    return [
        pytest.param(
            *(axis[place][1] for axis, place in zip(named, places, strict=True)),
            id=", ".join(axis[place][0] for axis, place in zip(named, places, strict=True)),
            marks=() if places in always else pytest.mark.long,
        )
        for places in product(*(range(len(axis)) for axis in named))
    ]
