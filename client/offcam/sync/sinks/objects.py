"""Object storage: the whole run, in objects that never change, and a manifest that leads to them.

How far it came is in the storage alone. A process that was killed leaves objects that nothing leads to, and the next
one goes on from the manifest; two that send the same run at once see by the manifest's tag that the other was faster.
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from offcam.sync.local_limit import LocalLimit, check_limit
from offcam.sync.sinks.sink import Sink
from offcam_proto.errors import ConfigError, NotARunFolder, RunFolderError
from offcam_proto.limits import MIB
from offcam_runs.database import open_committed
from offcam_runs.objects import segments
from offcam_runs.objects.copies import copy_video, fetch_segment, fetch_steps
from offcam_runs.objects.evicted import read_evicted
from offcam_runs.objects.layout import (
    MANIFEST,
    SEGMENTS,
    Manifest,
    ObjectPlace,
    filled,
    segment_key,
    steps_key,
    video_key,
)
from offcam_runs.objects.segments import EndedVideo, Head, Reach, StepsPart
from offcam_runs.objects.store import Changed, Missing, ObjectStore
from offcam_runs.steps import files

if TYPE_CHECKING:
    from offcam.sync.core import Batch, ClipSent
    from offcam.sync.index import RunFacts
    from offcam.sync.local_steps import ShippedSteps

LEAST_PAUSE: Final = 5.0
"""Seconds between two manifests, at first."""

MOST_PAUSE: Final = 30.0
"""Seconds between two manifests of a run that has gone on for long, or whose head is large."""

MOST_BYTES: Final = 64 * MIB
"""Bytes of videos that go with one manifest, unless one is larger."""


class Tracker(Sink):
    """Sends a run, all its sessions, to one place. What is there of the run's own is replaced, or removed, by it alone.

    What it was sent is there for certain, but what no batch tells of, such as the end of a stream, is only after
    `finish`: so it is late.
    """

    late: ClassVar[bool] = True
    options: ClassVar[Mapping[str, str]] = {
        "url": "where to, as s3://bucket/runs/{name}; {name} and {host} stand for the folder's and this host's name",
        "local_limit": "most bytes of the run's folder, as 20GB: the oldest videos that are there go here, then steps",
    }

    @classmethod
    def check(cls, tracker: str, options: Mapping[str, str]) -> None:
        """Check that there is a place, and that it is one."""
        super().check(tracker, options)
        if not options.get("url"):
            raise ConfigError("object storage needs a place: give it by its URL, as s3://bucket/runs/cartpole")
        _place(options["url"], "run")
        check_limit(options.get("local_limit"))

    def __init__(self, run: RunFacts, options: Mapping[str, str], saved: Mapping[str, Any]) -> None:
        super().__init__(run, options, saved)
        place = _place(options["url"], os.path.basename(run.folder))
        self.where = place.url
        self._store = ObjectStore(place, make=True)
        self._began = time.monotonic()
        self._sizes = dict[str, int]()  # of segments, by their keys, as far as they are known
        self._parts = dict[str, list[tuple[str, StepsPart]]]()  # by tails' keys, what those that were fetched tell of
        self._next = 0.0  # when the next manifest may be written
        limit = check_limit(options.get("local_limit"))
        self._limit = None if limit is None else LocalLimit(run.folder, self._store, limit)
        self._read()

    def send(self, batch: Batch) -> dict[str, Any]:
        """Have all in the storage that there is by now, unless this batch is there already."""
        clip = batch.clip
        if not (batch.last_id <= self._manifest.last_id if clip is None else self._is_there(clip.stream, clip.clip)):
            time.sleep(max(self._next - time.monotonic(), 0))  # in that time more comes, which goes along
            self._send_all()
        return {}

    def has_clip(self, clip: ClipSent) -> bool:
        """Whether a clip is in this storage, or in another one, from which it is copied."""
        there = read_evicted(self.run.folder)
        return self._is_there(clip.stream, clip.clip) or there.url_of(clip.stream, clip.clip) is not None

    def _is_there(self, stream: str, clip: int) -> bool:
        return (stream, clip) in self._head.videos

    def finish(self) -> None:
        """Have all in the storage, what no batch tells of, too."""
        self._send_all()

    def _read(self) -> None:
        """Read how far the run came."""
        self._tag: dict[str, str] = {}
        self._head = Head()
        with open_committed(self.run.folder) as index:
            run = segments.run_of(index)
        self._manifest = Manifest(run=run, host=socket.gethostname(), folder=self.run.folder)
        try:
            data, tag = self._store.get_tagged(MANIFEST)
        except Missing:
            return
        try:
            found = Manifest.parse(data, self.where)
        except RunFolderError as error:  # trying again changes nothing
            raise ConfigError(str(error)) from error
        if found.run != run:
            raise ConfigError(
                f"{self.where} has another run, recorded on {found.host} into {found.folder}: give each run a place of "
                f"its own, as {self.where}/{{name}} or, from several hosts, {self.where}/{{host}}"
            )
        with tempfile.TemporaryDirectory(prefix="offcam-") as scratch:
            file = Path(scratch, "head")
            segments.unpack(self._store.get(found.head), file, f"{self.where}/{found.head}")
            self._head = segments.read_head(file)
        self._manifest, self._tag = found, tag

    def _send_all(self) -> None:
        while not self._sent_all():
            pass

    def _sent_all(self) -> bool:
        try:
            return self._send_some()
        except Changed:  # by another process that sends this run: it came further
            self._read()
            return False

    def _send_some(self) -> bool:
        """Send what is new, up to some size, and then the manifest. Returns whether that was all."""
        before, known = self._manifest, self._head
        after = Reach(before.last_id, before.last_block)
        with tempfile.TemporaryDirectory(prefix="offcam-") as scratch:
            tail, head = Path(scratch, "tail"), Path(scratch, "head")
            with open_committed(self.run.folder) as index:
                reach, parts = segments.next_tail(index, after)
                keyed = [(steps_key(*part), part) for part in parts]
                if reach != after:
                    segments.write_tail(index, tail, after, reach, keyed)
                whole = segments.next_tail(index, reach)[0] == reach
                segments.write_head(index, head, whole=whole)
                ended = segments.ended_videos(index)
            for key, part in keyed:
                self._send_steps(key, part)
            now, later = self._send_videos(ended)
            tails = self._merged(known.tails, Path(scratch))
            if reach != after:
                data = segments.packed(tail)
                tails = (*tails, segment_key(data))
                self._put_tail(tails[-1], data)
            segments.finish_head(head, tails, now, later)
            data = segments.packed(head)
        self._commit(replace(before, head=segment_key(data), last_id=reach.last_id, last_block=reach.last_block), data)
        for key in set(known.tails) - set(tails):
            self._store.remove(key)
            self._parts.pop(key, None)
        self._head = Head(before.run, "", tails, {(each.stream, each.clip): (each.file, key) for key, each in now})
        for key in {key for _, key in known.videos.values()} - {key for key, _ in now}:
            self._store.remove(key)  # its clip was let go, or replaced
        if self._limit is not None:
            self.local = self._limit.hold(now, self._shipped_steps)
        return whole and not later

    def _shipped_steps(self) -> list[ShippedSteps]:
        """The files of steps that are written no more and are in tails, with their parts there, the oldest first."""
        with open_committed(self.run.folder) as index:
            written = segments.written_steps(index, self._manifest.last_block)
        there = dict[tuple[str, int], list[tuple[str, StepsPart]]]()
        for key in self._head.tails if written else ():
            for part_key, part in self._parts_in(key):
                there.setdefault((part.stream, part.file), []).append((part_key, part))
        return [(each, there.get((each.stream, each.file), [])) for each in written]

    def _parts_in(self, tail: str) -> list[tuple[str, StepsPart]]:
        """The bytes of steps that a tail there tells of, which is fetched once."""
        if tail not in self._parts:
            with tempfile.TemporaryDirectory(prefix="offcam-") as scratch:
                self._parts[tail] = segments.all_parts(fetch_segment(self._store, tail, Path(scratch, "tail")))
        return self._parts[tail]

    def _put_tail(self, key: str, data: bytes) -> None:
        self._store.put(key, data)
        self._sizes[key] = len(data)

    def _merged(self, tails: tuple[str, ...], scratch: Path) -> tuple[str, ...]:
        """The keys of the tails, where there were too many small ones, with one in place of these, which is put there.

        Those are removed once a manifest leads to it, so that a reader finds each row in one of them.
        """
        if len(tails) <= segments.MOST_SMALL_TAILS:
            return tails
        if not set(tails) <= self._sizes.keys():
            self._sizes = self._store.sizes(SEGMENTS)
        if (found := segments.to_merge(tails, self._sizes)) is None:
            return tails
        begin, end = found
        merged = scratch / "merged"
        try:
            old = [fetch_segment(self._store, key, scratch / key.replace("/", "-")) for key in tails[begin:end]]
        except Missing:  # another process that sends this run has put them together: the manifest will say so
            return tails
        segments.merge_tails(old, merged, Path(self.run.folder))
        data = segments.packed(merged)
        key = segment_key(data)
        self._put_tail(key, data)
        return (*tails[:begin], key, *tails[end:])

    def _commit(self, manifest: Manifest, head: bytes) -> None:
        """Write a head, and the manifest that leads to it; remove the head before it."""
        before = self._manifest
        if manifest.head != before.head:
            self._store.put(manifest.head, head)
            manifest = replace(manifest, updated=time.time())
            self._tag = self._store.put(MANIFEST, manifest.data, self._tag)
            if before.head:
                self._store.remove(before.head)
        self._manifest = manifest
        now = time.monotonic()
        self._next = now + pause_seconds(now - self._began, len(head))

    def _send_steps(self, key: str, part: StepsPart) -> None:
        try:
            data = _bytes_of(files.path_of(self.run.folder, part.stream, part.file), part)
        except FileNotFoundError:
            data = self._evicted(part)
        if len(data) == part.bytes:  # else somebody has removed it: readers say that these steps are gone
            self._store.put(key, data)

    def _evicted(self, part: StepsPart) -> bytes:
        """Bytes of steps that another place alone has; fewer, or none, where they are nowhere."""
        with suppress(NotARunFolder, FileNotFoundError):
            copy = fetch_steps(self.run.folder, part.stream, part.file, part.offset + part.bytes)
            return b"" if copy is None else _bytes_of(copy, part)
        return b""

    def _send_videos(self, ended: list[EndedVideo]) -> tuple[list[tuple[str, EndedVideo]], list[EndedVideo]]:
        """Send files of clips. Returns those that are in the storage, with their keys, and those that are for later."""
        there, later = list[tuple[str, EndedVideo]](), list[EndedVideo]()
        size = 0
        for each in ended:
            known = self._head.videos.get((each.stream, each.clip))
            if known is not None and known[0] == each.file:
                there.append((known[1], each))
            elif size >= MOST_BYTES:
                later.append(each)
            else:
                key = video_key(each.stream, each.clip, each.file)
                sent = self._send_video(key, each)
                size += sent
                there += [(key, each)] * bool(sent)
        return there, later

    def _send_video(self, key: str, video: EndedVideo) -> int:
        """Send a clip's file. Returns its size; 0 where it is gone, or another one."""
        if os.path.basename(video.file) != video.file:  # as in an index that somebody else made
            return 0
        try:
            return self._send_file(key, os.path.join(self.run.folder, video.file), video)
        except FileNotFoundError:
            pass
        with tempfile.TemporaryDirectory(prefix="offcam-") as scratch:
            copy = copy_video(self.run.folder, video.stream, video.clip, Path(scratch))
            return 0 if copy is None else self._send_file(key, copy, video)

    def _send_file(self, key: str, path: str | Path, video: EndedVideo) -> int:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if video.bytes not in (None, size):
                return 0
            self._store.put_file(key, file)
        return size


def _bytes_of(path: str | Path, part: StepsPart) -> bytes:
    with open(path, "rb") as file:
        return os.pread(file.fileno(), part.bytes, part.offset)


def pause_seconds(age: float, head_bytes: int) -> float:
    """Seconds until the next manifest: a hundredth of the time that one sends already, and what keeps heads cheap."""
    return min(max(LEAST_PAUSE, age / 100, head_bytes / (MIB / 4)), MOST_PAUSE)


def _place(url: str, name: str) -> ObjectPlace:
    return ObjectPlace.parse(filled(url, name, socket.gethostname()))
