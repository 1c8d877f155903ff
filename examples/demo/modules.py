"""The work of the demo: find the standard library's files, and count what is in one of them.

Nothing here knows of queues: a handler should be able to say what it does in a plain function.
"""

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
NOT_OURS = {"site-packages", "dist-packages", "__pycache__"}


class ModuleFile(TypedDict):
    """The data of a job."""

    path: str


class Measure(TypedDict):
    """The result of a job."""

    lines: int
    definitions: int


def find_modules() -> list[str]:
    """Every ``.py`` file of the standard library, as a path relative to its folder."""
    files = (path.relative_to(STANDARD_LIBRARY) for path in STANDARD_LIBRARY.rglob("*.py"))
    return sorted(path.as_posix() for path in files if NOT_OURS.isdisjoint(path.parts))


def measure(source: bytes) -> Measure:
    """Lines and definitions in a Python source. Raises SyntaxError (or ValueError) if it is none."""
    statements = _statements(ast.parse(source))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {
        "lines": source.count(b"\n"),
        "definitions": sum(isinstance(statement, kinds) for statement in statements),
    }


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All statements. Expressions are left out: they hold no definitions, and are most of a tree."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, block, ())
            if isinstance(inner, list):
                waiting += inner
        yield node
