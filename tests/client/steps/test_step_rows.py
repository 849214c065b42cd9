"""What ``steps=True`` records of an env: a row for each reset and each step, and the numbers of the agent."""

from __future__ import annotations

import copy
import itertools
import json
import os
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import offcam
from envs import Barcode, play
from offcam.trace import _said
from offcam_proto.errors import ConfigError
from offcam_runs.format import PENDING_NAME
from offcam_runs.journal_reader import pending
from offcam_runs.steps.layout import RESET, TERMINATED, TRUNCATED
from stepreader import steps

NONE = {"episode_trigger": lambda _: False}


@pytest.fixture(autouse=True)
def nobody(runtime, monkeypatch):
    """No daemon will come: all that is recorded is in the journals."""
    monkeypatch.setenv("OFFCAM_ADDR", f"ipc://{runtime}/nobody")
    monkeypatch.setattr(offcam.connection.timeouts, "START_SECONDS", 0.1)
    warnings.simplefilter("always")
    _said.clear()


def outline(rows, *more):
    return [tuple(row[name].item() for name in ("episode", "step", "flags", *more)) for row in rows]


def test_each_reset_and_each_step_has_a_row(folder):
    env = offcam.RecordVideo(Barcode(3), str(folder), steps=True, **NONE)
    actions = []
    for _ in range(2):
        env.reset()
        for _ in range(3):
            actions.append(env.action_space.sample())
            env.step(actions[-1])
    env.reset()
    rows = steps(folder)
    ends = [(0, 0, RESET), (0, 1, 0), (0, 2, 0), (0, 3, TERMINATED)]
    assert outline(rows) == [*ends, *[(1, step, flags) for _, step, flags in ends], (2, 0, RESET)]
    assert [row["row"] for row in rows] == list(range(9))
    assert [row["action"] for row in rows if row["step"]] == actions
    assert [row["reward"] for row in rows if row["step"]] == [1.0] * 6
    assert all(np.isnan(row["reward"]) and not row["action"] for row in rows if row["flags"] & RESET)


def test_where_no_daemon_comes_they_take_no_more_of_the_disk_than_they_may(folder, monkeypatch):
    monkeypatch.setattr("offcam.recorder.env_stream.MAX_BYTES_IN_FLIGHT", 0)  # less is no reason to lose any
    env = offcam.RecordVideo(Barcode(1000), str(folder), steps=True, steps_limit=300_000, **NONE)
    with warnings.catch_warnings(record=True) as caught:
        play(env, 30)
    assert sum("steps are being lost: 300,000 bytes" in str(each.message) for each in caught) == 1
    taken = sum(path.stat().st_size for path in (folder / PENDING_NAME).glob("*.rec"))
    assert 300_000 < taken < 700_000
    rows = [row["row"] for row in steps(folder)]
    assert rows[0] == 0
    assert rows[-1] == 30 * 1001 - 1, "what is in no record yet is still in the tail"
    assert len(rows) < 25_000


def test_truncation_and_odd_flags(folder):
    class Odd(Barcode):
        def step(self, action):
            obs, _, terminated, truncated, info = super().step(action)
            return obs, np.float32(0.1), np.bool_(terminated), np.array(truncated), info

    env = offcam.RecordVideo(Odd(2, truncates=True), str(folder), steps=True, **NONE)
    play(env)
    assert outline(steps(folder), "reward")[1:] == [
        (0, 1, 0, float(np.float32(0.1))),
        (0, 2, TRUNCATED, float(np.float32(0.1))),
    ]


def test_the_reset_of_gymnasiums_autoreset_is_a_row_of_a_reset(folder):
    env = offcam.RecordVideo(gym.wrappers.Autoreset(Barcode(2)), str(folder), steps=True, **NONE)
    env.reset()
    for _ in range(4):
        env.step(1)
    assert outline(steps(folder), "action") == [
        (0, 0, RESET, 0),
        (0, 1, 0, 1),
        (0, 2, 1, 1),
        (1, 0, RESET, 0),
        (1, 1, 0, 1),
    ]


