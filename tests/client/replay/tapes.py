"""A tape in memory, which is told and read; and envs that are played onto one."""

from __future__ import annotations

import copy
import hashlib

import gymnasium as gym
import numpy as np

from offcam.replay import recipe
from offcam.replay.plans import Stretch, find_plan
from offcam.replay.render import Film
from offcam.replay.tap import insert
from offcam.replay.tape import DIGEST_MASK, Event, Reset
from offcam_runs.replay.recipe import Recipe


class MemoryTape:
    def __init__(self):
        self.rows: list[Event] = []
        self.ended = ""
        self._action = None

    def act(self, action):
        self._action = copy.deepcopy(action)

    def step(self, digest):
        self.rows.append(Event(len(self.rows), None, self._action, digest & DIGEST_MASK))

    def reset(self, given, digest):
        self.rows.append(Event(len(self.rows), Reset.unpack(given), None, digest & DIGEST_MASK))

    def end(self, why):
        self.ended = why

    @property
    def resets(self):
        return [event.row for event in self.rows if event.reset]

    def events(self, begin, end):
        return iter(self.rows[begin:end])

    def episode(self, number):
        begin, *rest = self.resets[number:]
        return Stretch(begin, rest[0] if rest else len(self.rows))


def mark(picture):
    """As good as the picture, and small."""
    return picture.shape, picture.dtype.str, hashlib.sha256(np.ascontiguousarray(picture)).digest()


def play(env, episodes, most_steps, *, seed=1, pictures=None):
    """Play episodes with actions that are the same each time; only the first reset has a seed."""
    actions = np.random.default_rng(seed)
    env.action_space.seed(seed)
    for episode in range(episodes):
        env.reset(seed=seed if episode == 0 else None)
        if pictures is not None:
            pictures.append(mark(env.render()))
        for _ in range(actions.integers(most_steps // 2, most_steps + 1)):
            *_, terminated, truncated, _ = env.step(env.action_space.sample())
            if pictures is not None:
                pictures.append(mark(env.render()))
            if terminated or truncated:
                break
    env.close()


def taped(env_id, episodes, most_steps, **kwargs):
    """Play an env that renders nothing. Returns its tape and what it is made from again."""
    tape = MemoryTape()
    env = insert(gym.make(env_id, **kwargs), lambda _: tape)
    found = Recipe.parse(recipe.of(env).text)
    play(env, episodes, most_steps)
    assert not tape.ended
    return tape, found


def drawn(env_id, episodes, most_steps, **kwargs):
    """What a twin draws at the time, the mark of a picture for each reset and each step."""
    pictures = []
    play(gym.make(env_id, render_mode="rgb_array", **kwargs), episodes, most_steps, pictures=pictures)
    return pictures


def outcomes(tape, found, episodes):
    """How it goes to have each episode happen again, by the plan that was found for the one before if it can be."""
    first = ()
    for number in episodes:
        outcome = find_plan(tape, tape.episode(number), lambda: recipe.make(found), first=first)
        first = (outcome.plan,) if outcome.verified else ()
        yield outcome


def rendered(tape, found, number, plan):
    """The marks of the pictures of an episode that happens again."""
    wanted = tape.episode(number)
    env = recipe.make(found, "rgb_array")
    try:
        film = Film(tape, wanted, plan, env)
        pictures = {row: mark(picture) for row, picture in film.frames(range(*wanted))}
    finally:
        env.close()
    assert film.outcome is not None
    assert film.outcome.verified, film.outcome
    return pictures
