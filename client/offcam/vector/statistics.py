"""``RecordEpisodeStatistics`` for a vector env."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import logger
from gymnasium.core import ActType, ObsType
from gymnasium.vector import AutoresetMode, VectorEnv

from offcam.recorder import readings
from offcam.vector.vector_wrapper import VectorWrapper
from offcam.wrappers import arguments
from offcam.wrappers.statistics_base import StatisticsBase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from offcam.recorder.resuming import IfExists


class RecordEpisodeStatistics(StatisticsBase, VectorWrapper[ObsType, ActType, ObsType, ActType, np.ndarray]):
    """Sum up each sub-environment's episodes, as Gymnasium's vector wrapper does, and tell the daemon.

    When episodes end, ``infos["episode"]`` is ``{"r": returns, "l": lengths, "t": seconds}``, arrays of shape
    ``(num_envs,)`` (float64, int64, float64) that are 0 where none ended, and ``infos["_episode"]`` the bool
    array that says where. The queues and the run's index get the same numbers.

    Where Gymnasium's is wrong: after ``reset(options={"reset_mask": mask})`` under DISABLED autoreset, only
    the masked sub-environments start anew (Gymnasium restarts all their sums: the env beneath has taken the
    mask out of ``options`` by the time it looks).

    Thread: that of the env.

    Attributes:
        time_queue: seconds of the last ``buffer_length`` episodes.
        return_queue: their returns.
        length_queue: their lengths, in steps.
        episode_count: episodes finished.
        episode_start_times: float64 ``(num_envs,)``, `time.perf_counter` at each episode's start.
        episode_returns: float64 ``(num_envs,)``, sums of rewards so far.
        episode_lengths: int64 ``(num_envs,)``, steps so far.
        prev_dones: bool ``(num_envs,)``, where an episode ended in the last step.

    Args:
        env: the vector environment.
        buffer_length: length of the queues; None for no bound.
        stats_key: key of ``infos`` for the statistics.
        folder: the run folder; else it is found as `offcam.RecordEpisodeStatistics` says.
        if_exists: as in `offcam.RecordVideo`, of a ``folder`` that was given.
        strict: as in `offcam.RecordEpisodeStatistics`.

    Raises:
        TypeError: ``env`` is no vector env, or its ``metadata["autoreset_mode"]`` no `AutoresetMode`.
        ConfigError: ``buffer_length``, ``folder`` or an environment variable is wrong.
        FolderNotWritable: the folder cannot be made or written.
        KeyRefused: over ``tcp://``, the daemon does not take this client's key, or is not the one that it is for.
        DaemonNotInstalled, DaemonUnavailable, VersionMismatch: only if strict.
    """

    def __init__(
        self,
        env: VectorEnv[ObsType, ActType, np.ndarray],
        buffer_length: arguments.Whole | None = 100,
        stats_key: str = "episode",
        *,
        folder: arguments.Folder | None = None,
        if_exists: IfExists = "new",
        strict: bool = False,
    ) -> None:
        arguments.check_vector(env, "RecordEpisodeStatistics")
        buffer_length = arguments.buffer_length(buffer_length)
        folder = None if folder is None else arguments.folder(folder)
        super().__init__(env)
        self._stats_key = stats_key
        self._autoreset_mode = self._find_autoreset_mode()
        self.episode_start_times = np.zeros(self.num_envs)
        self.episode_returns = np.zeros(self.num_envs)
        self.episode_lengths = np.zeros(self.num_envs, dtype=int)
        self.prev_dones = np.zeros(self.num_envs, dtype=bool)
        self._episodes = np.full(self.num_envs, -1)
        self._seeds: list[object] = [None] * self.num_envs
        self._begun = False  # whether it was reset, or stepped: it may be put around an env that was reset before
        self._set_up_statistics(buffer_length, folder, if_exists, strict=strict)

    def _go_on_from(self, episodes: Mapping[int, int]) -> None:
        self._episodes = np.array([episodes.get(index, -1) for index in range(self.num_envs)])

    def _find_autoreset_mode(self) -> AutoresetMode:
        if "autoreset_mode" not in self.env.metadata:
            logger.warn(
                f"{self} is missing `autoreset_mode` tag in its metadata, therefore, `RecordEpisodeStatistics` is "
                "assuming that the environment uses `AutoresetMode.NEXT_STEP`. See "
                "`https://farama.org/Vector-Autoreset-Mode` for more information on autoreset modes."
            )
            return AutoresetMode.NEXT_STEP
        mode = self.env.metadata["autoreset_mode"]
        if not isinstance(mode, AutoresetMode):
            raise TypeError(f"Expected env.metadata['autoreset_mode'] to be an AutoresetMode, got {type(mode)}")
        return mode

    def reset(
        self, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Reset the sub-environments, or those of ``options["reset_mask"]``, and start their sums anew."""
        given = None if options is None else options.get("reset_mask")
        mask = np.ones(self.num_envs, dtype=bool) if given is None else np.array(given)
        obs, info = super().reset(seed=seed, options=options)  # type: ignore[arg-type]  # vector envs take a list, too
        if given is not None:
            self._check_mask(given)
        self._looks_ahead, self._begun = False, True
        self._open_stream()
        self.prev_dones[mask] = False
        self._restart(mask)
        for index in np.flatnonzero(mask):
            self._seeds[index] = _seed_of(seed, int(index))
        return obs, info

    def _check_mask(self, mask: object) -> None:
        if not isinstance(mask, np.ndarray):
            raise TypeError(f"`options['reset_mask']` must be a numpy array, got {type(mask)}")
        if mask.shape != (self.num_envs,):
            raise ValueError(f"`options['reset_mask']` must have shape `({self.num_envs},)`, got {mask.shape}")
        if mask.dtype != np.bool_:
            raise TypeError(f"`options['reset_mask']` must have `dtype=np.bool_`, got {mask.dtype}")
        if not mask.any():
            raise ValueError(
                f"`options['reset_mask']` must contain a boolean array with at least one True value, "
                f"got reset_mask={mask}"
            )

    def step(self, actions: ActType) -> tuple[ObsType, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Step the sub-environments; where episodes end, fill ``infos`` and the queues and send the records."""
        if not self._begun:
            self._begun = True
            self._open_stream()
            self._restart(np.ones(self.num_envs, dtype=bool))
        obs, rewards, terminations, truncations, infos = self.env.step(actions)
        self._add(readings.each(rewards, self.num_envs, float))
        terminated = readings.each(terminations, self.num_envs, bool)
        truncated = readings.each(truncations, self.num_envs, bool)
        if terminated is None or truncated is None:
            self._cannot_tell(terminations)
            self.prev_dones = np.zeros(self.num_envs, dtype=bool)
            return obs, rewards, terminations, truncations, infos
        dones = np.logical_or(terminated, truncated)
        self.prev_dones = dones
        if dones.any():
            self._finish(dones, terminated, truncated, infos)
        return obs, rewards, terminations, truncations, infos

    def _add(self, rewards: NDArray[Any] | None) -> None:
        """Add a step to each sum; under NEXT_STEP and DISABLED the step after an end is a reset, not a step."""
        if rewards is None:  # unknown from here on
            rewards = np.full(self.num_envs, np.nan)
        if self._autoreset_mode is AutoresetMode.SAME_STEP or not self.prev_dones.any():
            self.episode_returns += rewards
            self.episode_lengths += 1
            return
        running = ~self.prev_dones
        self.episode_returns[running] += rewards[running]
        self.episode_lengths[running] += 1
        self._restart(self.prev_dones)

    def _restart(self, which: NDArray[np.bool_]) -> None:
        self.episode_returns[which] = 0
        self.episode_lengths[which] = 0
        self.episode_start_times[which] = time.perf_counter()
        self._episodes[which] += 1
        for index in np.flatnonzero(which):
            self._seeds[index] = None

    def _finish(
        self,
        dones: NDArray[np.bool_],
        terminations: NDArray[np.bool_],
        truncations: NDArray[np.bool_],
        infos: dict[str, Any],
    ) -> None:
        durations = np.round(time.perf_counter() - self.episode_start_times, 6)
        statistics = {
            "r": np.where(dones, self.episode_returns, 0.0),
            "l": np.where(dones, self.episode_lengths, 0),
            "t": np.where(dones, durations, 0.0),
        }
        self._tell(infos, statistics, dones)
        for index in np.flatnonzero(dones):
            self._end_episode(
                env_index=int(index),
                episode=int(self._episodes[index]),
                return_=self.episode_returns[index],
                length=self.episode_lengths[index],
                duration=durations[index],
                terminated=terminations[index],
                truncated=truncations[index],
                seed=self._seeds[index],
            )
        self._record_ended()
        if self._autoreset_mode is AutoresetMode.SAME_STEP:
            self._restart(dones)

    def close(self, **kwargs: Any) -> None:  # noqa: ANN401 - as Gymnasium's
        """Close the env, and return when the daemon has committed every episode.

        Raises:
            RecordingLost: if strict, where something is not recorded.
        """
        try:
            super().close(**kwargs)
        finally:  # the env may raise
            self._release_stream()


def _seed_of(seed: object, index: int) -> object:
    """The seed that one sub-environment was given: vector envs count up from a single one."""
    if isinstance(seed, (int, np.integer)):
        return int(seed) + index
    if isinstance(seed, (list, tuple)):
        return seed[index]
    return None
