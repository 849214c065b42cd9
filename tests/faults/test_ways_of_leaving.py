"""However a client leaves, with a daemon or without, and whoever dies with it: no finished episode is lost."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from leavers import KILLED, SELF

import films
from offcam_proto.errors import DaemonAlreadyRunning
from offcam_runs.format import PENDING_NAME
from offcamd.store.recovery import recover_folder
from waiting import wait_until

LEAVERS = Path(__file__).with_name("leavers.py")


def leave(place: Path, way: str, clients: int) -> dict[Path, int]:
    """Have clients leave; returns how many episodes each had finished, by its folder."""
    environment = {**os.environ, "PYTHONPATH": os.fspath(LEAVERS.parents[1]), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, LEAVERS, place, way, str(clients)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {Path(folder): finished for folder, finished in json.loads(done.stdout).items()}


def taken_in(folder: Path) -> bool:
    """Whether nothing is pending; where no daemon came to know of the folder, whoever recovers it takes that in."""
    if (folder / PENDING_NAME).exists():
        with contextlib.suppress(DaemonAlreadyRunning):
            recover_folder(folder)
    return not (folder / PENDING_NAME).exists()


def check(folder: Path, finished: int, way: str) -> None:
    """All that its client said it had finished; one that was killed may not have come to say so of the last."""
    stored = [episode.episode for episode in films.episodes(folder)]
    assert stored in (list(range(finished)), list(range(finished + (way in KILLED))))


@pytest.mark.parametrize("clients", [2, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.parametrize("way", [*SELF, *KILLED[:2]])
def test_without_a_daemon(way, clients, endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)  # nobody is there
    finished = leave(tmp_path, way, clients)
    for folder, episodes in finished.items():
        check(folder, episodes, way)  # read where they wait
        recover_folder(folder)
        assert not (folder / PENDING_NAME).exists()
        check(folder, episodes, way)


@pytest.mark.parametrize("clients", [2, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.parametrize("way", [*SELF, *KILLED])
@pytest.mark.timeout(600)
def test_with_a_daemon(way, clients, embedded, tmp_path):
    finished = leave(tmp_path, way, clients)
    for folder, episodes in finished.items():
        check(folder, episodes, way)  # at any moment, wherever they are
    for folder, episodes in finished.items():
        wait_until(lambda folder=folder: taken_in(folder), "all is in the index")
        check(folder, episodes, way)
