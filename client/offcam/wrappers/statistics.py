"""``RecordEpisodeStatistics`` for a single env."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.core import ActType, ObsType
from gymnasium.utils import RecordConstructorArgs

from offcam.recorder import readings
from offcam.wrappers import arguments, shared_stream
from offcam.wrappers.batch import BatchSums
from offcam.wrappers.episode_values import columns_of, value_names, values_of
from offcam.wrappers.statistics_base import StatisticsBase

if TYPE_CHECKING:
    from collections import deque

    from offcam.recorder.resuming import IfExists


class RecordEpisodeStatistics(StatisticsBase, gym.Wrapper[ObsType, ActType, ObsType, ActType], RecordConstructorArgs):
    """Sum up each episode, as `gymnasium.wrappers.RecordEpisodeStatistics` does, and record it in the run's index.

    At an episode's end ``info["episode"]`` is ``{"r": return, "l": length, "t": seconds}``, filled before ``step``
    returns, and the same numbers are in the queues. If a wrapper beneath has filled it already, as another
    RecordEpisodeStatistics or Stable-Baselines3's Monitor does, it stays as it is. The daemon gets the numbers as a
    record for the index of a run: in the folder of the RecordVideo around the same env, else in ``OFFCAM_RUN``, else in
    the folder that this process records other envs into, else in a new one in ``$OFFCAM_DIR``.

    Thread: that of the env.

    Attributes:
        time_queue: durations of the last ``buffer_length`` episodes, in seconds.
        return_queue: their returns.
        length_queue: their lengths, in steps.
        episode_count: number of finished episodes.
        episode_start_time: `time.perf_counter` at the start of the episode, in seconds.
        episode_returns: sum of the rewards of the episode so far.
        episode_lengths: steps of the episode so far. If the env steps ``num_envs`` at once, as simulators do, this and
            ``episode_returns`` are arrays ``(num_envs,)``, and ``info`` is filled as a vector env's.

    Args:
        env: the environment.
        buffer_length: length of the queues; None for no bound.
        stats_key: key of ``info`` for the statistics.
        folder: the run folder for these statistics; by default it is found as said above.
        resume, if_exists: as in `offcam.RecordVideo`, for a ``folder`` that is given.
        strict: as in `offcam.RecordVideo`. The first ``reset``, which opens a run folder of its own, may raise, too.
        info_keywords: at most 16 keys of ``info``, whose numbers at an episode's last step are recorded with it. As in
            Stable-Baselines3's Monitor, except that a key that is missing, or is not a number, is left out (Monitor
            raises KeyError), and that ``info["episode"]`` does not have them. ``is_success`` and ``success`` are always
            recorded if they are there.

    Raises:
        TypeError: ``env`` is no single env.
        ConfigError: ``buffer_length``, ``folder``, ``info_keywords`` or an environment variable is wrong.
        FolderNotWritable: the folder cannot be made or written.
        RunFolderError: the index of a run that is to be resumed cannot be read.
        KeyRefused: over ``tcp://``, the daemon does not take this client's key, or is not the one that it is for.
        DaemonNotInstalled, DaemonUnavailable, VersionMismatch: only if strict.
    """

    def __init__(
        self,
        env: gym.Env[ObsType, ActType],
        buffer_length: arguments.Whole | None = 100,
        stats_key: str = "episode",
        *,
        folder: arguments.Folder | None = None,
        resume: bool = False,
        if_exists: IfExists = "new",
        strict: bool = False,
        info_keywords: Sequence[str] = (),
    ) -> None:
        arguments.check_single(env, "RecordEpisodeStatistics")
        buffer_length = arguments.buffer_length(buffer_length)
        folder = None if folder is None else arguments.folder(folder)
        if_exists, strict = arguments.where_a_run_is(resume, if_exists), arguments.flag("strict", strict)
        self._value_names = value_names(info_keywords)
        RecordConstructorArgs.__init__(
            self,
            buffer_length=buffer_length,
            stats_key=stats_key,
            folder=folder,
            if_exists=if_exists,
            strict=strict,
            info_keywords=list(info_keywords),  # as it comes back from the JSON of a spec
        )
        gym.Wrapper.__init__(self, env)
        self._stats_key = stats_key
        self._episode = -1
        self.episode_start_time: float = -1
        self.episode_returns: Any = 0.0
        self.episode_lengths: Any = 0
        self.time_queue: deque[float]
        self.return_queue: deque[float]
        self.length_queue: deque[int]
        self.episode_count: int
        num_envs = readings.number_of_envs(env)
        self._batch = None if num_envs is None else BatchSums(num_envs, env.metadata.get("autoreset_mode"))
        self._set_up_statistics(buffer_length, folder, if_exists, strict=strict)
        self._over = True  # whether the next step is the first of an episode
        self._autoreset = shared_stream.autoreset_beneath(env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Reset the env and start the sums anew; if it steps many at once, the sums of those that are reset."""
        which = None if self._batch is None else readings.reset_mask(options, len(self._batch.lengths))
        obs, info = super().reset(seed=seed, options=options)
        self._end_if_limited()
        self._looks_ahead = False
        if self._batch is None or which is None or self._over:
            self._begin(time.perf_counter(), seed)
        else:
            self._batch.restart(seed, which)
        return obs, info

    def _go_on_from(self, episodes: Mapping[int, int]) -> None:
        self._episode = episodes.get(0, -1)
        if self._batch is not None:
            self._batch.go_on_from(episodes)

    def _begin(self, now: float, seed: int | None = None) -> None:
        self._open_stream()
        self._over = False
        self._episode += not self._looks_ahead
        self._seed = seed
        self.episode_start_time = now
        self.episode_returns = 0.0
        self.episode_lengths = 0
        if self._batch is not None:
            self._batch.restart(seed)

    def step(self, action: ActType) -> tuple[ObsType, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the env; at the episode's end, fill ``info`` and the queues and send the record."""
        if self._over:
            return self._first_step(action)
        return self._count(self.env.step(action))

    def _first_step(self, action: ActType) -> tuple[ObsType, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the env without a reset before it: after an episode's end, or if the env was wrapped after its reset."""
        resets = self._autoreset is not None and self._autoreset.autoreset
        start = time.perf_counter()
        result = super().step(action)
        if resets:
            self._begin(time.perf_counter())
            return result
        self._begin(start)
        return self._count(result)

    def _count(
        self, result: tuple[ObsType, SupportsFloat, bool, bool, dict[str, Any]]
    ) -> tuple[ObsType, SupportsFloat, bool, bool, dict[str, Any]]:
        _, reward, terminated, truncated, info = result
        if self._batch is not None:
            self._step_batch(self._batch, reward, terminated, truncated, info)
            return result
        self.episode_returns = readings.added(self.episode_returns, reward)
        self.episode_lengths += 1
        over = readings.over(terminated, truncated)
        if over is None:
            self._cannot_tell(terminated)
        elif over:
            duration = round(time.perf_counter() - self.episode_start_time, 6)
            self._tell(info, {"r": self.episode_returns, "l": self.episode_lengths, "t": duration})
            self._over = True
            self._end_episode(
                env_index=0,
                episode=self._episode,
                return_=self.episode_returns,
                length=self.episode_lengths,
                duration=duration,
                terminated=readings.flag(terminated) is True,
                truncated=readings.flag(truncated) is True,
                seed=self._seed,
                values=values_of(info, self._value_names),
            )
            self._record_ended()
            self.episode_start_time = time.perf_counter()
        return result

    def _end_if_limited(self) -> None:
        """Record an episode that a TimeLimit outside has ended as unfinished: in no queue, and with no flag set."""
        if self._over or self._looks_ahead or self._stream is None or self._batch or not self.episode_lengths:
            return
        limit = shared_stream.limit_outside()
        if limit is None or self.episode_lengths < limit:
            return
        self._over = True
        self._keep_record(
            env_index=0,
            episode=self._episode,
            return_=self.episode_returns,
            length=self.episode_lengths,
            duration=round(time.perf_counter() - self.episode_start_time, 6),
            terminated=False,
            truncated=False,
            seed=self._seed,
        )
        self._record_ended()
        self._stream.warn_once(
            f"a TimeLimit of {limit} steps is outside of RecordEpisodeStatistics, which cannot see it: "
            "such episodes are recorded as unfinished. Put the TimeLimit inside.",
            about="a limit outside",
        )

    def _step_batch(self, batch: BatchSums, reward: Any, terminated: Any, truncated: Any, info: Any) -> None:  # noqa: ANN401 - of any kind
        """Add a step of an env that steps many at once, and report the episodes that ended in it."""
        ended = batch.add(reward, terminated, truncated)
        self.episode_returns, self.episode_lengths = batch.returns, batch.lengths
        if ended is None:
            self._cannot_tell(terminated)
        elif ended["env_index"].size:
            places, count = ended["env_index"], len(batch.lengths)
            values = columns_of(info, self._value_names, places, count) if self._stream is not None else None
            self._end_episodes(ended, np.isin(np.arange(count), places), info, batch.odd_seeds, values)

    def close(self) -> None:
        """Close the env, and return when the daemon has committed every episode.

        Raises:
            RecordingLost: if strict, where something is not recorded.
        """
        try:
            super().close()
        finally:  # the env may raise
            self._end_if_limited()
            self._release_stream()
