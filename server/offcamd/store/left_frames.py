"""Frames that no file has, as client and daemon both died: found in memory and on disk, and recorded."""

from __future__ import annotations

import logging
import os
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from offcam_proto import codec
from offcam_proto.arena import (
    EMPTY,
    ENTRIES_AT,
    ENTRY,
    HEAD_BYTES,
    OWNER_AT,
    SHAPE,
    SHAPE_AT,
    SLOTS_AT,
    SPOOL_EXTENSION,
    STATES_AT,
    TAKEN,
    TOKEN_AT,
    WRITTEN,
    arena_bytes,
    heads_at,
)
from offcam_proto.errors import EncodeError, FrameError, RemoteProtocolError
from offcam_proto.host import (
    abandoned_arena,
    arena_folder,
    arena_path,
    daemon_of,
    private_problem,
    remove_arena,
    spools_of,
)
from offcam_proto.left_frames import unpack_head, unpack_owner
from offcam_proto.messages import SlotFrames
from offcam_proto.spool_file import HEAD_BYTES as PLACE_HEAD_BYTES
from offcam_proto.spool_file import LENGTH, PIXELS_AT, place_bytes
from offcam_proto.validation import ID_BYTES
from offcam_runs.discover import is_run
from offcam_runs.format import INDEX_NAME, PART_EXTENSION, video_file
from offcam_runs.pending import is_written
from offcamd.store.entries import OpenedClip, StreamOwner
from offcamd.store.rescue import finish

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from offcam_proto.layout import FrameLayout
    from offcam_proto.messages import Hello, OpenClip, OpenStream
    from offcamd.store.index import RunIndex
    from offcamd.store.rescue import RecoveredClip

log = logging.getLogger(__name__)

ORPHAN_SECONDS = 3600.0
"""After so many seconds without a writer, any daemon may record what is left of a run, not only the next one there."""

