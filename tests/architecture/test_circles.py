"""No file imports, over whatever detour, a file that imports it: for types and within functions counts, too."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOTS = ("client", "proto", "server")


def modules(tree: Path) -> dict[str, Path]:
    """Every module of ours by its dotted name, a package by its own."""
    found = {}
    for root in ROOTS:
        for file in (tree / root).rglob("*.py"):
            names = file.relative_to(tree / root).with_suffix("").parts
            found[".".join(names[:-1] if names[-1] == "__init__" else names)] = file
    return found


def imports(tree: Path) -> dict[str, set[str]]:
    """Which of our modules each of them imports, wherever in it the statement stands."""
    files = modules(tree)
    graph: dict[str, set[str]] = {}
    for name, file in files.items():
        graph[name] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                within = [f"{node.module}.{alias.name}" for alias in node.names]
                named = [each if each in files else str(node.module) for each in within]
            else:
                continue
            graph[name] |= {each for each in named if each in files and each != name}
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of a graph, its first node also last; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_there_is_none():
    graph = imports(ROOT)
    assert len(graph) > 100
    assert circle(graph) == []


@pytest.mark.parametrize(
    "line",
    [
        "from offcamd.video.mp4 import VideoWriter",
        "import offcamd.video.mp4",
        "def late():\n    from offcamd.video import mp4",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from offcamd.video.mp4 import VideoWriter",
    ],
)
def test_one_is_found_however_it_is_closed(tmp_path, line):
    for name, text in (("mp4", "from offcamd.video import h264"), ("h264", line)):
        file = tmp_path / "server" / "offcamd" / "video" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert set(circle(imports(tmp_path))) == {"offcamd.video.mp4", "offcamd.video.h264"}
