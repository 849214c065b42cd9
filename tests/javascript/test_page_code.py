"""The page's code: its pure parts run in node, types and style are checked, and the API answers what it expects."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from offcamd.web.app import STATIC_FOLDER
from offcamd.web.openapi import description

HERE = Path(__file__).parent

ANSWERS = {
    "RunList": "/api/runs",
    "Curve": "/api/runs/{id}/curve",
    "Group": "/api/group",
    "Stages": "/api/runs/{id}/stages",
    "Statistics": "/api/statistics",
    "Nearest": "/api/runs/{id}/nearest",
    "ClipPage": "/api/runs/{id}/clips",
    "ClipDetail": "/api/runs/{id}/clips/{key}",
    "Neighbours": "/api/runs/{id}/clips/{key}/neighbours",
    "Rendering": "/api/runs/{id}/episodes/render",
    "Steps": "/api/runs/{id}/episodes/steps",
    "Stats": "/api/stats",
}
"""What the page calls an answer (the typedefs of api.js), and where it asks for it."""

NAMED = re.compile(r"""(?:\bfrom |^import )"\./([^"]+)"|(?:src|href)="/static/([^"]+)\"""", re.MULTILINE)
"""What a module imports, and what the page loads."""

TYPES = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}


def passes(*command: str | Path) -> None:
    """Require that a command ends well; what it said is the failure's text."""
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def node():
    found = shutil.which("node")
    if found is None:
        pytest.skip("there is no node here")
    # who has this also takes a file with an `import` for a module, without a package.json beside it
    asked = subprocess.run([found, "-p", "process.features.require_module"], capture_output=True, text=True, check=True)
    if asked.stdout.strip() != "true":
        pytest.skip("node is too old: 20.19, 22.12 or later")
    return found


@pytest.fixture(scope="module")
def tools(node):
    """Where the tools of package.json are."""
    found = HERE / "node_modules" / ".bin"
    if not found.is_dir():
        pytest.skip("its packages are not installed: npm --prefix tests/javascript install")
    return found


def test_what_the_page_names_is_there():
    """One module that is missing leaves an empty page, which a browser's tests learn of by waiting."""
    sources = [*STATIC_FOLDER.glob("*.js"), STATIC_FOLDER / "index.html"]
    named = {one or other for source in sources for one, other in NAMED.findall(source.read_text("utf-8"))}
    assert len(named) > 30
    assert [name for name in sorted(named) if not (STATIC_FOLDER / name).is_file()] == []


def test_the_pure_parts(node):
    tests = sorted(HERE.glob("*.test.js"))
    assert tests
    passes(node, "--test", *tests)


def test_its_types(tools):
    passes(tools / "tsc", "-p", HERE)


def test_its_style(tools):
    passes(tools / "biome", "lint", "--error-on-warnings", STATIC_FOLDER, HERE)


def typescript(schema: dict) -> str:
    """A schema of the API's description as a type."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(map(typescript, schema["anyOf"]))
    if schema["type"] == "object":
        return typescript_of_object(schema)
    if schema["type"] == "array":
        return f"({typescript(schema['items'])})[]"
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    return " | ".join(TYPES[kind] for kind in kinds)


def typescript_of_object(schema: dict) -> str:
    if "properties" in schema:
        fields = (f"{json.dumps(name)}: {typescript(field)}" for name, field in schema["properties"].items())
        return f"{{{', '.join(fields)}}}"
    more = schema.get("additionalProperties")
    return f"Record<string, {typescript(more) if more else 'unknown'}>"


def test_the_api_answers_what_the_page_expects(tools, tmp_path):
    document = description()
    lines = [f'import type * as page from "{STATIC_FOLDER / "api.js"}";']
    lines += ["type Expected<Answer extends Use, Use> = Answer;"]
    lines += [
        f"export type {name} = {typescript(schema)};" for name, schema in document["components"]["schemas"].items()
    ]
    for name, path in ANSWERS.items():
        answer = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        lines.append(f"export type Answered{name} = Expected<{typescript(answer)}, page.{name}>;")
    (tmp_path / "answers.ts").write_text("\n".join(lines))
    config = {"extends": str(HERE / "tsconfig.json"), "include": [], "files": ["answers.ts"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    passes(tools / "tsc", "-p", tmp_path)