PIECE_FRAMES = 8
"""Frames that are recorded before the store looks for other work."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a frame lies: the place of its pixels, and of the bytes that mark it as there."""

    descriptor: int
    pixels_at: int
    mark_at: int
    free: bytes


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame that is in no video file."""

    clip: int
    index: int
    opening: OpenClip
    layouts: tuple[FrameLayout, ...]
    place: _Place

    def parts(self) -> list[tuple[bytes, FrameLayout]]:
        found, start = [], self.place.pixels_at
        for layout in self.layouts:
            found.append((os.pread(self.place.descriptor, layout.nbytes, start), layout))
            start += layout.nbytes
        return found

    def free(self) -> None:
        os.pwrite(self.place.descriptor, self.place.free, self.place.mark_at)


class _Arena:
    """An arena without an owner, open and locked, with the files to which daemons moved its frames."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._descriptors = [descriptor]
        head = os.pread(descriptor, SLOTS_AT, 0).ljust(SLOTS_AT, b"\0")
        self._head = head
        self.token = head[TOKEN_AT : TOKEN_AT + ID_BYTES]
        self.ours = str(path) == arena_path(self.token)
        self.owner: tuple[OpenStream, Hello] | None = unpack_owner(head[OWNER_AT:])
        self._slot_bytes, self._slots = SHAPE.unpack_from(head, SHAPE_AT)

    @classmethod
    def open(cls, path: Path) -> _Arena | None:
        """Open an arena; None if its client lives."""
        descriptor = abandoned_arena(str(path))
        return None if descriptor is None else cls(path, descriptor)

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove the arena: nothing in it is of use."""
        if self.ours:
            remove_arena(self._descriptors[0], self.token)

    def frames(self) -> list[_Frame]:
        """All frames that are left in the arena, in order."""
        found: dict[tuple[int, int], _Frame] = {}
        if os.fstat(self._descriptors[0]).st_size == arena_bytes(self._slot_bytes, self._slots):
            found = {(frame.clip, frame.index): frame for frame in self._in_slots()}
        for frame in self._on_disk():
            if found.setdefault((frame.clip, frame.index), frame) is not frame:
                frame.free()  # it was on its way to disk, and is there, too
        return [found[each] for each in sorted(found)]

    def _in_slots(self) -> Iterator[_Frame]:
        descriptor, heads = self._descriptors[0], heads_at(self._slot_bytes, self._slots)
        for slot, mark in enumerate(self._head[STATES_AT : STATES_AT + self._slots]):
            if mark in (WRITTEN, TAKEN):
                clip, index = ENTRY.unpack_from(self._head, ENTRIES_AT + slot * ENTRY.size)
                what = unpack_head(os.pread(descriptor, HEAD_BYTES, heads + slot * HEAD_BYTES))
                place = _Place(descriptor, SLOTS_AT + slot * self._slot_bytes, STATES_AT + slot, bytes([EMPTY]))
                if what is not None and what[0].clip == clip:
                    yield _Frame(clip, index, *what, place)

    def _on_disk(self) -> Iterator[_Frame]:
        for path in spools_of(self._descriptors[0], self.token):
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                self._descriptors.append(descriptor)
                yield from self._in_places(descriptor)

    def _in_places(self, descriptor: int) -> Iterator[_Frame]:
        size = place_bytes(self._slot_bytes)
        for start in range(PLACE_HEAD_BYTES, os.fstat(descriptor).st_size, size):
            head = os.pread(descriptor, PIXELS_AT, start).ljust(PIXELS_AT, b"\0")
            (length,) = LENGTH.unpack_from(head)
            what = unpack_head(head[PLACE_HEAD_BYTES:])
            with suppress(RemoteProtocolError):
                named = codec.decode_client([head[LENGTH.size :][:length]]) if length and what else None
                if isinstance(named, SlotFrames) and what is not None:
                    place = _Place(descriptor, start + PIXELS_AT, start, LENGTH.pack(0))
                    yield _Frame(
                        clip=named.clip, index=named.frames[0][0], opening=what[0], layouts=named.layouts, place=place
                    )


def _arenas() -> list[Path]:
    """Paths of all of this user's arenas."""
    folder = Path(arena_folder())
    with suppress(OSError):
        if not private_problem(os.lstat(folder)):
            return sorted(folder.iterdir())
    return []


def left_behind(endpoint: str, spools: Path) -> set[str]:
    """The run folders of a dead daemon's clients that nobody has opened since; removes what is of no use.

    Also those of other endpoints' daemons, after a long time: the memory is the whole host's.

    Args:
        endpoint: of the dead daemon.
        spools: the folder to which daemons move frames.
    """
    found = set()
    with suppress(OSError):
        for spool in spools.glob("*" + SPOOL_EXTENSION):
            if not Path(arena_path(bytes.fromhex(spool.name.partition("-")[0]))).exists():  # gone with a restart
                spool.unlink()
    for path in _arenas():
        with suppress(OSError):
            stream, daemon = _whose(path)
            folder = stream.folder if stream else ""
            if not folder or (daemon != endpoint and is_run(Path(folder)) and not _is_orphan(Path(folder), path)):
                continue  # of a living client, or just being made, when it is not locked yet
            if (arena := _Arena.open(path)) is not None:
                with closing(arena):
                    if not is_run(Path(folder)):
                        arena.remove()
                    elif not is_written(Path(folder)):  # even without a frame: its video may be unfinished
                        found.add(folder)
                    elif not arena.frames():
                        arena.remove()
    return found


def _is_orphan(folder: Path, arena: Path) -> bool:
    """Whether nobody has recorded into a run, or into one of its arenas, for long."""
    written = [file.stat().st_mtime for file in (arena, *folder.glob(f"{INDEX_NAME}*"))]
    return time.time() - max(written) > ORPHAN_SECONDS


def _whose(path: Path) -> tuple[OpenStream | None, str]:
    """The stream that an arena names, and its last daemon's endpoint; None and empty if it names none."""
    with path.open("rb") as file:
        owner = unpack_owner(file.read(SLOTS_AT)[OWNER_AT:].ljust(HEAD_BYTES, b"\0"))
        return owner[0] if owner else None, daemon_of(file.fileno())[0]


