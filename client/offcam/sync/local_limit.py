"""Bounds a run's folder on this host: videos, and then steps, that are in object storage go, the oldest first."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from offcam.sync.local_steps import evict_steps
from offcam_proto.errors import ConfigError
from offcam_proto.limits import MIB
from offcam_proto.sizes import parse_size
from offcam_runs.file_lock import FileLock
from offcam_runs.format import SYNC_NAME
from offcam_runs.objects.evicted import note_evicted, read_evicted
from offcam_runs.objects.segments import EndedVideo

if TYPE_CHECKING:
    from offcam.sync.local_steps import ShippedSteps
    from offcam_runs.objects.store import ObjectStore

MOST_BYTES: Final = 64 * MIB
"""Bytes of videos that are looked at before these are removed, unless one is larger: a sender may be stopped."""

_LOCK: Final = "evicted.lock"


class LocalFiles(NamedTuple):
    """What is on this host of a run.

    Attributes:
        folder_bytes: of all files in its folder.
        folder_limit: most bytes that are wanted.
        evicted_clips: clips whose files are in object storage alone.
        evicted_bytes: of those.
        evicted_steps: files of steps that are in object storage alone.
    """

    folder_bytes: int
    folder_limit: int
    evicted_clips: int
    evicted_bytes: int
    evicted_steps: int


class LocalLimit:
    """Keeps a run's folder below a limit. Thread: the one that sends the run.

    Args:
        folder: of the run.
        store: where the run is sent to.
        limit: most bytes of all files in the folder.
    """

    def __init__(self, folder: str, store: ObjectStore, limit: int) -> None:
        self._folder = folder
        self._store = store
        self._limit = limit
        self._said = False

    def hold(
        self, shipped: Iterable[tuple[str, EndedVideo]], shipped_steps: Callable[[], Iterable[ShippedSteps]]
    ) -> LocalFiles:
        """Remove files that are in the storage until the folder is below the limit, or none is left.

        A file that the storage has otherwise than it is here is sent again first.

        Args:
            shipped: clips' files with their keys, to which a manifest leads, in order of opening.
            shipped_steps: finds the files of steps that go once no such clip is left, in their order.

        Raises:
            ConfigError: the storage refuses it.
            RunFolderError: it cannot be reached, or nothing can be noted in the folder.
        """
        shipped = list(shipped)
        size = folder_bytes(self._folder)
        lock = FileLock.take(Path(self._folder, SYNC_NAME, _LOCK), 0o644) if size > self._limit else None
        if lock is not None:  # else it is small enough, or another process that sends this run does so now
            left = iter(shipped)
            try:
                while size > self._limit and (gone := self._evict(left, min(size - self._limit, MOST_BYTES))):
                    size -= gone
                left_steps = iter(shipped_steps() if size > self._limit else ())
                while size > self._limit and (gone := self._evict_steps(left_steps, size - self._limit)):
                    size -= gone
            finally:
                lock.release(remove=True)
        self._say(size)
        return self._facts(shipped, size)

    def _evict(self, left: Iterator[tuple[str, EndedVideo]], wanted: int) -> int:
        """Remove at least so many bytes of the next files, where there are as many. Returns how many."""
        found, size = list[tuple[EndedVideo, os.stat_result]](), 0
        for key, video in left:
            if (facts := self._seen(key, video)) is not None:
                found.append((video, facts))
                size += facts.st_size
            if size >= wanted:
                break
        if not found:
            return 0
        note_evicted(self._folder, self._store.place.url, [(video.stream, video.clip) for video, _ in found])
        for video, facts in found:
            path = os.path.join(self._folder, video.file)
            with suppress(OSError):
                if _same(os.lstat(path), facts):  # else the recorder has put another clip's there
                    os.unlink(path)
        return size

    def _evict_steps(self, left: Iterator[ShippedSteps], wanted: int) -> int:
        return evict_steps(self._folder, self._store, left, min(wanted, MOST_BYTES))

    def _seen(self, key: str, video: EndedVideo) -> os.stat_result | None:
        """A file that is final, and that the storage has as it is here; None for any other."""
        if not video.settled:
            return None
        try:
            with open(os.path.join(self._folder, video.file), "rb") as file:
                facts = os.fstat(file.fileno())
                if facts.st_size != video.bytes:
                    return None
                if self._store.holds(key, file):
                    return facts
                file.seek(0)
                self._store.put_file(key, file)
                return facts if self._store.holds(key, file) else None
        except FileNotFoundError:  # it was removed already
            return None

    def _facts(self, shipped: Iterable[tuple[str, EndedVideo]], size: int) -> LocalFiles:
        evicted = read_evicted(self._folder)
        gone = [
            video
            for _, video in shipped
            if evicted.url_of(video.stream, video.clip) and not os.path.exists(os.path.join(self._folder, video.file))
        ]
        return LocalFiles(
            folder_bytes=size,
            folder_limit=self._limit,
            evicted_clips=len(gone),
            evicted_bytes=sum(video.bytes or 0 for video in gone),
            evicted_steps=evicted.count_steps(self._store.place.url),
        )

    def _say(self, size: int) -> None:
        if size > self._limit and not self._said:
            print(  # noqa: T201 - for `offcam sync`; `offcam status` has the numbers
                f"offcam: {self._folder} has {size:,} bytes, more than the limit of {self._limit:,}: what is not in "
                "object storage yet, and what is still written, stay; recording goes on",
                file=sys.stderr,
            )
        self._said = size > self._limit


def check_limit(given: str | None) -> int | None:
    """A limit in bytes as it was given, as ``20GB``; None for none.

    Raises:
        ConfigError: it is no size.
    """
    if given is None:
        return None
    try:
        return parse_size(given)
    except ValueError as error:
        raise ConfigError(f"local_limit must be {error}, got {given!r}") from error


def folder_bytes(folder: str) -> int:
    """Bytes of all files in a folder, and in those below it."""
    size = 0
    for below, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it was removed meanwhile
                size += os.lstat(os.path.join(below, name)).st_size
    return size


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) == (
        other.st_dev,
        other.st_ino,
        other.st_size,
        other.st_mtime_ns,
    )
