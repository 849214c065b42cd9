"""A client that speaks the protocol's messages and nothing else: it can say what offcam's own client never would."""

from __future__ import annotations

import os
import secrets
import time
from typing import TYPE_CHECKING, Any, TypeVar

import zmq

from offcam_proto import codec
from offcam_proto import messages as msg
from offcam_proto.layout import FrameLayout
from offcam_proto.limits import PROTOCOL_VERSION
from offcam_proto.records import EpisodeRecord
from waiting import HANG_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Answer = TypeVar("Answer", bound=msg.ServerMessage)
WAIT_SECONDS = HANG_SECONDS


def hello() -> msg.Hello:
    """The greeting of a new session."""
    return msg.Hello(msg.Hello.MAGIC, PROTOCOL_VERSION, secrets.token_bytes(16), os.getpid(), "here", "raw peer")


def episode(number: int, length: int = 1) -> bytes:
    """A packed record of an episode."""
    now = time.time()
    return codec.pack_record(EpisodeRecord(0, number, float(number), length, 0.1, now, True, False, None))


def picture(handle: int, clip: int, index: int, side: int = 16) -> msg.Frame:
    """A grey square frame."""
    layout = FrameLayout((side, side), (side, 1), 0, side * side)
    return msg.Frame(handle, clip, index, (layout,), (bytes([index % 256]) * (side * side),))


class RawPeer:
    """One connection. Use it from one thread; `close` it."""

    def __init__(self, address: str, context: zmq.Context[Any]) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDHWM, 0)
        self.socket.setsockopt(zmq.RCVHWM, 0)
        self.socket.connect(address)

    def __enter__(self) -> RawPeer:  # noqa: PYI034 - Self is newer than Python 3.10
        return self

    def __exit__(self, *_: object) -> None:
        if not self.socket.closed:
            self.say(msg.Goodbye("done"))
            self.socket.linger = 1000
            self.close()

    def close(self) -> None:
        """Leave without a word."""
        self.socket.close()

    def say(self, *messages: msg.ClientMessage) -> None:
        """Send messages, whether or not they may be said now."""
        for message in messages:
            self.send(codec.encode(message))

    def send(self, parts: Sequence[msg.Buffer]) -> None:
        """Send any bytes."""
        self.socket.send_multipart(parts)

    def hear(self, seconds: float = WAIT_SECONDS) -> msg.ServerMessage | None:
        """The next answer, None where none comes in time."""
        if not self.socket.poll(int(seconds * 1000)):
            return None
        return codec.decode_server(self.socket.recv_multipart())

    def await_(self, *kinds: type[Answer]) -> Answer:
        """The next answer of some kinds; others are passed over."""
        deadline = time.monotonic() + WAIT_SECONDS
        heard: list[str] = []
        while (left := deadline - time.monotonic()) > 0:
            answer = self.hear(left)
            if isinstance(answer, kinds):
                return answer
            heard.append(repr(answer)[:200])
        raise AssertionError(f"no {kinds} came, but {heard}")

    def greet(self) -> msg.Welcome:
        """Begin a session."""
        self.say(hello())
        return self.await_(msg.Welcome)

    def open_stream(
        self, handle: int, folder: Path | str, prefix: str = "", stream: bytes | None = None
    ) -> msg.StreamOpened | msg.StreamRefused:
        """Open a stream, with video where it has a prefix."""
        stream = stream or secrets.token_bytes(16)
        self.say(msg.OpenStream(handle, stream, str(folder), prefix, 0, bool(prefix), "Raw-v0", 1, False, time.time()))
        return self.await_(msg.StreamOpened, msg.StreamRefused)

    def open_clip(self, handle: int, clip: int, name: str, *, rows: int = 1, cols: int = 1) -> None:
        """Open a clip at 30 frames a second."""
        self.say(msg.OpenClip(handle, clip, name, 1, 30.0, rows, cols, 0, 0, time.time(), 256))


def resident_mib(pid: int, what: str = "VmRSS") -> float:
    """MiB of memory that a process has (``VmRSS``), or had at most (``VmHWM``)."""
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123 - as short as it gets
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(f"{what}:"))
