"""Which names a schema of PostgreSQL may have here."""

import re

_NAME = re.compile(r"[^\W\d][\w .-]*(?<! )")
_LONGEST = 63  # bytes: PostgreSQL cuts off the rest (https://www.postgresql.org/docs/current/limits.html)


def check_schema(name: str) -> str:
    """Accept a name that PostgreSQL keeps as it is, upper case too; raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError("must begin with a letter or _, and have letters, digits, spaces and _ - . only; no quotes")
    if len(name.encode()) > _LONGEST:
        raise ValueError(f"must have at most {_LONGEST} bytes")
    if name.startswith("pg_") or name == "information_schema":
        raise ValueError("must not be one of PostgreSQL's own schemas")
    return name
