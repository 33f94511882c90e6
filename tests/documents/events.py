"""Every event that the worker logs, with its levels, as its code says it."""

import ast
from collections.abc import Iterator
from pathlib import Path

WORKER = Path(__file__).parents[2] / "worker"
_LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def events() -> dict[str, set[str]]:
    """Event -> the levels it is logged at; no method of a logger is touched whose event cannot be found."""
    found: dict[str, set[str]] = {}
    for file in sorted(WORKER.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for function in (node for node in ast.walk(tree) if isinstance(node, Function)):
            for method in (node for node in ast.walk(function) if _is_loggers(node)):
                said_by = [*_said_by(method, function)] or [*_said_by_what_is_given(tree)]
                names = {name for said in said_by for name in _texts(said, function, tree)}
                assert names, f"{file.name}: what {function.name} logs cannot be found"
                for name in names:
                    found.setdefault(name, set()).add(_LEVELS[method.attr])  # type: ignore[attr-defined]
    return found


def _is_loggers(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="log" | "_log") | ast.Attribute(attr="_log"), attr=method):
            return method in _LEVELS
    return False


def _said_by(method: ast.AST, function: Function) -> Iterator[ast.expr]:
    """What names the event: the call's first argument, or that which follows the method, where it is handed on."""
    for node in ast.walk(function):
        match node:
            case ast.Call(func=called, args=[first, *_]) if method in ast.walk(called):
                yield first
            case ast.Call(args=[handed, name, *_]) if handed is method:
                yield name
            case ast.Assign(targets=[ast.Name(id=alias)], value=value) if method in ast.walk(value):
                for call in _calls_of(alias, function):
                    yield call.args[0]


def _said_by_what_is_given(tree: ast.AST) -> Iterator[ast.expr]:
    """Handed on further than this looks: what functions of the file say by a method that they were given."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(args=[ast.Name(), ast.Constant(value=str()) as name, *_]):
                yield name


def _texts(said: ast.expr, function: Function, tree: ast.AST) -> Iterator[str]:
    """The texts that it can be: itself, either side of a choice, what a name was set to, what a parameter is given."""
    match said:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from _texts(one, function, tree)
            yield from _texts(other, function, tree)
        case ast.Name(id=name):
            for node in ast.walk(function):
                if isinstance(node, ast.Assign) and any(ast.unparse(target) == name for target in node.targets):
                    yield from _texts(node.value, function, tree)
            parameters = [each.arg for each in function.args.args]
            for call in _calls_of(function.name, tree) if name in parameters else ():
                yield from _texts(call.args[parameters.index(name)], function, tree)


def _calls_of(name: str, tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node
