"""The videos of one env's stream, from their first frames until their files are final."""

from __future__ import annotations

import os
import time
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

from offcam.recorder.final_videos import FinalVideos
from offcam.recorder.losses import Losses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offcam.connection.connection import Connection
    from offcam.connection.shared_memory import Lying
    from offcam_proto.client_stream import ClientStream
    from offcam_proto.messages import ClipDone


class Abandoned(Protocol):
    """Something that can end without being told to."""

    def abandon(self) -> None:
        """End it where the wrapper did not: a video is complete only if its episode is over."""


class ClipInProgress(Abandoned, Protocol):
    """A video that is being recorded; `offcam.recorder.clip_writer.ClipWriter` is one."""

    def end(self) -> None:
        """No more frames come."""

    def cut_off(self) -> tuple[str, int, int] | None:
        """The video's name and number, and how many frames were sent for it, where the daemon that had them is gone."""


class Box(Protocol):
    """Holds the last seconds of an env; `offcam.recorder.black_box.BlackBox` implements it."""

    def save(self, reason: str = "") -> str:
        """Have a video made of the last seconds. Returns its name."""


class Part(Protocol):
    """A file of a video; `offcam.recorder.clip_writer` implements it."""

    number: int
    epoch: int

    def go_on(self, frames: list[Lying]) -> None:
        """Have frames of the file recorded that a dead daemon left in shared memory."""


class StreamVideos:
    """The videos of an `offcam.recorder.env_stream.EnvStream`, and what was lost of the stream.

    Args:
        folder: absolute path of the run folder.

    Attributes:
        clips: the videos that are being recorded.
        next_clip: number of the next clip.
        unfinished: by clip number, each file that ended and is not final: its video's name, its stream, the stream's
            epoch, and how many frames were sent. A daemon of a later epoch cannot say what becomes of it.
        parts: by clip number, each file that may have frames in shared memory, should its daemon die.
        taken_over: the epoch in which frames in shared memory were last taken over.
        losses: what is not recorded.
        final: the final videos.
        box: holds the last seconds; None where that was not asked for.
    """

    def __init__(self, folder: str) -> None:
        self.clips: list[ClipInProgress] = []
        self.next_clip = 0
        self.unfinished: dict[int, tuple[str, ClientStream, int, int]] = {}
        self.parts: dict[int, Part] = {}
        self.taken_over = 0
        self.losses = Losses()
        self.final = FinalVideos()
        self.box: Box | None = None
        self._folder = folder
        self._connection: Connection | None = None
        self._wire: ClientStream | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy of an env begins without videos."""
        fresh: dict[str, Any] = {"clips": [], "unfinished": {}, "parts": {}, "losses": Losses(), "box": None}
        return {**self.__dict__, **fresh, "_connection": None, "_wire": None}

    def begin(self, connection: Connection, wire: ClientStream) -> None:
        """Use a new stream from now on."""
        if self._connection is None or self._connection.pid != connection.pid:
            self.final.forget()
        self._connection, self._wire = connection, wire
        self.next_clip = 0
        self.unfinished.clear()
        self.parts.clear()
        self.taken_over = 0

    def leave(self) -> Losses:
        """The stream is closed. Returns what was lost."""
        self._wire = None
        losses, self.losses = self.losses, Losses()
        return losses

    @property
    def settled(self) -> bool:
        """Whether no video is open or on its way to its final name, as far as a daemon can still tell."""
        return not self.clips and not self._finishing

    @property
    def _finishing(self) -> bool:
        return any(wire.epoch == epoch for _, wire, epoch, _ in self.unfinished.values()) or self.left

    @property
    def left(self) -> bool:
        """Whether frames lie in shared memory, or on a daemon's disk, that no file has."""
        return self._wire is not None and self._there.frames.arenas.left(self._wire)

    @property
    def untold(self) -> bool:
        """Whether frames lie there that the daemon will be told of once it has opened the stream."""
        wire = self._wire
        told = wire is None or wire.refused is not None or (wire.live and self.taken_over == wire.epoch)
        return not told and self.left

    def number(self, part: Part) -> None:
        """Number a file's clip; number it anew if a later clip may have been opened before it."""
        self.parts.pop(part.number, None)
        part.number = self.next_clip
        self.parts[part.number] = part
        self.next_clip += 1

    def take_over(self) -> None:
        """Have frames recorded that a lost daemon has left in shared memory. Never raises."""
        wire = self._wire
        if wire is None or self.taken_over == wire.epoch or not self._ours:
            return
        with self._there.lock:
            if not wire.live:
                return
            self.taken_over = wire.epoch
            before = self.parts
            self.parts = {number: part for number, part in before.items() if part.epoch in (0, wire.epoch)}
            left = self._there.frames.take_over(wire, before)
            frames = {number: list(those) for number, those in groupby(left, key=lambda frame: frame.clip)}
            # clips that no daemon has opened come first, as the others get new numbers, which are higher
            for number in sorted(frames, key=lambda number: (number in before and before[number].epoch > 0, number)):
                before[number].go_on(frames[number])

    def cut_off(self) -> Iterator[tuple[str, int, int]]:
        """The videos that a lost daemon had open, or had to finish.

        Yields for each: its name, how many frames were sent for it, and how many of these are `left`.
        """
        if self._wire is None:
            return
        lying = self._there.frames.arenas.lying(self._wire)
        for clip in self.clips:
            if found := clip.cut_off():
                name, number, frames = found
                yield name, frames, lying[number]
        for number, (name, wire, epoch, frames) in self.unfinished.items():
            if epoch == wire.epoch:  # those of earlier epochs were told of
                yield name, frames, lying[number]

    def clip_done(self, message: ClipDone) -> None:
        """A clip's file is final, or failed."""
        name, *_ = self.unfinished.pop(message.clip, ("", None, 0, 0))
        self.parts.pop(message.clip, None)
        if message.file and not message.error:
            self.final.add(os.path.join(self._folder, message.file))
        if message.error and name:
            self.losses.videos[name] = message.error
        if message.error and self._connection is not None:
            name = name or message.file
            self._connection.warn_once(
                f"the video {name!r} in {self._folder} is not whole: {message.error} (Said once; `offcam ls` has all.)",
                about=f"not whole: {self._folder}",
            )

    def newest(self) -> str | None:
        """Path of the newest final video, or None. Does not wait."""
        if self._ours:
            self._there.pump()
        return self.final.newest

    def wait(self, seconds: float) -> bool:
        """Wait until all videos that ended are final, or no daemon will come. Returns whether they are."""
        wire = self._wire
        if wire is None or not self._ours:
            return True

        def final() -> bool:
            self.take_over()
            return wire.live and not self._finishing

        reconnect = self._there.reconnect
        if not final():
            self._there.hurry()
        self._there.wait(lambda: final() or wire.refused is not None or reconnect.hopeless, seconds)
        return final()

    def tell(self) -> None:
        """Call ``on_video`` for videos that became final, on the user's thread. Called at each step."""
        if not self._ours:
            return
        if self.unfinished and time.monotonic() >= self._there.next_look:
            self._there.pump()
        self.final.tell()

    def end(self) -> None:
        """The process is ending without releasing the stream: end the videos that are open."""
        if self._ours:
            for clip in list(self.clips):
                clip.abandon()

    @property
    def _ours(self) -> bool:
        """Whether the videos are this process's, and not those of a parent that it was forked from."""
        return self._connection is not None and self._connection.pid == os.getpid()

    @property
    def _there(self) -> Connection:
        assert self._connection is not None  # noqa: S101 - there is no stream without one
        return self._connection
