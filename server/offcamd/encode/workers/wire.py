"""What a daemon and its encoder processes say to each other, and the socket that carries it.

A daemon asks, one request at a time, and the process answers each. Between the two it may say `Pace` at any moment,
which has no answer. Both ends are one program, so messages are pickled.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from offcam_proto.layout import FrameLayout
    from offcam_proto.messages import Buffer
    from offcam_runs.accounts import EncodedResult
    from offcamd.encode.clip_file import ClipSpec

MOST_DESCRIPTORS = 64
"""Most files that one message hands over."""

_HEAD = struct.Struct("<IQ")  # bytes of the message, and of what comes behind it


class Setup(NamedTuple):
    """How a process encodes; the first message to it, without an answer.

    Attributes:
        encoder: the name of the encoder, see `offcamd.video.hardware.writer_factory`.
        disk_reserve: bytes that videos leave free on a disk.
        memory: bytes for all open encoders.
    """

    encoder: str
    disk_reserve: int
    memory: int


class Pace(NamedTuple):
    """Whether somebody waits, so that encoding is not to give way to other programs; from now on, and at once."""

    urgent: bool


@dataclass(frozen=True)
class Pixels:
    """A frame, and where it lies.

    Attributes:
        index: its place in the clip.
        file: number of its file, see `offcamd.encode.frame.SharedFile`; 0 if its pixels come behind the message.
        at: offset of its pixels, in the file or in what comes behind the message.
        layouts: how those of each tile are laid out.
        sizes: bytes of each tile that came.
        mark_at, mark: what is written, and where, once it is in the video; an empty mark for nothing.
    """

    index: int
    file: int
    at: int
    layouts: Sequence[FrameLayout]
    sizes: Sequence[int]
    mark_at: int = 0
    mark: bytes = b""


class Opened(NamedTuple):
    """A file whose descriptor comes with the message."""

    number: int
    mapped: bool


class Encode(NamedTuple):
    """Encode frames of a clip, in order.

    Its first request has its ``spec``, and where its folder is ``held`` one descriptor more than ``files``, the last:
    see `offcam_runs.folder_lock.held_for_helper`. It ``resumes`` if it goes on with the file of a process that is gone,
    which may have some of the frames.
    """

    clip: int
    frames: list[Pixels]
    files: list[Opened]
    spec: ClipSpec | None = None
    held: bool = False
    resumes: bool = False


class Finish(NamedTuple):
    """Finish a clip; see `offcamd.encode.clip_file.ClipFile.finish`."""

    clip: int
    aborted: bool


class Fail(NamedTuple):
    """Give up on a clip, and keep what can be saved; see `offcamd.encode.clip_file.ClipFile.fail`."""

    clip: int
    error: str
    reason: str


class SelfTest(NamedTuple):
    """Make a tiny video and read it; see `offcamd.encode.self_test`."""

    folders: tuple[Path, ...]


class ToldLine(NamedTuple):
    """A line for the daemon's log; with ``error``, of an unexpected error that its health counts."""

    logger: str
    level: int
    text: str
    error: tuple[str, str] | None = None  # what it was about, and the error


@dataclass(frozen=True)
class WorkerAnswer:
    """What came of a request.

    Attributes:
        told: lines for the daemon's log.
        encoded: how many frames of the clip are in its file.
        last_index: index of the last one; -1 before the first.
        resumed: how many were in the file of the process before.
        had: how many of these are of the request.
        error: text and reason of the clip's first error.
        size: of the clip's pictures in pixels.
        result: of a finished clip.
        test: state, text and seconds of a self-test.
    """

    told: tuple[ToldLine, ...] = ()
    encoded: int = 0
    last_index: int = -1
    resumed: int = 0
    had: int = 0
    error: tuple[str, str] | None = None
    size: tuple[int, int] | None = None
    result: EncodedResult | None = None
    test: tuple[str, str, float] | None = None


class Wire:
    """One end of the socket. One thread at a time may send, and one receive."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._behind = bytearray()

    def send(self, message: object, descriptors: Sequence[int] = (), behind: Sequence[Buffer] = ()) -> None:
        """Send a message, with descriptors, and with bytes behind it. Raises OSError if the other end is gone."""
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        head = _HEAD.pack(len(data), sum([memoryview(each).nbytes for each in behind]))
        if descriptors:
            socket.send_fds(self._socket, [head], descriptors)
            self._socket.sendall(data)
        else:
            self._socket.sendall(head + data)
        for each in behind:
            self._socket.sendall(each)

    def receive(self) -> tuple[Any, list[int], memoryview]:
        """The next message, the descriptors that came with it, and the bytes behind it, until the next call.

        Raises EOFError once the other end is gone.
        """
        head, descriptors = b"", list[int]()
        while len(head) < _HEAD.size:
            more, found, _, _ = socket.recv_fds(self._socket, _HEAD.size - len(head), MOST_DESCRIPTORS)
            if not more:
                raise EOFError
            head, descriptors = head + more, descriptors + found
        size, behind = _HEAD.unpack(head)
        data = bytearray(size)
        self._fill(memoryview(data))
        if behind > len(self._behind):
            self._behind = bytearray(behind)
        pixels = memoryview(self._behind)[:behind]
        self._fill(pixels)
        return pickle.loads(data), descriptors, pixels  # noqa: S301 - from our own process, to which nobody else can write

    def _fill(self, view: memoryview) -> None:
        while view:
            if not (got := self._socket.recv_into(view)):
                raise EOFError
            view = view[got:]

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
