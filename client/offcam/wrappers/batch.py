"""The episodes of a single env that steps many at once, as simulators' envs do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from gymnasium.vector import AutoresetMode

from offcam.recorder import readings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class Ended(NamedTuple):
    """The episodes that ended in a step, each an array ``(num_envs,)`` that means something where ``which`` is true."""

    which: NDArray[np.bool_]
    episode: NDArray[np.int64]
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    durations: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    seeds: NDArray[np.object_]

    @property
    def statistics(self) -> dict[str, NDArray[Any]]:
        """What ``info`` says of them, as a vector env's."""
        columns = {"r": self.returns, "l": self.lengths, "t": self.durations}
        return {name: np.where(self.which, column, 0) for name, column in columns.items()}

    def episodes(self) -> Iterator[dict[str, Any]]:
        """What is recorded of each."""
        for index in np.flatnonzero(self.which).tolist():
            yield {
                "env_index": index,
                "episode": self.episode[index].item(),
                "return_": self.returns[index],
                "length": self.lengths[index],
                "duration": self.durations[index],
                "terminated": self.terminated[index],
                "truncated": self.truncated[index],
                "seed": self.seeds[index],
            }


class Batch:
    """Sums of the episodes so far.

    Args:
        num_envs: how many there are.
        autoreset_mode: of the env's metadata; where it says none, an env begins anew in the step in which it ends, as
            simulators do.

    Attributes:
        returns: float64 ``(num_envs,)``; NaN from where rewards cannot be read.
        lengths: int64 ``(num_envs,)``.
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

    def restart(self, seed: object, which: NDArray[np.bool_] | None = None) -> None:
        """Begin a new episode: all, or those that were reset. Of these, one that has just begun by itself goes on."""
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
        self._seeds[which] = seed

    def add(self, reward: object, terminated: object, truncated: object) -> Ended | None:
        """Add a step. Returns what ended in it, None where nobody can tell."""
        rewards = readings.each(reward, self._num_envs, readings.FLOAT)
        ends = [readings.each(flags, self._num_envs, readings.BOOL) for flags in (terminated, truncated)]
        running = ~self._ended
        self.returns[running] += np.nan if rewards is None else rewards[running]
        self.lengths[running] += 1
        if self._ended.any():  # this step was its reset
            self._begin(self._ended)
            self._ended = np.zeros(self._num_envs, bool)
        if ends[0] is None or ends[1] is None:
            return None
        which = (ends[0] | ends[1]) & running
        ended = Ended(
            which=which,
            episode=self._episodes.copy(),
            returns=self.returns.copy(),
            lengths=self.lengths.copy(),
            durations=np.round(time.perf_counter() - self._starts, 6),
            terminated=ends[0],
            truncated=ends[1],
            seeds=self._seeds.copy(),
        )
        if self._resets_later:
            self._ended = which
        else:
            self._begin(which)
        return ended