def test_the_agents_numbers_stand_beside_the_step_that_follows(folder):
    env = offcam.RecordEpisodeStatistics(offcam.RecordVideo(Barcode(9), str(folder), steps=True, **NONE))
    env.reset()
    env.step(0)
    offcam.trace(env, value=np.float32(0.5))
    env.step(0)
    env.step(0)
    offcam.trace(env, value=2, entropy="much")
    env.step(0)
    values = [row.get("value", "none") for row in steps(folder)]
    assert values[:2] == ["none", "none"]
    assert values[2] == 0.5
    assert np.isnan(values[3])
    assert values[4] == 2.0
    assert np.isnan(steps(folder)[-1]["entropy"])


@pytest.mark.parametrize("name", ["reward", "action", "action.left", "digest", "x" * 65])
def test_a_name_that_cannot_be_a_column_is_said_once(folder, name):
    env = offcam.RecordVideo(Barcode(9), str(folder), steps=True, **NONE)
    env.reset()
    with warnings.catch_warnings(record=True) as said:
        for _ in range(3):
            offcam.trace(env, **{name: 1.0})
            env.step(0)
    assert ["is not traced" in str(each.message) for each in said] == [True]
    assert name not in set(steps(folder)[-1]) - {"reward", "action"}
    assert [row["reward"] for row in steps(folder)][1:] == [1.0] * 3


def test_there_are_at_most_64(folder):
    env = offcam.RecordVideo(Barcode(9), str(folder), steps=True, **NONE)
    env.reset()
    with pytest.warns(UserWarning, match="64 already"):
        offcam.trace(env, **{f"n{number}": number for number in range(70)})
    env.step(0)
    assert [name for name in steps(folder)[-1] if name.startswith("n")] == [f"n{number}" for number in range(64)]


def test_where_nothing_records_steps_one_warning_says_so(folder):
    env = offcam.RecordVideo(Barcode(9), str(folder), **NONE)
    with warnings.catch_warnings(record=True) as said:
        offcam.trace(env, value=1.0)
        offcam.trace(Barcode(), value=1.0)
    assert ["steps=True" in str(each.message) for each in said] == [True]
    env.reset()
    env.step(0)
    assert not folder.exists() or steps(folder) == []


class Boxed(Barcode):
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def step(self, action):
        result = super().step(0)
        if isinstance(action, np.ndarray):
            action[:] = 9  # some envs write into what they are given
        return result


def test_an_action_is_the_one_that_the_env_was_given(folder):
    env = offcam.RecordVideo(Boxed(9), str(folder), steps=True, **NONE)
    env.reset()
    env.step(np.array([0.25, -0.5], np.float32))
    env.step(np.array([0.1, 0.2]))
    env.step([1, 0])
    found = [row["action"] for row in steps(folder)[1:]]
    assert [each.tolist() for each in found] == [[0.25, -0.5], [0.1, 0.2], [1, 0]]
    assert [each.dtype for each in found] == ["<f4", "<f8", "<f8"]


@pytest.mark.parametrize("action", [np.zeros(3, np.float32), None, "left"])
def test_one_that_does_not_fit_is_zero_and_said_once(folder, action):
    env = offcam.RecordVideo(Boxed(9), str(folder), steps=True, **NONE)
    env.reset()
    with warnings.catch_warnings(record=True) as said:
        env.step(action)
        env.step(action)
    assert ["an action is missing" in str(each.message) for each in said] == [True]
    rows = steps(folder)
    assert [row["action"].tolist() for row in rows] == [[0, 0]] * 3
    assert outline(rows)[1:] == [(0, 1, 0), (0, 2, 0)]


def test_an_odd_action_of_a_discrete_space_is_one_too(folder):
    env = offcam.RecordVideo(Barcode(9), str(folder), steps=True, **NONE)
    env.reset()
    with warnings.catch_warnings(record=True) as said:
        for action in (1.0, "left", 2**70, np.array([1])):
            env.step(action)
    assert ["an action is missing" in str(each.message) for each in said] == [True]
    assert [row["action"] for row in steps(folder)] == [0, 1, 0, 0, 1]


