"""Gathers the site in build/docs: its configuration, the pages with what they take from the code, other documents."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import reference

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SITE = ROOT / "build" / "docs"
REPOSITORY = "https://github.com/offcam/offcam/blob/main/"

DOCUMENTS = {
    "deploy/RUNBOOK.md": "operations/runbook.md",
    "deploy/GUARANTEES.md": "operations/guarantees.md",
    "deploy/SCALE.md": "operations/scale.md",
    "deploy/THREAT-MODEL.md": "operations/threat-model.md",
    "tests/bench/RESULTS.md": "operations/results.md",
    "proto/FORMAT.md": "formats/run-folder.md",
    "proto/SPEC.md": "formats/wire.md",
    "CHANGELOG.md": "changes.md",
}
"""What is part of the site as it lies in the repository, and the page that it becomes."""

_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def main() -> None:
    """Write all of them, and nothing that was there before."""
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.copytree(HERE / "pages", SITE / "pages")
    shutil.copy(HERE / "mkdocs.yml", SITE)
    shutil.copy(ROOT / "server/offcamd/web/static/favicon.svg", SITE / "pages")
    for page in (SITE / "pages").rglob("*.md"):
        page.write_text(reference.filled(page.read_text("utf-8")), "utf-8")
    for source, place in DOCUMENTS.items():
        (SITE / "pages" / place).parent.mkdir(exist_ok=True)
        (SITE / "pages" / place).write_text(moved(source, place), "utf-8")


def moved(source: str, place: str) -> str:
    """A document's text with its links right where it becomes a page; to what is no page, they lead to the repository.

    Raises:
        FileNotFoundError: a link leads nowhere.
    """

    def link(found: re.Match[str]) -> str:
        target = os.path.normpath(os.path.join(os.path.dirname(source), found[1]))
        if target in DOCUMENTS:
            return f"]({os.path.relpath(DOCUMENTS[target], os.path.dirname(place) or '.')}{found[2] or ''})"
        if not (ROOT / target).exists():
            raise FileNotFoundError(f"{source} links to {found[1]}, and there is no {target}")
        return f"]({REPOSITORY}{target}{found[2] or ''})"

    text = (ROOT / source).read_text("utf-8")
    return _LINK.sub(link, re.sub(r"^```hex.*$", "```text", text, flags=re.MULTILINE))  # names that tests look for


if __name__ == "__main__":
    main()
