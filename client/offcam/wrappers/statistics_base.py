"""What the single and the vector RecordEpisodeStatistics share: the queues, and the record for the daemon."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from offcam import logger
from offcam.recorder import env_stream, readings, settings
from offcam.recorder.readings import as_float
from offcam.wrappers import shared_stream
from offcam.wrappers.ended_episodes import as_seed, records_of
from offcam_proto.errors import OffcamError
from offcam_proto.records import EpisodeRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offcam.recorder.env_stream import EnvStream
    from offcam.recorder.resuming import IfExists
    from offcam.wrappers.ended_episodes import Ended


class StatisticsBase(shared_stream.StreamSharer):
    """The reporting half of a RecordEpisodeStatistics wrapper; its other base is a Gymnasium wrapper."""

    env: Any
    _stats_key: str

    def _set_up_statistics(
        self, buffer_length: int | None, folder: str | None, if_exists: IfExists, *, strict: bool
    ) -> None:
        self.episode_count = 0
        self.time_queue: deque[Any] = deque(maxlen=buffer_length)
        self.return_queue: deque[Any] = deque(maxlen=buffer_length)
        self.length_queue: deque[Any] = deque(maxlen=buffer_length)
        self._seed: object = None
        self._ended: list[EpisodeRecord] = []
        self._told = False
        self._reporting = settings.enabled()
        self._strict = False
        self._own: EnvStream | None = None  # opened at the first reset
        self._folder = None if folder is None else settings.absolute(folder)
        if self._reporting:
            if self._folder is not None and settings.records_here():
                settings.make_run_folder(self._folder)
            self._strict = strict or settings.required()
            env_stream.check_daemon(strict=self._strict)  # a wrong address is an error now, not in the loop
            if self._folder is not None:
                self._own = shared_stream.new_stream(self.env, self._folder, if_exists=if_exists, strict=self._strict)
            found = shared_stream.stream_beneath(self.env)
            if found is not None and self._folder in (None, found.folder):
                self._stream = found.acquire(self, strict=self._strict)
                found.has_statistics = True
                self._go_on(found)
                if self._strict:
                    found.open()  # it may have been opened by a wrapper that is not strict

    def _adopt(self, stream: EnvStream) -> None:
        if self._stream is None and self._reporting and self._folder in (None, stream.folder):
            self._stream = stream.acquire(self, strict=self._strict)
            stream.has_statistics = True
            self._go_on(stream)

    def _go_on(self, stream: EnvStream) -> None:
        if stream.before is not None:
            self._go_on_from(stream.before.episodes)

    def _go_on_from(self, episodes: Mapping[int, int]) -> None:
        """Count on from the last episode of each sub-environment of a session that is resumed."""

    def _open_stream(self) -> None:
        """Open a stream of its own at the first reset, unless there is a RecordVideo whose stream can be joined."""
        if self._stream is not None or not self._reporting or self._looks_ahead:
            return
        own = self._own or shared_stream.new_stream(self.env, shared_stream.training_folder(self.env))
        self._stream = own.acquire(self, strict=self._strict)
        self._go_on(own)
        try:
            self._stream.open()
        except OffcamError as error:  # after construction nothing is raised; the sums go on in this process
            if self._strict:
                raise
            if self._stream.attached:
                logger.warn(f"the recorder daemon does not take the episode statistics in yet: {error}")
            else:  # no daemon is there, and none can come back later
                logger.warn(f"episode statistics are kept in this process only: {error}")
                self._stream = None

    def _tell(self, info: Any, statistics: dict[str, Any], which: Any = None) -> None:  # noqa: ANN401 - whatever the env gives
        """Put an episode's statistics into ``info``, unless a wrapper beneath has done so, or ``info`` is no dict."""
        key = self._stats_key
        if not isinstance(info, dict) or key in info or (which is not None and f"_{key}" in info):
            return
        info[key] = statistics
        if which is not None:
            info[f"_{key}"] = which.copy()  # a later reset may clear the wrapper's own in place

    def _cannot_tell(self, flags: object) -> None:
        """Say once that an env's flags do not tell when its episodes end."""
        if self._told:
            return
        self._told = True
        where = "in a device's memory, and reading them would make each step wait for it"
        why = (
            where if readings.on_device(flags) else f"a {type(flags).__name__}, of which none tells about the whole env"
        )
        logger.warn(
            f"no episode of {self.env} is recorded, as nobody can tell when one ends: its flags are {why}. Give "
            "them as bools, or as numpy arrays `(num_envs,)` and the env its `num_envs`, in a wrapper beneath this one."
        )

    def _end_episodes(
        self,
        ended: Ended,
        which: NDArray[np.bool_],
        info: Any,  # noqa: ANN401 - whatever the env gives
        odd_seeds: Mapping[int, object],
        values: Mapping[str, NDArray[np.float64]] | None,
        *,
        most: int | None = None,
    ) -> None:
        """Report the episodes of many envs that ended in one step: fill ``info`` and the queues, and keep the records.

        Args:
            ended: the episodes, at least one.
            which: bool ``(num_envs,)``, in which envs an episode ended.
            info: info of the step.
            odd_seeds: as `records_of` takes them.
            values: as `records_of` takes them.
            most: as `records_of` takes it.
        """
        places, durations = ended["env_index"], ended["duration"]
        returns, lengths = ended["return_"], ended["length"]
        statistics = {
            "r": _spread(which.size, places, returns),
            "l": _spread(which.size, places, lengths),
            "t": _spread(which.size, places, durations),
        }
        self._tell(info, statistics, which)
        room = self.time_queue.maxlen
        last = slice(None if room is None else max(places.size - room, 0), None)
        self.time_queue.extend(durations[last].flat)  # takes half as long as extending by the array itself
        self.return_queue.extend(returns[last].flat)
        self.length_queue.extend(lengths[last].flat)
        self.episode_count += places.size
        if self._stream is not None and not self._looks_ahead:
            self._stream.record(*records_of(ended, time.time(), odd_seeds, most=most, values=values))

    def _end_episode(
        self,
        *,
        env_index: int,
        episode: int,
        return_: Any,  # noqa: ANN401 - the env's own numeric type, as those below
        length: Any,  # noqa: ANN401
        duration: Any,  # noqa: ANN401
        terminated: bool,
        truncated: bool,
        seed: object,
        values: dict[str, float] | None = None,
    ) -> None:
        self.time_queue.append(duration)
        self.return_queue.append(return_)
        self.length_queue.append(length)
        self.episode_count += 1
        self._keep_record(
            env_index=env_index,
            episode=episode,
            return_=return_,
            length=length,
            duration=duration,
            terminated=terminated,
            truncated=truncated,
            seed=seed,
            values=values,
        )

    def _keep_record(
        self,
        *,
        env_index: int,
        episode: int,
        return_: Any,  # noqa: ANN401 - as above
        length: Any,  # noqa: ANN401
        duration: Any,  # noqa: ANN401
        terminated: bool,
        truncated: bool,
        seed: object,
        values: dict[str, float] | None = None,
    ) -> None:
        if self._stream is not None and not self._looks_ahead:
            self._ended.append(
                EpisodeRecord(
                    env_index=env_index,
                    episode=max(episode, 0),
                    return_=as_float(return_),
                    length=int(length),
                    duration=float(duration),
                    started=time.time() - float(duration),
                    terminated=bool(terminated),
                    truncated=bool(truncated),
                    seed=as_seed(seed),
                    info=values or {},
                )
            )

    def _record_ended(self) -> None:
        """Keep the records of all episodes that ended in this step, together."""
        ended, self._ended = self._ended, []
        if self._stream is not None and ended:
            self._stream.record(*ended)


def _spread(count: int, where: NDArray[np.int64], values: NDArray[Any]) -> NDArray[Any]:
    spread = np.zeros(count, values.dtype)
    spread[where] = values
    return spread
