"""The Python of those pages of the documentation that need packages which people train with, as it stands there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import films
from offcam.sync import sinks
from offcam_runs.format import INDEX_NAME
from sitepages import PAGES, packages, script
from waiting import HANG_SECONDS

sys.path.insert(0, str(Path(__file__).parents[2] / "client" / "docs"))
import reference

del sys.path[0]

pytestmark = pytest.mark.integrations

SCRIPTS = {str(page.relative_to(PAGES)): text for page in sorted(PAGES.rglob("*.md")) if packages(text := script(page))}


@pytest.mark.parametrize("page", SCRIPTS)
def test_the_python_of_a_page(page, tmp_path, daemon):
    for package in packages(SCRIPTS[page]):
        pytest.importorskip(package)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPTS[page]],
        env={**daemon.environment, "OFFCAM": "require"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    folders = [index.parent for index in tmp_path.rglob(INDEX_NAME)]
    assert folders
    for folder in folders:
        films.check(folder)
    if "wandb" in packages(SCRIPTS[page]):
        (recorded,) = {folder: films.videos(folder) for folder in folders}.values()
        assert len(list(tmp_path.glob("wandb/offline-run-*/files/media/videos/**/*.mp4"))) == len(recorded) == 2


@pytest.mark.parametrize("tracker", [name for name, package in sinks.PACKAGES.items() if package])
def test_the_reference_has_the_options_that_a_tracker_takes(tracker):
    pytest.importorskip(sinks.PACKAGES[tracker])
    row = next((line for line in reference.trackers().splitlines() if line.startswith(f"| `{tracker}` |")), None)
    assert (row is None) == (tracker == "objects"), "that is given by a URL"
    for option, what in sinks.sink_class(tracker).options.items() if row else ():
        assert f"`{option}`: {what}" in row
