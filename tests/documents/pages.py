"""The pages, and what stands in them: snippets, rows of tables, headings."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_DOCS = sorted(file.relative_to(ROOT).as_posix() for file in (ROOT / "docs").rglob("*.md"))
PAGES = ("README.md", *_DOCS, "deploy/RUNBOOK.md")


def read(name: str) -> str:
    """A page by its path from the checkout, such as `docs/reference/states.md`."""
    return (ROOT / name).read_text(encoding="utf-8")


def snippet(mark: str, page: str) -> str:
    """The code block below `<!-- mark -->`."""
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", page, re.DOTALL)
    assert found, f"there is no snippet {mark}"
    return found[1]


def section(page: str, heading: str) -> str:
    """What stands below `## heading`, up to the next one."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"there is no heading {heading}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the first table, without its head."""
    table = re.search(r"^\|.*\|\n\|[-|]+\|\n((?:\|.*\|\n?)*)", text, re.MULTILINE)
    assert table, "there is no table"
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[1].splitlines()]


def names(cell: str) -> list[str]:
    """What stands in `backticks`."""
    return re.findall(r"`([^`]+)`", cell)


def anchors(page: str) -> set[str]:
    """What a link to a heading of the page may say, as GitHub makes it of the heading."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
