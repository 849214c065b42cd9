"""A daemon that is killed at each single step of finishing a clip, or of recovering one: no video is lost or doubled.

See `mortal.py` for what a step is. What a kill costs while frames are written is `test_daemon_killed.py`'s.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from actors import TESTS, end
from mortal import FILE, FRAMES, STARTED

import films
from offcam_runs.format import INDEX_NAME
from offcam_runs.run import read_run
from offcamd.store.recovery import recover_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PART = f"{FILE}.part"
WHOLE = list(range(FRAMES))
OLDER = b"an older recording"


@pytest.fixture(scope="module")
def mortal() -> Iterator[Callable[[str, int, Path], int]]:
    """Does an action in a process that dies before its n-th step; returns its exit code."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "mortal.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    ) as process:

        def act(action: str, moment: int, folder: Path) -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{action} {moment} {folder}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield act
        end(process)


def make_run(folder: Path, *, older: bool) -> Path:
    folder.mkdir()
    if older:
        (folder / FILE).write_bytes(OLDER)
        os.utime(folder / FILE, (STARTED - 1, STARTED - 1))
    return folder


def require_one_clip(folder: Path, *, older: bool, aborted: bool) -> str:
    """The clip is there once and whole, under one name; an older video is replaced by it or as it was."""
    (clip,) = read_run(folder, "all").clips
    assert clip.frames == FRAMES
    names = {path.name for path in folder.iterdir()}
    if clip.file == FILE:
        assert not (older and aborted), "a clip that was cut off took the place of an older video"
        assert names == {INDEX_NAME, FILE}
    else:
        assert clip.file == PART
        assert older
        assert names == {INDEX_NAME, FILE, PART}
        assert (folder / FILE).read_bytes() == OLDER
        (folder / FILE).unlink()
    assert films.numbers(folder / str(clip.file)) == WHOLE
    films.check(folder)
    return clip.state


def die_at_each_step(mortal, action: str, prepare: Callable[[int], Path], check: Callable[[Path], object]) -> int:
    """Returns how many steps there were to die before."""
    for moment in itertools.count(1):
        folder = prepare(moment)
        code = mortal(action, moment, folder)
        assert code in (0, -signal.SIGKILL)
        check(folder)
        if not code:
            return moment - 1
    raise AssertionError


@pytest.mark.parametrize("action", ["finish", "abort"])
@pytest.mark.parametrize("older", [False, True], ids=["first", "again"])
def test_finishing_a_clip(mortal, tmp_path, action, older):
    states = []

    def check(folder: Path) -> None:
        found = recover_folder(folder)
        assert len(found.clips) <= 1
        assert recover_folder(folder).outcome == "nothing"
        states.append(require_one_clip(folder, older=older, aborted=action == "abort"))

    steps = die_at_each_step(mortal, action, lambda moment: make_run(tmp_path / str(moment), older=older), check)
    assert steps >= (2 if older and action == "abort" else 4)
    assert states == ["recovered"] * steps + ["aborted" if action == "abort" else "final"]


@pytest.mark.parametrize("older", [False, True], ids=["first", "again"])
def test_recovering_a_clip(mortal, tmp_path, older):
    def prepare(moment: int) -> Path:
        folder = make_run(tmp_path / str(moment), older=older)
        assert mortal("finish", 1, folder) == -signal.SIGKILL
        return folder

    def check(folder: Path) -> None:
        recover_folder(folder)
        assert require_one_clip(folder, older=older, aborted=True) == "recovered"

    assert die_at_each_step(mortal, "recover", prepare, check) >= 8


def test_a_copy_that_was_half_made_is_removed(mortal, tmp_path):
    folder = make_run(tmp_path / "run", older=False)
    assert mortal("finish", 1, folder) == -signal.SIGKILL
    (folder / f"{PART}.plain").write_bytes((folder / PART).read_bytes()[:500])
    assert [clip.frames for clip in recover_folder(folder).clips] == [FRAMES]
    require_one_clip(folder, older=False, aborted=False)
