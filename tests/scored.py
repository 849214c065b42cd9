"""An env whose episodes have returns, lengths and successes that are drawn before, and what a rule keeps of them."""

from __future__ import annotations

import random
import time
from typing import NamedTuple

from envs import Barcode


class Score(NamedTuple):
    """An episode: its return, its steps, and whether it is a success."""

    value: float
    length: int
    success: bool


def drawn(count: int, seed: int = 0) -> list[Score]:
    """Episodes; no two have the same return."""
    rng = random.Random(seed)
    values = rng.sample(range(-10 * count, 10 * count), count)
    return [Score(float(value), rng.randint(2, 5), rng.random() < 0.9) for value in values]


class Scored(Barcode):
    """Plays them, one after the other."""

    def __init__(self, scores: list[Score], first: int = 0) -> None:
        super().__init__()
        self.scores = scores
        self.played = first - 1

    def reset(self, **options):
        self.played += 1
        self.length = self.scores[self.played % len(self.scores)].length
        return super().reset(**options)

    def step(self, action):
        observation, _, terminated, truncated, info = super().step(action)
        score = self.scores[self.played % len(self.scores)]
        if terminated:
            info = {"is_success": score.success}
        return observation, score.value if self.number == 1 else 0.0, terminated, truncated, info


def worst(scores: list[Score], count: int) -> set[int]:
    """The numbers of the episodes with the lowest returns."""
    return set(sorted(range(len(scores)), key=lambda number: scores[number].value)[:count])


def failures(scores: list[Score]) -> set[int]:
    """The numbers of those that are no success."""
    return {number for number, score in enumerate(scores) if not score.success}


class Graded(Barcode):
    """Draws each episode's return, length and success from its own generator, so that it happens again."""

    def __init__(self, *, render_mode: str | None = None, seconds: float = 0.0) -> None:
        super().__init__(render_mode=render_mode)
        self.seconds = seconds  # that each step takes where it is rendered
        self.score = Score(0.0, 1, success=True)

    def reset(self, **options):
        observation, info = super().reset(**options)
        value, length, luck = self.np_random.normal(), self.np_random.integers(2, 6), self.np_random.random()
        self.score = Score(float(value), int(length), bool(luck < 0.9))
        self.length = self.score.length
        return observation, info

    def step(self, action):
        observation, _, terminated, truncated, info = super().step(action)
        if terminated:
            info = {"is_success": self.score.success}
        return observation, self.score.value if self.number == 1 else 0.0, terminated, truncated, info

    def render(self):
        time.sleep(self.seconds)
        return super().render()