class StreamArena(NamedTuple):
    """An arena, and the id of the stream that it is for."""

    stream: bytes
    path: Path


def arenas_of(folder: str | os.PathLike[str]) -> list[StreamArena]:
    """The arenas of a run's streams, whether their clients live or not."""
    spellings = {str(Path(folder).absolute()), os.path.realpath(folder)}
    found = []
    for path in _arenas():
        with suppress(OSError):
            stream, _ = _whose(path)
            if stream is not None and stream.folder in spellings:
                found.append(StreamArena(stream.stream, path))
    return found


def record_left(index: RunIndex, arenas: Iterable[StreamArena]) -> Generator[list[RecoveredClip], None, None]:
    """Record the frames in arenas without a living client, and remove these arenas.

    Each frame gets into one file at most, whoever dies: it is marked free once the muxer has it. What the clients'
    journals say of their clips must be in the index before.

    Yields after a few frames; and the clip, or its part, after its last frame. Between two of these the index may be
    written otherwise.

    Args:
        index: the run's index, whose only writer the caller is.
        arenas: of streams that are not open.

    Raises:
        RunFolderError: the index cannot be written. The frames stay where they are.
    """
    for _, path in arenas:
        arena = _Arena.open(path)
        if arena is None:
            continue
        with closing(arena):
            frames = [
                frame for frame in arena.frames() if not frame.opening.ring_seconds
            ]  # a ring is lost with its daemon
            if arena.owner is not None:
                above = max((frame.clip for frame in frames), default=0)
                for _, group in groupby(frames, key=lambda frame: frame.clip):
                    yield from _record(index, *arena.owner, list(group), above)
            arena.remove()


def _record(
    index: RunIndex, stream: OpenStream, client: Hello, frames: list[_Frame], above: int
) -> Generator[list[RecoveredClip], None, None]:
    """Record the frames that are left of one clip."""
    owner = StreamOwner(client.host, client.pid, client.client)
    with index.transaction(), index.reopened(stream, owner) as suffix:
        opening = index.clip_goes_on(stream.stream, frames[0].opening, len(frames), above)
        file = video_file(opening.name, suffix, opening.part)
        index.clip_opened(stream.stream, opening, file)
    first = 0 if opening is frames[0].opening else frames[0].index
    try:
        for _ in _encode(index.folder / (file + PART_EXTENSION), opening, frames, first):
            yield []
    except (EncodeError, OSError):
        log.exception("%s: not all frames that were left of it could be recorded", index.folder / file)
    for frame in frames:
        frame.free()
    yield [finish(index, OpenedClip(stream.stream, opening.clip, file, opening.started))]


def _encode(part: Path, opening: OpenClip, frames: Sequence[_Frame], first: int) -> Iterator[None]:
    from offcamd.video.h264 import DEFAULT_CRF, DEFAULT_PRESET  # noqa: PLC0415 - a daemon opens folders without these
    from offcamd.video.i420 import I420Converter  # noqa: PLC0415 - as above
    from offcamd.video.mp4 import VideoWriter  # noqa: PLC0415 - as above
    from offcamd.video.pixels import view  # noqa: PLC0415 - as above

    converter, writer = I420Converter(max(opening.rows, 1), max(opening.cols, 1)), None
    try:
        for number, frame in enumerate(frames, 1):
            with suppress(FrameError):  # a frame that is no picture is left out
                planes = converter.convert([view(buffer, layout) for buffer, layout in frame.parts()])
                writer = writer or VideoWriter(
                    part,
                    width=planes.shape[1],
                    height=planes.shape[0] * 2 // 3,
                    fps=Fraction(opening.fps).limit_denominator(1001),
                    preset=DEFAULT_PRESET,
                    crf=DEFAULT_CRF,
                )
                writer.write(planes, frame.index - first)
            frame.free()
            if number % PIECE_FRAMES == 0:
                yield
    finally:
        if writer is not None:
            writer.close()
