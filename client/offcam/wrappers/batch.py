"""The episodes of a single env that steps many at once, as simulators' envs do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.vector import AutoresetMode

from offcam.recorder import readings
from offcam.wrappers.ended_episodes import Ended, Seeds, as_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray


class BatchSums:
    """Sums over the current episode of each env.

    Args:
        num_envs: how many envs are stepped at once.
        autoreset_mode: as in the env's metadata; without one, an env is taken to begin anew in the step in which its
            episode ends, as simulators do.

    Attributes:
        returns: float64 ``(num_envs,)``, sums of rewards so far; NaN once a reward cannot be read.
        lengths: int64 ``(num_envs,)``, steps so far.
        odd_seeds: by env, of those whose episodes ended in the last step: seeds that are no integers of 63 bits.
    """

    def __init__(self, num_envs: int, autoreset_mode: object) -> None:
        self.returns = np.zeros(num_envs)
        self.lengths = np.zeros(num_envs, np.int64)
        self._num_envs = num_envs
        self._starts = np.zeros(num_envs)
        self._episodes = np.full(num_envs, -1)
        self._resets_later = autoreset_mode is AutoresetMode.NEXT_STEP
        self._ended = np.zeros(num_envs, bool)
        self._seeds = np.full(num_envs, None)
        self._seeded = np.zeros(num_envs, bool)
        self.odd_seeds: dict[int, object] = {}

    def go_on_from(self, episodes: Mapping[int, int]) -> None:
        """Count on from the last episode of each env."""
        self._episodes = np.array([episodes.get(index, -1) for index in range(self._num_envs)])

    def restart(self, seed: object, which: NDArray[np.bool_] | None = None) -> None:
        """Begin new episodes of all envs, or of those that were reset; but not where one has just begun by itself."""
        if which is None:
            self._begin(np.ones(self._num_envs, bool), seed)
            self._ended[:] = False
            return
        just_begun = which & (self.lengths == 0) & (self._episodes >= 0)
        self._episodes[just_begun] -= 1
        self._begin(which, seed)
        self._ended &= ~which

    def _begin(self, which: NDArray[np.bool_], seed: object = None) -> None:
        self.returns[which] = 0
        self.lengths[which] = 0
        self._starts[which] = time.perf_counter()
        self._episodes[which] += 1
        if seed is not None or self._seeded.any():
            self._seeds[which] = seed
            self._seeded[which] = seed is not None

    def add(self, reward: object, terminated: object, truncated: object) -> Ended | None:
        """Add a step. Returns the episodes that ended in it; None where the flags cannot be read."""
        rewards = readings.each(reward, self._num_envs, readings.FLOAT)
        ends = [readings.each(flags, self._num_envs, readings.BOOL) for flags in (terminated, truncated)]
        running = ~self._ended
        self.returns[running] += np.nan if rewards is None else rewards[running]
        self.lengths[running] += 1
        if self._ended.any():  # for an env whose episode ended in the step before, this step was the reset
            self._begin(self._ended)
            self._ended = np.zeros(self._num_envs, bool)
        if ends[0] is None or ends[1] is None:
            return None
        which = (ends[0] | ends[1]) & running
        (places,) = which.nonzero()
        ended = Ended(
            env_index=places,
            episode=np.maximum(self._episodes[places], 0),
            return_=self.returns[places],
            length=self.lengths[places],
            duration=(time.perf_counter() - self._starts[places]).round(6),
            terminated=ends[0][places],
            truncated=ends[1][places],
            **self._seeds_of(places),
        )
        if self._resets_later:
            self._ended = which
        elif places.size:
            self._begin(which)
        return ended

    def _seeds_of(self, places: NDArray[np.intp]) -> Seeds:
        """The seeds of some envs as a record has them; those that do not fit are put into ``odd_seeds``."""
        if not self._seeded[places].any():
            self.odd_seeds = {}
            return Seeds(seed=None, seeded=None)
        seeds = {index: as_seed(seed) for index, seed in enumerate(self._seeds[places])}
        plain = {index: seed for index, seed in seeds.items() if isinstance(seed, int)}
        self.odd_seeds = {places.item(index): seed for index, seed in seeds.items() if isinstance(seed, str)}
        numbers = np.array([plain.get(index, 0) for index in seeds], np.int64)
        return Seeds(seed=numbers, seeded=np.array([index in plain for index in seeds], bool))
