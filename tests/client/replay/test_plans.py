"""The cheapest plan by which an episode happens again is found; where there is none, that is said, and where."""

from __future__ import annotations

import importlib
import sys

import gymnasium as gym
import numpy as np
import oddities
import pytest
import tapes

from offcam import replay
from offcam.replay import fingerprint, hooks, recipe
from offcam.replay.plans import Plan, Stretch, find_plan, stretch
from offcam.replay.render import Film
from offcam.replay.tap import insert
from offcam_proto.errors import NotReplayable


@pytest.fixture(autouse=True)
def _registered():
    names = (
        "Counting",
        "Drawing",
        "GlobalRandom",
        "Clock",
        "Curriculum",
        "HarderFromOutside",
        "Aging",
        "Hidden",
        "Changing",
    )
    for name in names:
        gym.register(f"{name}-v0", f"oddities:{name}")
    yield
    for name in (*names, "Edited"):
        gym.registry.pop(f"{name}-v0", None)


def last(name, episodes=12, steps=6):
    """How it goes to have the last episode of an env happen again."""
    tape, found = tapes.taped(f"{name}-v0", episodes, steps)
    return tape, found, find_plan(tape, tape.episode(episodes - 1), lambda: recipe.make(found))


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("Counting", Plan(0)),
        ("Drawing", Plan(0)),
        ("Aging", Plan(2)),
        ("Curriculum", Plan(None, steps=True)),
    ],
)
def test_the_cheapest_is_found(name, plan):
    tape, found, outcome = last(name)
    assert outcome.verified
    assert outcome.plan == plan
    assert tapes.rendered(tape, found, 11, plan)


def test_all_resets_are_tried_before_all_steps():
    tape, found = tapes.taped("Aging-v0", 12, 6)
    outcome = find_plan(tape, tape.episode(11), lambda: recipe.make(found), first=[Plan(None)])
    assert outcome == (Plan(None), None, "")


@pytest.mark.parametrize("name", ["GlobalRandom", "Clock"])
def test_what_happens_otherwise_is_never_verified(name):
    tape, found, outcome = last(name, episodes=3)
    assert not outcome.verified
    assert outcome.diverged_at == 1
    wanted = tape.episode(2)
    film = Film(tape, wanted, Plan(), recipe.make(found, "rgb_array"))
    assert [row for row, _ in film.frames(range(*wanted))] == [wanted.begin]
    assert film.outcome == (Plan(), 1, "observation, reward or flags differ")


def test_what_somebody_changed_between_resets_is_never_verified():
    tape = tapes.MemoryTape()
    env = insert(gym.make("HarderFromOutside-v0"), lambda _: tape)
    found = recipe.of(env)
    for level in range(3):
        env.unwrapped.level = level
        env.reset()
        env.step(0)
    assert find_plan(tape, tape.episode(0), lambda: recipe.make(found)).verified
    outcome = find_plan(tape, tape.episode(2), lambda: recipe.make(found))
    assert outcome.diverged_at == 0


CODE = (
    "from oddities import Counting\n\nclass Edited(Counting):\n    def move(self, action):\n        self.number += {}\n"
)


def test_code_that_was_edited_is_found_out_and_said(tmp_path, monkeypatch):
    file = tmp_path / "editedenv.py"
    file.write_text(CODE.format(1))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions within a second
    gym.register("Edited-v0", "editedenv:Edited")
    tape, found = tapes.taped("Edited-v0", 2, 6)
    same = fingerprint.fingerprint(sys.modules["editedenv"].Edited)
    assert fingerprint.differences(found.fingerprint, same) == []
    file.write_text(CODE.format(2))
    importlib.reload(sys.modules["editedenv"])
    try:
        now = fingerprint.fingerprint(sys.modules["editedenv"].Edited)
        assert fingerprint.differences(found.fingerprint, now) == ["the env's source code was edited"]
        assert find_plan(tape, tape.episode(1), lambda: recipe.make(found)).diverged_at == 1
    finally:
        del sys.modules["editedenv"]