def test_arguments_that_are_wrong_are_said_at_construction(folder):
    class Odd(spaces.Space):
        pass

    env = Barcode()
    env.action_space = Odd()
    with pytest.raises(ConfigError, match="Odd"):
        offcam.RecordVideo(env, str(folder), steps=True)
    large = Barcode()
    large.action_space = spaces.Box(0, 1, (100, 100), np.float64)
    with pytest.raises(ConfigError, match="at most 32768 bytes"):
        offcam.RecordVideo(large, str(folder), steps=True)
    for wrong in (0, -1, 1.5, True, "1G"):
        with pytest.raises(ConfigError, match="steps_limit"):
            offcam.RecordVideo(Barcode(), str(folder), steps=True, steps_limit=wrong)
    with pytest.raises(ConfigError, match="given with steps"):
        offcam.record(Barcode(), str(folder), steps_limit=1000)
    with pytest.raises(ConfigError, match="True or False"):
        offcam.record(Barcode(), str(folder), steps="yes")
    assert not folder.exists()


def test_the_spec_has_them_as_json_and_the_stream_the_limit(folder):
    gym.register("Barcode-steps-v0", "envs:Barcode")
    env = offcam.record(
        gym.make("Barcode-steps-v0", length=3, disable_env_checker=True), str(folder), steps=True, steps_limit=4096
    )
    found = [each for each in json.loads(env.spec.to_json())["additional_wrappers"] if each["name"] == "RecordVideo"]
    assert (found[0]["kwargs"]["steps"], found[0]["kwargs"]["steps_limit"]) == (True, 4096)
    play(env)
    assert [each.stream.steps_limit for each in pending(folder)] == [4096]
    env.close()


def test_a_copy_records_nothing_before_its_own_reset(folder):
    env = offcam.RecordVideo(Barcode(9), str(folder), steps=True, **NONE)
    env.reset()
    env.step(0)
    twin = copy.deepcopy(env)
    twin.step(1)
    assert len(steps(folder)) == 2
    twin.reset()
    twin.step(1)
    env.step(0)
    assert outline(steps(folder), "action") == [
        (0, 0, RESET, 0),
        (0, 1, 0, 0),
        (0, 2, 0, 0),
        (1, 0, RESET, 0),
        (1, 1, 0, 1),
    ]


def test_a_forked_child_has_rows_of_its_own(folder):
    env = offcam.RecordVideo(Barcode(9), str(folder), steps=True, **NONE)
    env.reset()
    env.step(0)
    if not (pid := os.fork()):
        env.step(1)
        os._exit(0)
    os.waitpid(pid, 0)
    env.step(0)
    rows = steps(folder)
    assert outline(rows, "action") == [(0, 0, RESET, 0), (0, 1, 0, 0), (0, 2, 0, 0), (0, 2, 0, 1)]
    assert [row["row"] for row in rows] == [0, 1, 2, 0]


def test_one_that_is_closed_and_used_again_goes_on(folder):
    env = offcam.RecordVideo(Barcode(9), str(folder), steps=True, **NONE)
    env.reset()
    env.step(0)
    env.close()
    env.step(1)
    env.flush()
    env.step(1)
    assert outline(steps(folder), "action") == [(0, 0, RESET, 0), (0, 1, 0, 0), (0, 2, 0, 1), (0, 3, 0, 1)]


def test_a_simulator_of_many_in_a_single_env_has_unknown_rewards(folder):
    class Many(Barcode):
        num_envs = 2

        def step(self, action):
            obs, *_ = super().step(action)
            return obs, np.ones(2), np.zeros(2, bool), np.zeros(2, bool), {}

    env = offcam.RecordVideo(Many(9), str(folder), steps=True, **NONE)
    env.reset()
    env.step(1)
    env.reset(options={"reset_mask": np.array([False, True])})
    env.step(1)
    rows = steps(folder)
    assert outline(rows) == [(0, 0, RESET), (0, 1, 0), (0, 2, 0)]
    assert all(np.isnan(row["reward"]) for row in rows)


