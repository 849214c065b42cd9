"""Frame n of a video shows the n-th row behind that of its first frame: whatever is left out, dropped or reset.

Each frame says which one it is: it is read where the recorder takes it.
"""

from __future__ import annotations

import os
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import offcam
from envs import Barcode, decode, encode
from offcam.recorder.clip_writer import ClipWriter
from offcam_runs.steps.layout import RESET
from offcamd.video.pixels import view
from stepreader import clips, steps

SIDE = 32


@pytest.fixture(autouse=True)
def nobody(runtime, monkeypatch):
    """No daemon will come: all that is recorded is in the journals."""
    monkeypatch.setenv("OFFCAM_ADDR", f"ipc://{runtime}/nobody")
    monkeypatch.setattr(offcam.connection.timeouts, "START_SECONDS", 0.1)


@pytest.fixture
def shown(monkeypatch) -> list[tuple[str, int, list[int]]]:
    """The frames that videos take: the video's name, the frame's number in it, and what each of its tiles says."""
    found: list[tuple[str, int, list[int]]] = []
    add = ClipWriter.add

    def look(self: ClipWriter, pictures: Any, grid: Any, number: int) -> None:
        tiles = [np.asarray(view(each.dense.tobytes(), each.layout)) for each in pictures]
        found.append((self._name, number, [decode(tile, SIDE, SIDE) for tile in tiles]))
        add(self, pictures, grid, number)

    monkeypatch.setattr(ClipWriter, "add", look)
    return found


class Counted(Barcode):
    """Its pictures show how many resets and steps it has had: a single env's row of the last one."""

    observation_space = spaces.Box(0, 255, (SIDE, SIDE), np.uint8)
    count = -1

    def reset(self, **options):
        self.count += 1
        return super().reset(**options)

    def step(self, action):
        self.count += 1
        return super().step(action)

    def _observe(self):
        return encode(self.count, SIDE, SIDE)

    def render(self):
        return encode(self.count, SIDE, SIDE)


class Listed(Counted):
    """A list-mode env whose third picture was taken by somebody else."""

    def render(self):
        return [] if self.count % 7 == 3 else [super().render()]


SCRIPTS: dict[str, dict[str, Any]] = {
    "whole episodes": {"episode_trigger": lambda episode: episode % 2 == 0},
    "every third frame": {"episode_trigger": lambda episode: episode % 2 == 0, "every_nth_frame": 3},
    "of several episodes": {"video_length": 9, "episode_trigger": lambda episode: episode in (0, 3)},
    "of several, each second frame": {"video_length": 9, "step_trigger": lambda step: step == 3, "every_nth_frame": 2},
    "at steps": {"step_trigger": lambda step: step % 6 == 4},
    "what the agent sees": {"episode_trigger": lambda episode: episode < 3, "source": "obs"},
}


def check(folder, shown, *, envs=0, of=lambda name: 0):
    """Each frame is of its row, by the accounts of the videos alone."""
    rows = {row["row"]: row for row in steps(folder)}
    first_rows = {each.name: each.first_row for each in clips(folder)}
    assert shown
    assert first_rows
    assert None not in first_rows.values()
    for name, number, tiles in shown:
        row = rows[first_rows[name] + number]
        if not envs:
            assert tiles == [row["row"]], (name, number)
            continue
        for place, tile in enumerate(tiles):
            env = of(name) + place
            begun = tile == 0 and row["flags"][env] & 7  # the row that ended an episode, under SAME_STEP
            assert tile == row["step"][env] or begun, (name, number, env)
    return rows, first_rows


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("resets", [1, 3])
def test_of_a_single_env(folder, shown, script, resets):
    env = offcam.RecordVideo(Counted(5), str(folder), steps=True, **SCRIPTS[script])
    for _ in range(6):
        for _ in range(resets):
            env.reset()
        for _ in range(5):
            env.step(0)
    env.close()
    rows, first_rows = check(folder, shown)
    assert len(rows) == 6 * (5 + resets)
    for name, row in first_rows.items():
        assert bool(rows[row]["flags"] & RESET) == ("episode" in name)


