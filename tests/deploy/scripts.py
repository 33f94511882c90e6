"""Our SQL scripts for a driver, which knows none of psql's own commands."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "deploy" / "sql"


def script(name: str, schema: str | None = None) -> str:
    """The script as psql reads it, with `--set schema=...` or without."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    chosen = "" if schema is None else rf'SET LOCAL search_path TO "{schema}";'
    text, count = re.subn(r'\\if :\{\?schema\}\nSET LOCAL search_path TO :"schema";\n\\endif', chosen, text)
    assert count == 1
    return text
