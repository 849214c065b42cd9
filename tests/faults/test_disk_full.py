"""A full disk: what was written can be played, the daemon goes on, and so do all statistics.

A disk is full by two means here: a limit of the daemon process for the size of its files (EFBIG), and a small file
system that is really full (ENOSPC), which only root may mount.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import gymnasium as gym
import numpy as np
import pytest

import films
import offcam
from envs import Barcode, play
from offcam_runs.run import read_run
from offcamd.reports.verify import verify
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

LENGTH = 40


class Noise(gym.Env):
    """Frames that cannot be compressed: each costs a video some 300 kB."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 - as gymnasium's
    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)
    render_mode = "rgb_array"

    def __init__(self):
        self._rng = np.random.default_rng(0)
        self._steps = 0

    def reset(self, *, seed=None, options=None):
        self._steps = 0
        return 0, {}

    def step(self, action):
        self._steps += 1
        return 0, 1.0, self._steps == LENGTH, False, {}

    def render(self):
        return self._rng.integers(0, 256, (400, 600, 3), np.uint8)


def recorder(folder: Path, **options):
    return offcam.RecordEpisodeStatistics(
        offcam.RecordVideo(Noise(), str(folder), lambda _: True, overflow="block", **options)
    )


def finish(env, episodes: int = 1) -> None:
    """Play, and wait until all is final; an env can be used again after that."""
    play(env, episodes)
    env.close()


def require_cut_off_video(folder: Path, name: str) -> None:
    """A video that the disk had no room for: it plays to its last frame, and every other one is counted."""
    clip = films.clips(folder)[name]
    assert clip.state == "aborted"
    assert clip.error is not None
    assert "no space left" in clip.error
    assert set(clip.dropped) == {"disk_full"}
    assert 0 < clip.frames == sum(1 for _ in films.shots(folder / name))
    assert clip.frames + clip.dropped["disk_full"] == clip.offered == LENGTH + 1


# --- by a limit of the process ------------------------------------------------------------------------------


def test_a_limit_for_files(daemons, tmp_path, offcam_command):
    full, other = tmp_path / "full", tmp_path / "other"
    limit = 2 << 20
    process = daemons.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    env = recorder(full)
    with pytest.warns(UserWarning, match="no space left") as warned:
        finish(env, 2)
    assert sum("is not whole" in str(each.message) for each in warned) >= 1  # the client was told, by ClipDone
    for episode in range(2):
        name = f"rl-video-episode-{episode}.mp4"
        require_cut_off_video(full, name)
        assert (full / name).stat().st_size <= limit
    assert [episode.episode for episode in films.episodes(full)] == [0, 1]
    assert verify(full).ok

    small = offcam.RecordVideo(Noise(), str(other), lambda _: True, video_length=3)  # it fits
    finish(small)
    (clip,) = read_run(other, "all").clips
    assert (clip.state, clip.frames, clip.dropped) == ("final", 3, {})

    stats = daemons.stats()
    assert (stats["pid"], process.poll()) == (process.pid, None)
    assert stats["frames"]["dropped"]["disk_full"] == sum(
        clip.dropped["disk_full"] for clip in read_run(full, "all").clips
    )
    assert stats["episodes"] == 2
    assert any("no space left" in error for error in stats["recent_errors"])
    assert any(event["dropped"].get("disk_full") for event in daemons.events("a video was cut off"))
    assert "disk_full" in offcam_command("status").stdout
    daemons.stop()


class Chance(Barcode):
    """Actions that cannot be compressed: each costs its row some 3 kB."""

    action_space = gym.spaces.Box(-1, 1, (400,), np.float64)


def test_steps_that_have_no_room_are_counted_and_hold_nothing_up(daemons, tmp_path):
    limit = 1_000_000
    daemons.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    env = offcam.record(Chance(LENGTH), str(tmp_path / "run"), every=10**9, steps=True)
    play(env, 20)
    env.close()
    run = read_run(tmp_path / "run", "all")
    assert [episode.episode for episode in run.episodes] == list(range(20))
    assert set(run.step_totals.dropped) == {"disk_full"}
    assert run.step_totals.rows + run.step_totals.dropped["disk_full"] == 20 * (LENGTH + 1)
    assert run.steps(0).complete
    (gap,) = run.steps(19).gaps
    assert (gap.reason, gap.first_row + gap.rows) == ("disk_full", 20 * (LENGTH + 1))
    assert daemons.log.read_text().count("there is no room for steps") == 1
    daemons.stop()


