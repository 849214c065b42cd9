"""Rerun: one ``.rrd`` file with the episodes' values, and the videos' own packets, on one timeline.

Rerun writes a file from its beginning. So each process first copies the messages that the file has, and writes new ones
behind them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import struct
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import rerun
from rerun.chunk import RrdReader

from offcam.sync.sinks import missing
from offcam.sync.sinks.packets import NotRemuxed, packets
from offcam.sync.sinks.remote import Remote

if TYPE_CHECKING:
    from offcam.sync.core import Batch, ClipSent

TIME: Final = "time"
"""The timeline of all data: the time at which it was recorded."""

EPISODE: Final = "episode"
FRAME: Final = "frame"
"""The timelines by which episodes' values and videos' packets are numbered."""

MOST_PACKETS: Final = 1000
"""Most packets that are written in one call."""

_HEAD: Final = struct.Struct("<4s8x")
_MESSAGE: Final = struct.Struct("<8xQ")
_MAGIC: Final = b"RRF2"


class Tracker(Remote):
    """Writes the ``.rrd`` file."""

    defaults: ClassVar[Mapping[str, str]] = {"file": "{name}.rrd"}
    options: ClassVar[Mapping[str, str]] = {"file": "the .rrd file, by default by the folder's name, in the run folder"}
    paths: ClassVar[Collection[str]] = ("file",)

    def open(self, options: Mapping[str, str]) -> str:
        """Begin a new file with what the old one has, which stays in place until that is done."""
        if importlib.util.find_spec("av") is None:
            raise missing("rerun", "av")
        self._last: dict[str, int] = {}  # by entity, the last episode or frame that the file has
        path = os.path.join(self.run.folder, options["file"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        what = repr((self.run.created, self.run.session))
        number = f"offcam-{hashlib.sha256(what.encode()).hexdigest()[:12]}"
        self._recording = rerun.RecordingStream("offcam", recording_id=number, send_properties=False)
        self._recording.save(f"{path}.part")
        self._recording.send_recording_name(self.run.name)
        if os.path.exists(path):
            self._copy(path)
        self._store(f"{path}.part")
        os.replace(f"{path}.part", path)
        return path

    def send(self, batch: Batch) -> dict[str, Any]:
        """Append a batch, which is in the file when this returns."""
        found: defaultdict[str, list[tuple[int, float, float]]] = defaultdict(list)
        for episode in batch.episodes:
            for name, value in episode.values.items():
                found[name].append((episode.number, episode.ended, value))
        for name, rows in found.items():
            self._scalars(_entity(*name.split("/")), rows)
        if batch.clip is not None:
            self._video(batch.clip)
        self._store(self.where)
        return {}

    def close(self) -> None:
        """Write the file's end."""
        self._recording.disconnect()

    def _store(self, path: str) -> None:
        self._recording.flush()
        with open(path, "rb") as file:
            os.fsync(file.fileno())

    def _copy(self, path: str) -> None:
        reader = _reader(path)
        if reader is None:
            return
        for chunk in reader.stream():
            for counted in {EPISODE, FRAME} & set(chunk.timeline_names):
                numbers = chunk.to_record_batch().column(counted).to_pylist()
                self._last[chunk.entity_path] = max(self._last.get(chunk.entity_path, -1), *numbers)
            self._recording.send_chunks(chunk)

    def _scalars(self, entity: str, rows: list[tuple[int, float, float]]) -> None:
        rows = [row for row in rows if row[0] > self._last.get(entity, -1)]
        if rows:
            numbers, times, values = zip(*rows, strict=True)
            self._columns(entity, EPISODE, numbers, times, rerun.Scalars.columns(scalars=values))

    def _video(self, clip: ClipSent) -> None:
        """Write a video's packets, the last one at the time when it ended. Its facts, which have no time, may recur."""
        entity = _entity("offcam", "videos", clip.name)
        try:
            found = packets(clip.path)
            why = ""
        except NotRemuxed as error:
            found, why = [], f" ({error})"
        about = rerun.TextDocument.columns(text=[f"{clip.source}: {clip.caption}{why}"])
        self._recording.send_columns(f"{entity}/about", indexes=[], columns=about)
        codec = rerun.VideoStream.columns(codec=[rerun.VideoCodec.H264])
        self._recording.send_columns(entity, indexes=[], columns=codec)
        for begin in range(self._last.get(entity, -1) + 1, len(found), MOST_PACKETS):
            part = found[begin : begin + MOST_PACKETS]
            times = [clip.ended - found[-1].seconds + packet.seconds for packet in part]
            samples, keys = [packet.data for packet in part], [packet.is_keyframe for packet in part]
            columns = rerun.VideoStream.columns(sample=samples, is_keyframe=keys)
            self._columns(entity, FRAME, range(begin, begin + len(part)), times, columns)

    def _columns(self, entity: str, counted: str, numbers: Any, times: Any, columns: Any) -> None:  # noqa: ANN401 - Rerun's
        indexes = [rerun.TimeColumn(TIME, timestamp=times), rerun.TimeColumn(counted, sequence=numbers)]
        self._recording.send_columns(entity, indexes, columns)
        self._last[entity] = numbers[-1]


def _entity(*parts: str) -> str:
    return str(rerun.new_entity_path(parts))


def _reader(path: str) -> Any:  # noqa: ANN401 - Rerun's
    """A reader of the file, after a half written end is cut off; None where nothing is left."""
    try:
        reader = RrdReader(path)
        there = reader.recordings()
    except RuntimeError:
        os.truncate(path, _whole_bytes(path))
        reader = RrdReader(path)
        there = reader.recordings()
    return reader if there else None


def _whole_bytes(path: str) -> int:
    """How many bytes of a file are whole messages; all bytes if its format is not known here."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size or _HEAD.unpack(head)[0] != _MAGIC:
            return size
        end = file.tell()
        while len(told := file.read(_MESSAGE.size)) == _MESSAGE.size:
            behind = file.tell() + _MESSAGE.unpack(told)[0]
            if behind > size:
                break
            end = behind
            file.seek(end)
    return end
