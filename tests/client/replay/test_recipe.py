"""What an env is made from again; where it cannot be, why. What a process that replays may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import oddities
import pytest

from offcam.replay import fingerprint, recipe
from offcam_proto.errors import MalformedMessage, NotReplayable
from offcam_runs.replay.recipe import KEY_NAME, Recipe, make_key, read_key


@pytest.fixture(autouse=True)
def _registry():
    yield
    gym.registry.pop("Made-v0", None)


def made_with(entry_point, **kwargs):
    gym.registry.pop("Made-v0", None)
    gym.register("Made-v0", entry_point)
    return gym.make("Made-v0", disable_env_checker=True, **kwargs)


def test_it_is_made_again_without_its_wrappers():
    env = gym.make("CartPole-v1", render_mode="rgb_array", sutton_barto_reward=True)
    found = Recipe.parse(recipe.of(env).text)
    assert found.executable == sys.executable
    assert found.folder == str(Path.cwd())
    again = recipe.make(found)
    assert type(again) is type(env.unwrapped)
    assert again._sutton_barto_reward is True
    assert again.render_mode is None
    assert recipe.make(found, "rgb_array").render_mode == "rgb_array"


def test_tuples_stay_tuples():
    gym.register_envs(pytest.importorskip("ale_py"))
    env = gym.make("ALE/Breakout-v5", frameskip=(2, 5))
    assert recipe.make(Recipe.parse(recipe.of(env).text))._frameskip == (2, 5)


def test_a_class_in_a_module_is_found():
    env = made_with(oddities.Counting, step=3)
    found = recipe.of(env)
    assert recipe.spec_of(found).entry_point == "oddities:Counting"
    assert recipe.make(found).by == 3
    assert recipe.make(found, step=5).by == 5


def test_the_script_itself_is_not(monkeypatch):
    monkeypatch.setattr(oddities.Counting, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Counting", oddities.Counting, raising=False)
    with pytest.raises(NotReplayable, match="defined in the script itself"):
        recipe.of(made_with(oddities.Counting))


def test_what_cannot_be_made_again_is_refused_with_the_reason():
    with pytest.raises(NotReplayable, match=r"it has no spec: make it with gymnasium\.make"):
        recipe.of(oddities.Counting())
    with pytest.raises(NotReplayable, match="which no other process can find"):
        recipe.of(made_with(lambda: oddities.Counting()))  # noqa: PLW0108 - as users write it
    with pytest.raises(NotReplayable, match=r"arguments that cannot be written down: a builtins\.function"):
        recipe.of(made_with(oddities.Counting, step=lambda: 1))


def test_what_cannot_be_made_here_is_said():
    found = recipe.of(made_with(oddities.Counting))
    with pytest.raises(NotReplayable, match=r"Made-v0 cannot be made by .*unexpected keyword"):
        recipe.make(found, size=3)
    with pytest.raises(MalformedMessage, match="not the spec of an env"):
        recipe.make(found._replace(spec="00"))


def test_variables_that_matter_are_kept(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setenv("SECRET", "of the user's")
    found = recipe.of(made_with(oddities.Counting)).variables
    assert found["MUJOCO_GL"] == "osmesa"
    assert "SECRET" not in found


def test_whose_it_is_is_known(tmp_path):
    found = recipe.of(made_with(oddities.Counting))
    key = read_key(os.environ, os.getuid())
    assert key is not None
    assert (tmp_path / "state" / "offcam" / KEY_NAME).stat().st_mode & 0o777 == 0o600
    assert make_key(os.environ, os.getuid()) == key
    again = Recipe.parse(found.text)
    assert again.is_sealed_by(key)
    for changed in (again._replace(executable="/tmp/evil"), again._replace(path=["/tmp"]), again._replace(seal="")):  # noqa: S108
        assert not changed.is_sealed_by(key)
    assert not again.is_sealed_by(None)
    assert not again.is_sealed_by(bytes(32))


def test_a_key_that_others_could_have_made_is_none(tmp_path):
    make_key(os.environ, os.getuid())
    (tmp_path / "state" / "offcam").chmod(0o777)
    assert read_key(os.environ, os.getuid()) is None
    assert make_key(os.environ, os.getuid()) is None
    assert not recipe.of(made_with(oddities.Counting)).seal


@pytest.mark.parametrize(
    "change", [{"path": "a"}, {"path": [1]}, {"variables": {"A": 1}}, {"seal": None}, {"folder": "\0"}]
)
def test_what_is_no_recipe_is_refused(change):
    good = Recipe("00", "python", ["a"], "/", {}, {})
    assert Recipe.parse(good.text) == good
    with pytest.raises(MalformedMessage):
        Recipe.parse(good._replace(**change).text)
    for text in ("[]", "{", '{"spec": "00"}', "null"):
        with pytest.raises(MalformedMessage):
            Recipe.parse(text)


def test_the_fingerprint_has_what_the_env_is_made_of():
    found = fingerprint.fingerprint(type(gym.make("LunarLander-v3").unwrapped))
    assert {"sources", "machine", "python", "gymnasium", "numpy", "Box2D"} <= set(found)
    other = {**found, "numpy": "1.0", "sources": "", "new": "2"}
    assert fingerprint.differences(other, found) == [
        "new is none and was 2",
        f"numpy is {found['numpy']} and was 1.0",
        "the env's source code was edited",
    ]


BOUNDED = """
import os
from offcam.replay import limits
from offcam_proto.errors import NotReplayable
limits.settle(memory=2**30)
try:
    bytearray(2**31)
except MemoryError:
    print("no", os.nice(0), os.sched_getscheduler(0) == getattr(os, "SCHED_IDLE", None))
limits.allow(1)
try:
    while True:
        pass
except NotReplayable as error:
    print(error)
limits.allow(1000)
print(sum(range(10**6)))
"""


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="only Linux has an idle scheduler")
def test_a_process_is_bounded():
    done = subprocess.run([sys.executable, "-c", BOUNDED], capture_output=True, text=True, check=True)
    memory, cpu, more = done.stdout.splitlines()
    assert memory == "no 19 True"
    assert "took too long" in cpu
    assert more == "499999500000"
