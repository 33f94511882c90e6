"""docs/internals names what there is: each class and path, and every class that is a term has its word."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.documents.pages import ROOT, names, read

GLOSSARY = read("docs/internals/glossary.md")
PLACES = read("docs/internals/where-to-change.md")
TERMS = [re.split(r" \| ", line.strip("| ")) for line in GLOSSARY.splitlines() if re.match(r"\| [a-z]", line)]


def borne() -> Iterator[tuple[str, str]]:
    """Each name that bears a word, with its file; a file that does so itself, with no name."""
    for word, _, bearers in TERMS:
        if word == "word":
            continue
        place = ""
        for name in names(bearers):
            if name.startswith("worker/"):
                place = name
            yield place, "" if name == place else name


def defined(place: str) -> set[str]:
    """What a file defines, and what its classes do, as `Class.name`."""
    found = set()
    for node in ast.parse(read(place)).body:
        for name in _targets(node):
            found.add(name)
            inner = node.body if isinstance(node, ast.ClassDef) else []
            found |= {f"{name}.{each}" for part in inner for each in _targets(part)}
    return found


def _targets(node: ast.stmt) -> list[str]:
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return [name]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Assign(targets=targets):
            return [each.id for each in targets if isinstance(each, ast.Name)]
    return []


@pytest.mark.parametrize(("place", "name"), list(borne()))
def test_what_bears_a_word_is_there(place: str, name: str) -> None:
    assert (ROOT / place).is_file()
    assert not name or name in defined(place)


def test_every_word_has_one_meaning() -> None:
    words = [word for word, *_ in TERMS if word != "word"]
    assert len(words) == len(set(words)) > 40


def test_every_class_of_the_domain_and_the_engine_has_its_word() -> None:
    in_glossary = set(borne())
    for room in ("domain", "engine"):
        for file in (ROOT / "worker" / room).glob("*.py"):
            place = file.relative_to(ROOT).as_posix()
            classes = [node.name for node in ast.parse(read(place)).body if isinstance(node, ast.ClassDef)]
            missing = [name for name in classes if not name.startswith("_") and (place, name) not in in_glossary]
            assert missing == [], f"{place}: docs/internals/glossary.md has no word for them"


def test_where_to_change_names_files_that_there_are() -> None:
    paths = [name for name in names(PLACES) if re.match(r"(worker|tests|docs|deploy|config)/", name)]
    assert len(paths) > 80
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [name for name in names(PLACES) if name.endswith(".py") and "/" not in name] == []  # they would not be seen


def test_the_reading_order_of_the_readme_names_functions_that_its_files_have() -> None:
    order = read("README.md").partition("**One row, from its INSERT")[2]
    files = re.findall(r"\]\((worker/[^)]+\.py)\)", order)
    assert len(files) > 12
    known = {name for file in files for name in defined(file)} | {"worker.tick"}
    named = set(names(order))
    assert len(named) > 12
    assert named - known == set()