def test_of_gymnasiums_autoreset(folder, shown):
    env = offcam.RecordVideo(
        gym.wrappers.Autoreset(Counted(4)), str(folder), steps=True, episode_trigger=lambda _: True, video_length=12
    )
    env.reset()
    for _ in range(30):
        env.step(0)
    env.close()
    check(folder, shown)


def test_of_one_whose_picture_cannot_be_had(folder, shown):
    env = offcam.RecordVideo(Listed(20, render_mode="rgb_array_list"), str(folder), steps=True)
    env.reset()
    for _ in range(20):
        env.step(0)
    env.close()
    assert len(shown) == 18
    check(folder, shown)


def test_of_parts_of_other_sizes(folder):
    env = offcam.RecordVideo(Barcode(9, sizes={4: (40, 40), 7: (20, 20)}), str(folder), steps=True)
    env.reset()
    for _ in range(3):
        env.step(0)
    env.reset()
    for _ in range(9):
        env.step(0)
    env.close()
    assert [(each.episode, each.part, each.first_row) for each in clips(folder)] == [
        (0, 1, 0),
        (1, 1, 4),
        (1, 2, 8),
        (1, 3, 11),
    ]


def test_a_forked_childs_part_has_rows_of_the_childs_stream(folder):

    env = offcam.RecordVideo(Counted(9), str(folder), steps=True)
    env.reset()
    for _ in range(3):
        env.step(0)
    if not (pid := os.fork()):
        for _ in range(4):
            env.step(0)
        env.stop_recording()
        os._exit(0)
    os.waitpid(pid, 0)
    env.step(0)
    env.stop_recording()
    assert sorted((each.offered, each.first_row) for each in clips(folder)) == [(4, 0), (5, 0)]


def test_where_no_steps_are_recorded_nothing_is_said_of_rows(folder):
    env = offcam.RecordVideo(Counted(3), str(folder))
    env.reset()
    for _ in range(3):
        env.step(0)
    env.close()
    assert [each.first_row for each in clips(folder)] == [None]


def vector(folder, mode, **options):
    envs = SyncVectorEnv([lambda length=length: Small(length) for length in (3, 4, 5)], autoreset_mode=mode)
    return offcam.vector.RecordVideo(envs, str(folder), steps=True, **options)


class Small(Barcode):
    """Its pictures show the step of the episode."""

    def render(self):
        return encode(self.number, SIDE, SIDE)


VECTOR_SCRIPTS: dict[str, dict[str, Any]] = {
    "whole episodes": {"episode_trigger": lambda _: True},
    "of each": {"episode_trigger": lambda _: True, "per_env": True},
    "one of them": {"episode_trigger": lambda _: True, "record_envs": [2]},
    "of several episodes": {"video_length": 11, "step_trigger": lambda step: step in (2, 15)},
    "every third frame": {"episode_trigger": lambda _: True, "every_nth_frame": 3},
}


def first_shown(script, name):
    if script == "of each":
        return int(name.partition("-env-")[2].partition("-")[0])
    return 2 if script == "one of them" else 0


@pytest.mark.parametrize("script", VECTOR_SCRIPTS)
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_of_a_vector_env(folder, shown, mode, script):
    env = vector(folder, mode, **VECTOR_SCRIPTS[script])
    env.reset()
    for _ in range(30):
        env.step(np.zeros(3, int))
    env.close()
    check(folder, shown, envs=3, of=lambda name: first_shown(script, name))


@pytest.mark.parametrize("script", VECTOR_SCRIPTS)
def test_of_a_vector_env_of_which_some_are_reset(folder, shown, script):
    env = vector(folder, AutoresetMode.DISABLED, **VECTOR_SCRIPTS[script])
    _, over = env.reset(), np.zeros(3, bool)
    for _ in range(30):
        if over.any():
            env.reset(options={"reset_mask": over})
        _, _, terminated, truncated, _ = env.step(np.zeros(3, int))
        over = terminated | truncated
    env.close()
    check(folder, shown, envs=3, of=lambda name: first_shown(script, name))