# --- by a file system that is full --------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path, stack: ExitStack) -> Iterator[Path]:
    """A file system of 8 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)],  # noqa: S607 - wherever it is
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"only root may mount a small file system: {done.stderr.strip()}")
    yield place
    stack.close()  # ends the daemon, which keeps it busy
    subprocess.run(["umount", str(place)], check=True)  # noqa: S607 - as above


def fill(disk: Path) -> Path:
    """Write a file until there is no byte left."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))
    assert free(disk) == 0
    return ballast


def free(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def test_videos_stop_before_the_index_has_no_room(daemons, small_disk, tmp_path):
    """The reserve: a twentieth of a small disk is never used by videos, and the statistics go on."""
    daemons.start()
    folder, other = small_disk / "run", tmp_path / "other"
    env, elsewhere = recorder(folder), recorder(other)
    with pytest.warns(UserWarning, match="no space left"):
        finish(env, 4)
    finish(elsewhere)
    run = read_run(folder, "all")
    short = [clip for clip in run.clips if clip.dropped]
    assert short
    for clip in short:
        assert set(clip.dropped) == {"disk_full"}
        assert clip.frames + clip.dropped["disk_full"] == LENGTH + 1
        assert clip.state == "aborted"
        assert clip.error
        assert "disk_reserve" in clip.error
    assert len(run.episodes) == 4
    size = os.statvfs(small_disk).f_blocks * os.statvfs(small_disk).f_frsize
    assert free(small_disk) >= size // 20
    assert [clip.state for clip in read_run(other, "all").clips] == ["final"]

    for path in folder.glob("*.mp4"):  # room again: the next video is as ever
        path.unlink()
    finish(env)
    assert read_run(folder, "all").clips[-1].state == "final"
    assert len(read_run(folder, "all").episodes) == 5
    daemons.stop()


def test_statistics_wait_for_room_where_there_is_none_at_all(daemons, small_disk, monkeypatch):
    """Somebody else has filled the disk to its last byte: nothing is lost once there is room."""
    daemons.start()
    folder = small_disk / "run"
    env = recorder(folder)
    env.env.episode_trigger = lambda _: False
    play(env, 3)
    assert env.env.flush()
    ballast = fill(small_disk)
    for _ in range(200):  # more than the index has allocated
        play(env, 10)
    problem = wait_until(lambda: daemons.stats()["runs"][0]["problem"], "the index is full")
    assert "full" in problem
    assert daemons.stats()["runs"][0]["episodes"] < 2003  # in the index, that is
    assert len(read_run(folder, "all").episodes) == 2003
    monkeypatch.setattr("offcam.connection.timeouts.SILENCE_SECONDS", 1.0)
    with pytest.warns(UserWarning, match="gave up waiting"):
        env.close()  # in bounded time, though the daemon answers
    ballast.unlink()
    wait_until(lambda: daemons.stats()["runs"][0]["episodes"] == 2003, "all statistics are stored")
    assert [episode.episode for episode in films.episodes(folder)] == list(range(2003))
    assert daemons.stats()["runs"][0]["problem"] is None
    assert len(daemons.events("the index cannot be written, trying again")) < 5  # said when it changes, not each second
    daemons.stop()
    assert json.loads(json.dumps(verify(folder).as_dict()))["ok"]


def test_a_log_on_the_full_disk_is_no_reason_to_stop(daemons, small_disk, tmp_path):
    fill(small_disk)
    daemons.start("--log-file", str(small_disk / "log"), "--log-level", "debug")
    env = recorder(tmp_path / "run")
    finish(env)
    assert [clip.state for clip in read_run(tmp_path / "run", "all").clips] == ["final"]
    daemons.stop()
