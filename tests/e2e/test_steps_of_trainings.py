"""Steps of real trainings: what the script saw is what is read back, and what a video shows has its steps beside it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import films
import offcam
from envs import Barcode, Look
from offcam_proto.errors import ConfigError

pytestmark = pytest.mark.usefixtures("daemon")


def play(env: gym.Env, episodes: int, seed: int = 0) -> list[dict[str, list]]:
    """Play episodes with random actions and a value for each step. Returns what was given and what came of it."""
    env.action_space.seed(seed)
    seen = []
    for episode in range(episodes):
        env.reset(seed=seed + episode)
        own = {"action": [], "reward": [], "value": []}
        seen.append(own)
        over = False
        while not over:
            action, value = env.action_space.sample(), float(len(own["value"]) - episode)
            offcam.trace(env, value=value)
            _, reward, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
            for name, number in (("action", action), ("reward", reward), ("value", value)):
                own[name].append(number)
    return seen


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"])
def test_what_was_seen_is_read_back(env_id, folder):
    env = offcam.record(gym.make(env_id, render_mode="rgb_array"), folder, steps=True, every=10**9)
    seen = play(env, 12)
    assert env.flush()
    during = [offcam.load(folder).steps(number) for number in range(12)]
    env.close()
    run = offcam.load(folder)
    for number, own in enumerate(seen):
        for steps in (during[number], run.steps(number)):
            assert steps.complete
            assert not steps.gaps
            assert steps["step"].tolist() == list(range(len(own["reward"]) + 1))
            for name, values in own.items():
                np.testing.assert_array_equal(steps[name][1:], np.array(values), err_msg=name)
            assert steps["flags"].tolist() == [4, *[0] * (len(own["reward"]) - 1), steps["flags"][-1]]
            assert steps["reward"][1:].sum() == pytest.approx(run.episodes.return_[number])
    assert run.step_totals.rows == sum(len(own["reward"]) + 1 for own in seen)
    with pytest.raises(ConfigError, match="no steps of episode 12"):
        run.steps(12)


@pytest.mark.parametrize(
    "less", [{}, {"every_nth_frame": 3}, {"video_length": 15}], ids=["all", "each third", "by length"]
)
def test_what_a_video_shows_has_its_steps_beside_it(less, folder):
    env = offcam.record(Barcode(7), folder, steps=True, every=2, overflow="block", **less)
    for _ in range(6):
        over = False
        env.reset()
        while not over:
            over = env.step(0)[2]
    env.close()
    run = offcam.load(folder)
    assert run.clips
    for clip in run.clips:
        steps = clip.steps()
        for shot, number in zip(films.shots(folder / clip.file), films.numbers(folder / clip.file), strict=True):
            row = round(float(shot.time) * clip.fps)
            assert steps["step"][row] == number, "a frame of the barcode shows the number of its step"
        assert steps["episode"][0] == clip.episode


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP], ids=lambda mode: mode.name)
def test_of_a_vector_env_each_sub_environment_has_its_own(mode, folder):
    lengths = (3, 5, 4)
    makers = [lambda length=length: Barcode(length, Look(40, 40)) for length in lengths]
    envs = offcam.record(SyncVectorEnv(makers, autoreset_mode=mode), folder, steps=True, every=10**9)
    envs.reset()
    for step in range(40):
        offcam.trace(envs, value=np.arange(3) + step)
        envs.step(np.array([0, 1, step % 2]))
    envs.close()
    run = offcam.load(folder)
    for env_index, length in enumerate(lengths):
        for number in range(4):
            steps = run.steps(number, env_index=env_index)
            assert steps.complete, (env_index, number, steps)
            played = steps["step"] > 0
            assert steps["step"][played].tolist() == list(range(1, length + 1))
            assert steps["reward"][played].tolist() == [1.0] * length
            if env_index < 2:
                assert set(steps["action"][played].tolist()) == {env_index}
            assert np.diff(steps["value"][played]).tolist() == [1.0] * (length - 1)


def test_steps_become_a_file(folder, offcam_command, tmp_path):
    env = offcam.record(gym.make("Pendulum-v1", render_mode="rgb_array"), folder, steps=True, every=10**9)
    seen = play(env, 2)
    env.close()
    path = tmp_path / "steps.csv"
    assert offcam_command("export", str(folder), "--what", "steps", "--to", "csv", "-o", str(path)).returncode == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == [str(step) for _ in seen for step in range(201)]
    played = [row for row in rows if row["step"] != "0"]
    assert [float(row["reward"]) for row in played] == [float(value) for own in seen for value in own["reward"]]
    assert [float(row["action.0"]) for row in played] == [float(value[0]) for own in seen for value in own["action"]]
    assert {row["truncated"] for row in played} == {"true", "false"}


def test_frames_that_are_left_out_keep_their_rows(folder):
    class Gaps(Barcode):
        def render(self):
            return [] if self.number in (3, 4) else [super().render()]

    env = offcam.record(Gaps(8), str(folder), every=1, steps=True)
    with pytest.warns(UserWarning, match="cannot be captured"):
        play(env, 1)
    env.close()
    (clip,) = offcam.load(folder).clips
    steps = clip.steps()
    assert steps is not None
    places = [round(shot.time * clip.fps) for shot in films.shots(folder / clip.file)]
    assert steps["step"][places].tolist() == films.numbers(folder / clip.file) == [0, 1, 2, 5, 6, 7, 8]


def test_steps_are_read_while_the_training_goes_on(folder):
    env = offcam.record(Barcode(5), str(folder), every=10**9, steps=True)
    play(env, 1)
    env.reset()
    env.step(1)
    assert env.flush()
    run = offcam.load(folder)
    assert run.steps(0).complete
    going_on = run.steps(1)
    assert going_on["step"].tolist() == [0, 1]
    assert going_on.gaps == ()
    assert not going_on.complete
    env.close()


def test_steps_are_numbered_on_where_a_run_is_resumed(folder):
    for resume in (False, True):
        env = offcam.record(Barcode(5 + resume), str(folder), every=10**9, steps=True, resume=resume)
        play(env, 2)
        env.close()
    run = offcam.load(folder)
    assert [run.steps(episode).rows for episode in range(4)] == [6, 6, 7, 7]
    assert all(run.steps(episode).complete for episode in range(4))
    assert run.step_totals.rows == 26


AGENT = """
import sys, offcam
from envs import Barcode, play
env = offcam.record(Barcode(5), sys.argv[1], every=10**9, steps=True)
play(env, 2)
env.close()
"""


def test_steps_that_no_daemon_has_taken_in_are_read_where_they_wait(folder, runtime, offcam_command):
    environment = {
        **os.environ,
        "OFFCAM_ADDR": f"ipc://{runtime}/nobody",
        "PYTHONPATH": os.fspath(Path(__file__).parents[1]),
    }
    subprocess.run([sys.executable, "-c", AGENT, str(folder)], check=True, env=environment, capture_output=True)
    waiting = offcam.load(folder)
    before = [waiting.steps(episode) for episode in range(2)]
    assert [steps.complete for steps in before] == [True, True]
    assert offcam_command("recover", str(folder)).returncode in (0, 3)
    taken_in = offcam.load(folder)
    for episode, steps in enumerate(before):
        assert taken_in.steps(episode).complete
        for name, column in steps.items():
            np.testing.assert_array_equal(column, taken_in.steps(episode)[name])