def test_a_step_that_was_another_one_is_named():
    tape, found = tapes.taped("Drawing-v0", 3, 6)
    wanted = tape.episode(1)
    tape.rows[wanted.begin + 2] = tape.rows[wanted.begin + 2]._replace(action=None)
    outcome = find_plan(tape, wanted, lambda: recipe.make(found))
    assert outcome.diverged_at == 2
    assert "the env raised TypeError" in outcome.why
    assert find_plan(tape, tape.episode(2), lambda: recipe.make(found)).verified


def test_the_search_has_an_end():
    tape, found = tapes.taped("Clock-v0", 12, 6)
    made = []
    outcome = find_plan(tape, tape.episode(11), lambda: made.append(0) or recipe.make(found), most_events=20)
    assert 1 <= len(made) < 4
    assert "would take too long" in outcome.why


def test_a_plan_that_worked_is_tried_first():
    tape, found = tapes.taped("Aging-v0", 12, 6)
    made = []
    find_plan(tape, tape.episode(11), lambda: made.append(0) or recipe.make(found), first=[Plan(3)])
    assert len(made) == 1


def test_what_is_lost_is_said():
    tape, found = tapes.taped("Drawing-v0", 2, 6)
    wanted = tape.episode(1)
    gone = wanted.begin + 1
    tape.rows = [event for event in tape.rows if event.row != gone]
    with pytest.raises(NotReplayable, match=f"lost row {gone}"):
        find_plan(tape, Stretch(wanted.begin, wanted.end - 1), lambda: recipe.make(found))
    with pytest.raises(NotReplayable, match="no reset before row 3"):
        stretch([], 3, 5)
    assert stretch([0, 4, 8], 5, 9) == (4, 10)


def test_a_state_that_only_a_hook_knows(monkeypatch):
    outcome = last("Hidden", episodes=3)[-1]
    assert not outcome.verified
    monkeypatch.setattr(hooks, "_hooks", dict(hooks._hooks))  # the registry of all processes alike
    replay.register(
        oddities.Hidden,
        state=lambda env: env.own.bit_generator.state,
        restore=lambda env, state: setattr(env.own.bit_generator, "state", state),
    )
    tape = tapes.MemoryTape()
    env = insert(gym.make("Hidden-v0"), lambda _: tape)
    found = recipe.of(env)
    for _ in range(3):
        env.reset()
        env.step(1)
    assert find_plan(tape, tape.episode(2), lambda: recipe.make(found)) == (Plan(), None, "")
    del hooks._hooks["oddities:Hidden"]
    with pytest.raises(NotReplayable, match=r"register was not called for 'oddities:Hidden'"):
        find_plan(tape, tape.episode(2), lambda: recipe.make(found))


def test_what_an_env_changes_of_what_it_is_given_is_kept_as_it_was():
    tape = tapes.MemoryTape()
    env = insert(gym.make("Changing-v0", disable_env_checker=True), lambda _: tape)
    found = recipe.of(env)
    env.reset(options={"begin": np.array([5.0])})
    env.step(np.array([0.5], np.float32))
    assert tape.rows[1].action == np.float32(0.5)
    assert find_plan(tape, tape.episode(0), lambda: recipe.make(found)).verified


def test_a_camera_of_mujoco_is_set_by_the_first_reset():
    tape, found = tapes.taped("Drawing-v0", 4, 6)
    seen = []

    def pictures(plan):
        env = recipe.make(found, "rgb_array")
        env.mujoco_renderer = None  # that it has one is how it is known
        draw = env.render
        env.render = lambda: seen.append(env.number) or draw()
        wanted = tape.episode(3)
        film = Film(tape, wanted, plan, env)
        seen.clear()
        assert [row for row, _ in film.frames([wanted.begin + 1])] == [wanted.begin + 1]
        assert film.outcome.verified
        return list(seen)

    begun = recipe.make(found)
    begun.reset(seed=1)
    for plan in (Plan(0), Plan(None), Plan(None, steps=True)):
        first, _ = pictures(plan)
        assert first == begun.number, plan
