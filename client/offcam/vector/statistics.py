"""``RecordEpisodeStatistics`` for a vector env."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.core import ActType, ObsType
from gymnasium.vector import AutoresetMode, VectorEnv

from offcam import logger
from offcam.recorder import readings
from offcam.vector.autoreset import autoreset_mode
from offcam.vector.vector_wrapper import VectorWrapper
from offcam.wrappers import arguments
from offcam.wrappers.ended_episodes import Ended
from offcam.wrappers.episode_values import columns_of, value_names
from offcam.wrappers.statistics_base import StatisticsBase
from offcam_proto.limits import MAX_INT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from offcam.recorder.resuming import IfExists


class RecordEpisodeStatistics(StatisticsBase, VectorWrapper[ObsType, ActType, ObsType, ActType, np.ndarray]):
    """Sum up each sub-environment's episodes, as Gymnasium's vector wrapper does, and record them in the run's index.

    When episodes end, ``infos["episode"]`` is ``{"r": returns, "l": lengths, "t": seconds}``, arrays of shape
    ``(num_envs,)`` (float64, int64, float64) that are 0 where none ended, and ``infos["_episode"]`` the bool
    array that says where. The queues and the run's index get the same numbers.

    It differs from Gymnasium's where that is wrong: after ``reset(options={"reset_mask": mask})`` under DISABLED
    autoreset, only the sums of the masked sub-environments start anew. Gymnasium restarts all sums, as the env beneath
    has taken the mask out of ``options`` by the time the wrapper looks.

    Thread: that of the env.

    Attributes:
        time_queue: durations of the last ``buffer_length`` episodes, in seconds.
        return_queue: their returns.
        length_queue: their lengths, in steps.
        episode_count: number of finished episodes.
        episode_start_times: float64 ``(num_envs,)``, `time.perf_counter` at each episode's start, in seconds.
        episode_returns: float64 ``(num_envs,)``, sums of rewards so far.
        episode_lengths: int64 ``(num_envs,)``, steps so far.
        prev_dones: bool ``(num_envs,)``, where an episode ended in the last step.

    Args:
        env: the vector environment.
        buffer_length: length of the queues; None for no bound.
        stats_key: key of ``infos`` for the statistics.
        folder: the run folder; by default it is found as `offcam.RecordEpisodeStatistics` says.
        resume, if_exists: as in `offcam.RecordVideo`, for a ``folder`` that is given.
        strict: as in `offcam.RecordEpisodeStatistics`.
        info_keywords: as in `offcam.RecordEpisodeStatistics`; read from ``infos``, under SAME_STEP autoreset from its
            ``final_info``.

    Raises:
        TypeError: ``env`` is no vector env, or its ``metadata["autoreset_mode"]`` no `AutoresetMode`.
        ConfigError: ``buffer_length``, ``folder`` or an environment variable is wrong.
        FolderNotWritable: the folder cannot be made or written.
        RunFolderError: the index of a run that is to be resumed cannot be read.
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
        resume: bool = False,
        if_exists: IfExists = "new",
        strict: bool = False,
        info_keywords: Sequence[str] = (),
    ) -> None:
        arguments.check_vector(env, "RecordEpisodeStatistics")
        buffer_length = arguments.buffer_length(buffer_length)
        folder = None if folder is None else arguments.folder(folder)
        if_exists, strict = arguments.where_a_run_is(resume, if_exists), arguments.flag("strict", strict)
        self._value_names = value_names(info_keywords)
        super().__init__(env)
        self._stats_key = stats_key
        self._autoreset_mode = self._find_autoreset_mode()
        self.episode_start_times = np.zeros(self.num_envs)
        self.episode_returns = np.zeros(self.num_envs)
        self.episode_lengths = np.zeros(self.num_envs, dtype=int)
        self.prev_dones = np.zeros(self.num_envs, dtype=bool)
        self._episodes = np.full(self.num_envs, -1)
        self._seeds = np.zeros(self.num_envs, dtype=np.int64)
        self._seeded: NDArray[np.bool_] | None = None  # where episodes have a seed, None for nowhere
        self._odd_seeds: dict[int, object] = {}  # by sub-environment, seeds that are no integers of 63 bits
        self._most = 0  # an upper bound of the episodes' lengths and numbers so far
        self._begun = False  # whether it was reset or stepped; the env may have been reset before it was wrapped
        self._set_up_statistics(buffer_length, folder, if_exists, strict=strict)

    def _go_on_from(self, episodes: Mapping[int, int]) -> None:
        self._episodes = np.array([episodes.get(index, -1) for index in range(self.num_envs)])
        self._most += max(int(self._episodes.max()), 0)

    def _find_autoreset_mode(self) -> AutoresetMode:
        mode = autoreset_mode(self.env)
        if mode is None and "autoreset_mode" not in self.env.metadata:
            logger.warn(
                f"{self} is missing `autoreset_mode` tag in its metadata, therefore, `RecordEpisodeStatistics` is "
                "assuming that the environment uses `AutoresetMode.NEXT_STEP`. See "
                "`https://farama.org/Vector-Autoreset-Mode` for more information on autoreset modes."
            )
            return AutoresetMode.NEXT_STEP
        if not isinstance(mode, AutoresetMode):
            raise TypeError(f"Expected env.metadata['autoreset_mode'] to be an AutoresetMode, got {type(mode)}")
        return mode

    def reset(
        self, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Reset the sub-environments, or those of ``options["reset_mask"]``, and start their sums anew."""
        given = None if options is None else options.get("reset_mask")
        if not isinstance(given, np.ndarray) and hasattr(given, "__dlpack_device__"):
            given = None  # a tensor, as simulators' vector envs take, is theirs to check
        known = readings.reset_mask(options, self.num_envs) if given is None else np.array(given)
        mask = np.ones(self.num_envs, dtype=bool) if known is None else known
        obs, info = super().reset(seed=seed, options=options)  # type: ignore[arg-type]  # vector envs take a list, too
        if given is not None:
            self._check_mask(given)
        self._looks_ahead, self._begun = False, True
        self._most += 1
        self._open_stream()
        if (places := readings.places(info, self.num_envs)) is not None:  # a pool's other resets come with later steps
            begun = np.isin(np.arange(self.num_envs), places)
            self.prev_dones[mask & ~begun] = True
            mask &= begun
        self.prev_dones[mask] = False
        (where,) = mask.nonzero()
        self._restart(where)
        self._episodes[(self._episodes < 0) & ~self.prev_dones] = 0  # the others were reset before they were wrapped
        self._note_seeds(seed, where)
        return obs, info

    def _note_seeds(self, seed: object, where: NDArray[np.intp]) -> None:
        """Note the seeds that sub-environments were given; from a single seed, vector envs count up."""
        if seed is None:
            return
        if self._seeded is None:
            self._seeded = np.zeros(self.num_envs, dtype=bool)
        if isinstance(seed, (int, np.integer)) and abs(int(seed)) <= MAX_INT - self.num_envs:
            self._seeds[where] = int(seed) + where
            self._seeded[where] = True
            return
        for index in where.tolist():
            given = _seed_of(seed, index)
            if isinstance(given, (int, np.integer)) and abs(int(given)) <= MAX_INT:
                self._seeds[index], self._seeded[index] = given, True
            elif given is not None:
                self._odd_seeds[index] = given

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
            self._restart(np.arange(self.num_envs))
        obs, rewards, terminations, truncations, infos = self.env.step(actions)
        count = self.episode_returns.size  # is cheaper than `num_envs`, which asks each wrapper beneath
        if (places := readings.places(infos, count)) is not None:
            self._step_some(places, rewards, terminations, truncations, infos)
            return obs, rewards, terminations, truncations, infos
        self._add(readings.each(rewards, count, readings.FLOAT))
        terminated = readings.each(terminations, count, readings.BOOL)
        truncated = readings.each(truncations, count, readings.BOOL)
        if terminated is None or truncated is None:
            self._cannot_tell(terminations)
            self.prev_dones = np.zeros(self.num_envs, dtype=bool)
            return obs, rewards, terminations, truncations, infos
        dones = np.logical_or(terminated, truncated)
        self.prev_dones = dones
        (ended,) = dones.nonzero()
        if ended.size:
            values = columns_of(infos, self._value_names, ended, count) if self._stream is not None else None
            self._finish(ended, dones, terminated, truncated, infos, values)
        return obs, rewards, terminations, truncations, infos

    def _add(self, rewards: NDArray[Any] | None) -> None:
        """Add a step to each sum. Under NEXT_STEP and DISABLED the step after an episode's end counts as its reset."""
        self.episode_returns += np.nan if rewards is None else rewards  # unreadable rewards make the sums NaN
        self.episode_lengths += 1
        self._most += 1
        if self._autoreset_mode is not AutoresetMode.SAME_STEP and self.prev_dones.any():
            self._restart(self.prev_dones.nonzero()[0])

    def _restart(self, where: NDArray[np.intp]) -> None:
        self.episode_returns[where] = 0
        self.episode_lengths[where] = 0
        self.episode_start_times[where] = time.perf_counter()
        self._episodes[where] += 1
        if self._seeded is not None:
            self._seeded[where] = False
            self._seeded = self._seeded if self._seeded.any() else None
        if self._odd_seeds:
            for index in where.tolist():
                self._odd_seeds.pop(index, None)

    def _step_some(
        self,
        places: NDArray[np.intp],
        rewards: object,
        terminations: object,
        truncations: object,
        infos: Any,  # noqa: ANN401 - whatever the env gives
    ) -> None:
        """Add a step of some sub-environments: of those that were ready in a pool, as EnvPool with a ``batch_size``."""

        def of_all(some: NDArray[Any] | None) -> NDArray[Any]:
            whole: NDArray[Any] = np.zeros(self.num_envs, float if some is None else some.dtype)
            whole[places] = np.nan if some is None else some
            return whole

        absent = ~np.isin(np.arange(self.num_envs), places)
        to_reset = self.prev_dones & absent
        self.prev_dones = self.prev_dones & ~absent
        self._add(of_all(readings.each(rewards, len(places), readings.FLOAT)))
        self.episode_lengths[absent] -= 1
        self.prev_dones = to_reset
        terminated = readings.each(terminations, len(places), readings.BOOL)
        truncated = readings.each(truncations, len(places), readings.BOOL)
        if terminated is None or truncated is None:
            self._cannot_tell(terminations)
            return
        dones = of_all(terminated | truncated)
        self.prev_dones = dones | to_reset
        (ended,) = dones.nonzero()
        if ended.size:
            told: dict[str, Any] = {}
            rows = np.zeros(self.num_envs, np.intp)
            rows[places] = np.arange(len(places))
            values = columns_of(infos, self._value_names, rows[ended], len(places))
            self._finish(ended, dones, of_all(terminated), of_all(truncated), told, values)
            statistics = {name: column[places] for name, column in told[self._stats_key].items()}
            self._tell(infos, statistics, dones[places])

    def _finish(
        self,
        ended: NDArray[np.intp],
        dones: NDArray[np.bool_],
        terminations: NDArray[np.bool_],
        truncations: NDArray[np.bool_],
        infos: dict[str, Any],
        values: Mapping[str, NDArray[np.float64]] | None,
    ) -> None:
        over = Ended(
            env_index=ended,
            episode=self._episodes[ended],
            return_=self.episode_returns[ended],
            length=self.episode_lengths[ended],
            duration=(time.perf_counter() - self.episode_start_times[ended]).round(6),
            terminated=terminations[ended],
            truncated=truncations[ended],
            seed=None if self._seeded is None else self._seeds[ended],
            seeded=None if self._seeded is None else self._seeded[ended],
        )
        self._end_episodes(over, dones, infos, self._odd_seeds, values, most=self._most)
        if self._autoreset_mode is AutoresetMode.SAME_STEP:
            self._restart(ended)

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
    """The seed that one sub-environment was given; from a single seed, vector envs count up."""
    if isinstance(seed, (int, np.integer)):
        return int(seed) + index
    if isinstance(seed, (list, tuple)):
        return seed[index]
    return None
