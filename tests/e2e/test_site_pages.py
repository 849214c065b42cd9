"""The Python in the pages of the documentation site runs as it stands there, and what it records is whole."""

from __future__ import annotations

import pytest
from test_guide import run

import films
import sitepages
from offcam_runs.format import INDEX_NAME

SCRIPTS = {
    str(page.relative_to(sitepages.PAGES)): text
    for page in sorted(sitepages.PAGES.rglob("*.md"))
    if (text := sitepages.script(page)) and not sitepages.packages(text)
}


@pytest.mark.parametrize("page", SCRIPTS)
def test_the_python_of_a_page(page, tmp_path, daemon):
    run(SCRIPTS[page], daemon, tmp_path)
    folders = [index.parent for index in tmp_path.rglob(INDEX_NAME)]
    assert folders
    for folder in folders:
        films.check(folder)


def test_most_pages_that_tell_how_have_some():
    assert len(SCRIPTS) >= 10
