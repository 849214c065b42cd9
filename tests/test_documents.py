"""README, CONTRIBUTING and what a forge reads: they name what is there, and say nothing twice in two ways."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

from offcamd.cli import app

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob(".github/*.md"), *ROOT.glob("deploy/*.md")]
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8")
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#]+)")
TEST = re.compile(r"`(?:python )?(tests/[\w/.]+)")
PLACES = re.findall(r"\| `((?:client|proto|server)/[\w/]+)` \| `([\w.]+)` \|", CONTRIBUTING)


@pytest.mark.parametrize("document", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_each_link_and_each_test_that_is_named_is_there(document):
    text = document.read_text("utf-8")
    named = [document.parent / target for target in LINK.findall(text)]
    named += [ROOT / path.rstrip(".") for path in TEST.findall(text)]
    assert [str(path) for path in named if not path.exists()] == []


def test_readme_has_each_guarantee_in_a_line():
    table = re.findall(r"^\| ([^|]+) \| ", (ROOT / "deploy" / "GUARANTEES.md").read_text("utf-8"), re.MULTILINE)
    section = (ROOT / "README.md").read_text("utf-8").partition("## What is guaranteed\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^- \*\*(.+?)\*\*", section, re.MULTILINE)
    assert len(table) > 15
    assert sorted(lines) == sorted(table)


def defined(room: Path) -> set[str]:
    """The functions and classes of a room's files, and the methods as ``Class.method`` and by their bare name."""
    return set().union(*map(defined_in, room.rglob("*.py")))


def defined_in(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = [method.name for method in node.body if isinstance(method, ast.FunctionDef)]
            found.update(methods, (f"{node.name}.{method}" for method in methods))
    return found


@pytest.mark.parametrize(("room", "symbol"), PLACES, ids=[symbol for _, symbol in PLACES])
def test_what_contributing_says_is_somewhere_is_there(room, symbol):
    assert symbol in defined(ROOT / room)


@pytest.mark.parametrize("way", ["The way of a frame", "The way of an episode's record"])
def test_each_way_leads_through_few_files(way):
    section = CONTRIBUTING.partition(f"### {way}\n")[2].partition("\n#")[0]
    steps = re.findall(r"^\| `([\w/]+)` \| `([\w.]+)` \|", section, re.MULTILINE)
    files = {file for room, symbol in steps for file in (ROOT / room).rglob("*.py") if symbol in defined_in(file)}
    assert len(steps) >= 8
    assert len(files) <= 8, files


def test_contributing_has_the_whole_house():
    table = CONTRIBUTING.partition("## The house on one page")[2].partition("\n###")[0]
    rooms = re.findall(r"^\| ((?:`[\w/]+`(?:, )?)+) \|", table, re.MULTILINE)
    named = {name.rpartition("/")[2] for row in rooms for name in re.findall(r"`([\w/]+)`", row)}
    there = [path for side in ("client", "server", "proto") for path in (ROOT / side).glob("off*")]
    there += [
        path
        for side in ("client/offcam", "server/offcamd")
        for path in (ROOT / side).iterdir()
        if (path / "__init__.py").is_file()
    ]
    assert named - {"docs", "examples"} == {path.name for path in there} - {"offcamd", "__pycache__"}


def test_contributing_asks_ten_questions():
    assert CONTRIBUTING.partition("## Where to find things")[2].count("? | `") == 10


def test_the_citation_says_what_the_distribution_says():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == project["license"]
    assert citation["authors"] == project["authors"]
    assert citation["keywords"] == project["keywords"]
    assert citation["repository-code"] == project["urls"]["Source"]


def test_workflows_and_hooks_run_what_is_there():
    files = [*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml"]
    assert len(files) > 5
    for file in files:
        assert yaml.safe_load(file.read_text("utf-8")), file
    text = "".join(file.read_text("utf-8") for file in [*files, ROOT / ".justfile", ROOT / ".ci" / "run"])
    named = re.findall(r"(?<![\w.])\.?/?((?:\.ci|\.github|tests)/[\w./-]+\w)", text)
    assert {".ci/lint", ".ci/run", ".github/workflows/build.yml", "tests/smoke/matrix.py"} <= set(named)
    assert [path for path in named if not (ROOT / path).exists() and "node_modules" not in path] == []


def test_each_recipe_of_the_justfile_is_explained():
    recipes = re.findall(r"^([a-z0-9]+)[^\n:=]*:$", (ROOT / ".justfile").read_text("utf-8"), re.MULTILINE)
    assert len(recipes) == 10
    assert [name for name in recipes if f"`just {name}" not in CONTRIBUTING] == []


def test_documents_name_only_verbs_that_exist():
    verbs = {command.name or command.callback.__name__ for command in app.registered_commands} | {"keys"}
    for document in DOCUMENTS:
        used = re.findall(r"(?:^|`)offcam ([a-z]+)", document.read_text("utf-8"), re.MULTILINE)
        assert set(used) <= verbs | {"is"}, document
