"""No file and no class is larger than one can keep in mind, but for a reason that is said there."""

from __future__ import annotations

import ast
import os
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ROOMS = ("client", "server", "proto", "tests")
CODE = (".py", ".js", ".css", ".html")
MOST_LINES = 500
MOST_METHODS = 15
REASON = "more of them than a class should have else"


def code(*suffixes: str) -> list[Path]:
    found = []
    for room in ROOMS:
        for folder, inner, names in os.walk(REPOSITORY / room):
            inner[:] = [name for name in inner if name not in {"node_modules", "__pycache__"}]
            found += [Path(folder, name) for name in names if name.endswith(suffixes)]
    return found


def methods(source: str) -> dict[str, int]:
    """How many public methods each class has that says no reason for them."""
    return {
        node.name: sum(
            isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and not each.name.startswith("_")
            for each in node.body
        )
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef) and REASON not in " ".join((ast.get_docstring(node) or "").split())
    }


def test_no_file_is_too_long():
    files = code(*CODE)
    assert len(files) > 300
    lengths = {path.relative_to(REPOSITORY): len(path.read_text().splitlines()) for path in files}
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


def test_no_class_has_too_many_methods():
    many = {
        f"{path.relative_to(REPOSITORY)}: {name}": count
        for path in code(".py")
        for name, count in methods(path.read_text()).items()
        if count > MOST_METHODS
    }
    assert many == {}


def test_methods_are_counted_unless_there_is_a_reason():
    body = "".join(f"    def do_{number}(self): ...\n" for number in range(20)) + "    def _not(self): ...\n"
    assert methods("class A:\n" + body) == {"A": 20}
    assert methods(f'class A:\n    """It has\n    {REASON}."""\n{body}') == {}
