"""In which order the clips of a stream begin to be encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offcamd.encode.budget import StreamMemory
    from offcamd.encode.job import ClipJob

CLIPS_FOR_ONE_MORE = 8
"""While somebody waits, so many clips that wait to begin are worth it to start one more process for them."""


class StreamOrder:
    """Says which clips may begin. Not thread-safe.

    Each clip that has begun and is not finished has an encoder, with its memory. Where encoding gives way, hundreds may
    wait; so of a stream's ended clips one is encoded after the other, and the next one begins behind them. Clips that
    are recorded at the same time begin side by side, as none of them has ended.
    """

    def __init__(self) -> None:
        self._unfinished: dict[StreamMemory, dict[ClipJob, None]] = {}

    def add(self, job: ClipJob) -> None:
        """Take in a clip, behind those of its stream that were opened before."""
        self._unfinished.setdefault(job.stream, {})[job] = None

    def remove(self, job: ClipJob) -> None:
        """Let go of a clip that is final."""
        jobs = self._unfinished.get(job.stream, {})
        jobs.pop(job, None)
        if not jobs:
            self._unfinished.pop(job.stream, None)

    def may_begin(self, job: ClipJob, processes: int, *, urgent: bool) -> bool:
        """Whether a clip that has not begun may.

        Args:
            job: the clip.
            processes: how many processes run.
            urgent: whether somebody waits, so that a stream's clips are encoded by several processes at once.
        """
        jobs = self._unfinished.get(job.stream, {})
        most = max(processes, 1 + len(jobs) // CLIPS_FOR_ONE_MORE) if urgent else 1
        return sum([each.worker is not None and each.ended for each in jobs]) < most

    def waiting(self, stream: StreamMemory) -> list[ClipJob]:
        """The clips of a stream that have not begun, in order."""
        return [job for job in self._unfinished.get(stream, {}) if job.worker is None]

    def __iter__(self) -> Iterator[StreamMemory]:
        """The streams that have clips which are not finished."""
        return iter(list(self._unfinished))
