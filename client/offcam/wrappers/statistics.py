"""``RecordEpisodeStatistics`` for a single env."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, SupportsFloat

import gymnasium as gym
from gymnasium.core import ActType, ObsType
from gymnasium.utils import RecordConstructorArgs

from offcam.wrappers import arguments
from offcam.wrappers.statistics_base import StatisticsBase

if TYPE_CHECKING:
    from collections import deque


class RecordEpisodeStatistics(StatisticsBase, gym.Wrapper[ObsType, ActType, ObsType, ActType], RecordConstructorArgs):
    """Sum up each episode, as `gymnasium.wrappers.RecordEpisodeStatistics` does, and tell the daemon.

    At an episode's end ``info["episode"]`` is ``{"r": return, "l": length, "t": seconds}``, filled before
    ``step`` returns, and the same numbers are in the queues. The daemon gets them as a record that it keeps in
    the run's index: the folder of the RecordVideo around the same env, else ``OFFCAM_RUN``, else the one that this
    process records other envs into, else a new one in ``$OFFCAM_DIR``.

    Thread: that of the env.

    Attributes:
        time_queue: seconds of the last ``buffer_length`` episodes.
        return_queue: their returns.
        length_queue: their lengths, in steps.
        episode_count: episodes finished.
        episode_start_time: `time.perf_counter` at the start of the episode.
        episode_returns: sum of the rewards of the episode so far.
        episode_lengths: steps of the episode so far.

    Args:
        env: the environment.
        buffer_length: length of the queues; None for no bound.
        stats_key: key of ``info`` for the statistics.
        strict: as in `offcam.RecordVideo`. The first ``reset``, which opens a run folder of its own, raises, too.

    Raises:
        TypeError: ``env`` is no single env.
        ConfigError: ``buffer_length`` or an environment variable is wrong.
        KeyRefused: over ``tcp://``, the daemon does not take this client's key, or is not the one that it is for.
        DaemonNotInstalled, DaemonUnavailable, VersionMismatch: only if strict.
    """

    def __init__(
        self,
        env: gym.Env[ObsType, ActType],
        buffer_length: arguments.Whole | None = 100,
        stats_key: str = "episode",
        *,
        strict: bool = False,
    ) -> None:
        arguments.check_single(env, "RecordEpisodeStatistics")
        buffer_length = arguments.buffer_length(buffer_length)
        RecordConstructorArgs.__init__(self, buffer_length=buffer_length, stats_key=stats_key, strict=strict)
        gym.Wrapper.__init__(self, env)
        self._stats_key = stats_key
        self.episode_start_time: float = -1
        self.episode_returns: float = 0.0
        self.episode_lengths: int = 0
        self.time_queue: deque[float]
        self.return_queue: deque[float]
        self.length_queue: deque[int]
        self._set_up_statistics(buffer_length, strict=strict)
        self._episode = -1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Reset the env and start the sums anew."""
        obs, info = super().reset(seed=seed, options=options)
        self._open_stream()
        self._episode += 1
        self._seed = seed
        self.episode_start_time = time.perf_counter()
        self.episode_returns = 0.0
        self.episode_lengths = 0
        return obs, info

    def step(self, action: ActType) -> tuple[ObsType, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the env; at the episode's end, fill ``info`` and the queues and send the record."""
        obs, reward, terminated, truncated, info = super().step(action)
        self.episode_returns += reward  # type: ignore[operator]  # a reward adds to a float
        self.episode_lengths += 1
        if terminated or truncated:
            assert self._stats_key not in info  # noqa: S101 - as Gymnasium's
            duration = round(time.perf_counter() - self.episode_start_time, 6)
            info[self._stats_key] = {"r": self.episode_returns, "l": self.episode_lengths, "t": duration}
            self._end_episode(
                env_index=0,
                episode=self._episode,
                return_=self.episode_returns,
                length=self.episode_lengths,
                duration=duration,
                terminated=terminated,
                truncated=truncated,
                seed=self._seed,
            )
            self._record_ended()
            self.episode_start_time = time.perf_counter()
        return obs, reward, terminated, truncated, info

    def close(self) -> None:
        """Close the env, and return when the daemon has committed every episode.

        Raises:
            RecordingLost: if strict, where something is not recorded.
        """
        try:
            super().close()
        finally:  # the env may raise
            self._release_stream()
