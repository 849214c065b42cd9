"""What the single and the vector RecordEpisodeStatistics share: the queues, and the record for the daemon."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from gymnasium import logger

from offcam.recorder import env_stream, settings
from offcam.recorder.clip_writer import as_float
from offcam.wrappers import shared_stream
from offcam_proto.errors import OffcamError
from offcam_proto.limits import MAX_INT
from offcam_proto.records import EpisodeRecord

if TYPE_CHECKING:
    from offcam.recorder.env_stream import EnvStream


class StatisticsBase(shared_stream.StreamSharer):
    """The reporting half of a RecordEpisodeStatistics wrapper; its other base is a Gymnasium wrapper."""

    env: Any

    def _set_up_statistics(self, buffer_length: int | None, *, strict: bool) -> None:
        self.episode_count = 0
        self.time_queue: deque[Any] = deque(maxlen=buffer_length)
        self.return_queue: deque[Any] = deque(maxlen=buffer_length)
        self.length_queue: deque[Any] = deque(maxlen=buffer_length)
        self._seed: object = None
        self._ended: list[EpisodeRecord] = []
        self._reporting = settings.enabled()
        self._strict = False
        if self._reporting:
            self._strict = strict or settings.required()
            env_stream.check_daemon(strict=self._strict)  # what is wrong with its address is said now, not in the loop
            found = shared_stream.stream_beneath(self.env)
            if found is not None:
                self._stream = found.acquire(self, strict=self._strict)
                if self._strict:
                    found.open()  # it may have been opened by one that does not insist

    def _adopt(self, stream: EnvStream) -> None:
        if self._stream is None and self._reporting:
            self._stream = stream.acquire(self, strict=self._strict)

    def _open_stream(self) -> None:
        """Open a stream of its own at the first reset, if no RecordVideo has come to be joined by then."""
        if self._stream is not None or not self._reporting:
            return
        folder = shared_stream.training_folder(self.env)
        self._stream = shared_stream.new_stream(self.env, folder).acquire(self, strict=self._strict)
        try:
            self._stream.open()
        except OffcamError as error:  # after construction nothing is raised; the sums go on in this process
            if self._strict:
                raise
            if self._stream.attached:
                logger.warn(f"the recorder daemon does not take the episode statistics in yet: {error}")
            else:  # there is no daemon that could come back
                logger.warn(f"episode statistics are kept in this process only: {error}")
                self._stream = None

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
    ) -> None:
        self.time_queue.append(duration)
        self.return_queue.append(return_)
        self.length_queue.append(length)
        self.episode_count += 1
        if self._stream is not None:
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
                    seed=_as_seed(seed),
                )
            )

    def _record_ended(self) -> None:
        """Keep the records of all episodes that ended in this step, together."""
        ended, self._ended = self._ended, []
        if self._stream is not None and ended:
            self._stream.record(*ended)


def _as_seed(seed: object) -> int | str | None:
    if seed is None:
        return None
    try:
        number: int = int(seed)  # type: ignore[call-overload]  # a numpy integer too; anything else is shown as text
        return number if -MAX_INT <= number <= MAX_INT else str(number)[:200]
    except (TypeError, ValueError):  # also what Python says to more than 4300 digits
        return hex(seed)[:200] if isinstance(seed, int) else ascii(seed)[:200]