# --- vector envs -----------------------------------------------------------------------------------------------


def vector(folder, *lengths, mode=AutoresetMode.NEXT_STEP, **options):
    envs = SyncVectorEnv([lambda length=length: Barcode(length) for length in lengths], autoreset_mode=mode)
    return offcam.vector.RecordVideo(envs, str(folder), steps=True, **{**NONE, **options})


def test_a_row_of_a_vector_env_tells_of_all_and_of_their_resets(folder):
    env = vector(folder, 2, 3)
    env.reset()
    for number in range(5):
        env.step(np.array([number % 2, 1]))
    rows = steps(folder)
    assert [row["episode"].tolist() for row in rows] == [[0, 0], [0, 0], [0, 0], [1, 0], [1, 1], [1, 1]]
    assert [row["step"].tolist() for row in rows] == [[0, 0], [1, 1], [2, 2], [0, 3], [1, 0], [2, 1]]
    assert [row["flags"].tolist() for row in rows] == [[4, 4], [0, 0], [1, 0], [4, 1], [0, 4], [1, 0]]
    assert [row["action"].tolist() for row in rows] == [[0, 0], [0, 1], [1, 1], [0, 1], [1, 0], [0, 1]]
    assert np.isnan(rows[3]["reward"][0])
    assert rows[3]["reward"][1] == 1.0


def test_under_same_step_an_episode_begins_in_the_row_that_ends_one(folder):
    env = vector(folder, 2, 3, mode=AutoresetMode.SAME_STEP)
    env.reset()
    for _ in range(4):
        env.step(np.array([1, 1]))
    rows = steps(folder)
    assert [row["episode"].tolist() for row in rows] == [[0, 0], [0, 0], [0, 0], [1, 0], [1, 1]]
    assert [row["step"].tolist() for row in rows] == [[0, 0], [1, 1], [2, 2], [1, 3], [2, 1]]
    assert [row["flags"].tolist() for row in rows] == [[4, 4], [0, 0], [1, 0], [0, 1], [1, 0]]


def test_a_reset_of_some_is_no_row_of_the_others(folder):
    env = vector(folder, 2, 3, mode=AutoresetMode.DISABLED)
    env.reset()
    for _ in range(2):
        env.step(np.array([1, 1]))
    env.reset(options={"reset_mask": np.array([True, False])})
    env.step(np.array([1, 1]))
    env.reset(options={"reset_mask": np.array([False, True])})
    rows = steps(folder)
    assert [row["episode"].tolist() for row in rows] == [[0, 0], [0, 0], [0, 0], [1, -1], [1, 0], [-1, 1]]
    assert [row["flags"].tolist() for row in rows][3] == [RESET, 0]
    assert [row["step"].tolist() for row in rows][4:] == [[1, 3], [1, 0]]
    offcam.trace(env, value=np.array([0.5, 1.5]), one=3)
    env.step(np.array([1, 1]))
    assert (steps(folder)[-1]["value"].tolist(), steps(folder)[-1]["one"].tolist()) == ([0.5, 1.5], [3, 3])


def test_many_are_several_groups_of_neighbours(folder):
    env = vector(folder, *[3] * 1500)
    env.reset()
    for number in range(3):
        env.step(np.arange(1500) % 2 * (number + 1) % 2)
    groups: dict[int, list[list[int]]] = {}
    for row in steps(folder):
        groups.setdefault(int(row["env_index"]), []).append(row["action"].tolist())
    assert len(groups) == 3
    joined = [list(itertools.chain(*[groups[index][number] for index in sorted(groups)])) for number in range(1, 4)]
    assert joined == [(np.arange(1500) % 2 * (number + 1) % 2).tolist() for number in range(3)]
