"""Episodes of real envs happen again, and their pictures are those that a twin drew at the time."""

from __future__ import annotations

import importlib.util

import gymnasium as gym
import pytest
import tapes

from headless import require_headless_gl

pytest.importorskip("xxhash")

ENVS = {
    "CartPole-v1": {},
    "MountainCar-v0": {},
    "MountainCarContinuous-v0": {},
    "Pendulum-v1": {},
    "Acrobot-v1": {},
    "LunarLander-v3": {},
    "BipedalWalker-v3": {},
    "CarRacing-v3": {},
    "FrozenLake-v1": {},
    "Taxi": {},
    "ALE/Breakout-v5": {"repeat_action_probability": 0.25},
    "MiniGrid-FourRooms-v0": {},
    "HalfCheetah-v5": {},
    "Humanoid-v5": {},
}
NEEDS = {"ALE": "ale_py", "MiniGrid": "minigrid", "Lunar": "Box2D", "Bipedal": "Box2D", "CarRacing": "Box2D"}
MUJOCO = ("HalfCheetah-v5", "Humanoid-v5")
SLOW = (*MUJOCO, "CarRacing-v3")
"""Those that take long to draw a picture."""


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in ENVS])
def env_id(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log there
    name = request.param
    for prefix, package in NEEDS.items():
        if name.startswith(prefix):
            pytest.importorskip(package)
    if importlib.util.find_spec("ale_py"):
        gym.register_envs(__import__("ale_py"))
    if name == "Taxi":
        name = max(each for each in gym.registry if each.startswith("Taxi-v"))
    if name in MUJOCO:
        pytest.importorskip("mujoco")
        require_headless_gl(monkeypatch)
    return name


def check(env_id, episodes, most_steps):
    tape, recipe = tapes.taped(env_id, episodes, most_steps, **ENVS.get(env_id, {}))
    pictures = tapes.drawn(env_id, episodes, most_steps, **ENVS.get(env_id, {}))
    assert len(pictures) == len(tape.rows)
    found = list(tapes.outcomes(tape, recipe, range(episodes)))
    assert [outcome for outcome in found if not outcome.verified] == []
    for number, outcome in enumerate(found):
        again = tapes.rendered(tape, recipe, number, outcome.plan)
        assert list(again) == list(range(*tape.episode(number)))
        differ = [row for row, picture in again.items() if picture != pictures[row]]
        assert differ == []
    assert len(set(pictures)) > 1  # a black picture proves nothing
    return found


def test_the_last_of_a_few_episodes(env_id):
    check(env_id, 3, 20)


@pytest.mark.slow
def test_each_of_20_episodes(env_id):
    found = check(env_id, 20, 8 if env_id in MUJOCO else 20 if env_id in SLOW else 200)
    print(env_id, *sorted({str(outcome.plan) for outcome in found}))
