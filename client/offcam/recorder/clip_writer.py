"""One video: its frames, and the account of every frame that was offered for it."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from msgspec import structs

from offcam.connection import timeouts
from offcam.recorder.readings import as_float
from offcam_proto.messages import EndClip, OpenClip
from offcam_proto.records import ClipRecord

if TYPE_CHECKING:
    from offcam.connection.connection import Connection
    from offcam.connection.shared_memory import Lying, Picture
    from offcam.recorder.env_stream import EnvStream
    from offcam_proto.client_stream import ClientStream
    from offcam_proto.layout import FrameLayout
    from offcam_proto.records import KeepRecord

Overflow = Literal["drop", "block"]
"""What to do with a frame when the daemon is far behind: drop it (counted), or wait (at most so long)."""


class Encoding(NamedTuple):
    """How videos are made and kept, as in `messages.OpenClip`; what is not given is left to the daemon."""

    fps: float
    max_width: int = 0
    max_height: int = 0
    preset: str = ""
    crf: int | None = None
    keep: str = ""
    keep_bytes: int = 0
    ring_seconds: float = 0.0
    urgent: bool = False


_WHY = {
    "no_daemon": "no recorder daemon answered; start one with `offcam start`",
    "credit": "the recorder daemon is far behind; pass overflow='block' to wait for it instead",
    "timeout": f"the recorder daemon took no frame for {timeouts.BLOCK_SECONDS:g} s; see `offcam status`",
}


@dataclass(slots=True)
class _Part:
    """One file of a video.

    Attributes:
        number: of its clip in the stream.
        layouts: of the tiles of its last frame; all its frames have tiles of these sizes.
        part: 1, or higher for a later file of the same video.
        epoch: the stream's epoch when it was opened on the wire, 0 before.
        begin: the video's frame number that has index 0 in this file.
        opening: the message that opens it, once one of its frames went into shared memory or to a daemon.
        complete: whether it ended as it was meant to; None while it has not ended.
    """

    writer: ClipWriter
    connection: Connection
    wire: ClientStream
    number: int
    part: int
    layouts: tuple[FrameLayout, ...]
    started: float
    epoch: int = 0
    begin: int = 0
    offered: int = 0
    steps: int = 0
    return_: float = 0.0
    dropped: Counter[str] = field(default_factory=Counter)
    opening: OpenClip | None = None
    complete: bool | None = None

    def go_on(self, frames: list[Lying]) -> None:
        """The daemon died with frames of this file, which lie in shared memory: have the new daemon record them.

        They become the next part of the video; or this part, if no daemon has opened it yet.
        """
        self.writer.go_on(self, frames)

    @property
    def sent(self) -> int:
        """How many frames went to the daemon."""
        return self.offered - self.dropped.total()


class ClipWriter:
    """One video of a stream: one file, or more where the frame size changes or the daemon is replaced.

    No file is opened before the first frame.

    Args:
        stream: the stream of the env that is shown.
        name: file name without part and extension.
        encoding: how it is made.
        episode: number of the episode in which it begins.
        step: number of the last step before it, over all episodes; -1 before the first.
        overflow: what to do with a frame when the daemon is far behind.
        envs: as in `messages.OpenClip`.

    Attributes:
        episode_over: whether the last step in the video ended an episode; set by its wrapper.
        first_row: the row of the stream's table of steps that the video's first frame shows; None where no steps are
            recorded. Set by its wrapper.
        unended: why its episode comes to no end, as in `records.ClipRecord`; set by its wrapper, and not so any more
            if another step is taken.
    """

    def __init__(
        self,
        stream: EnvStream,
        name: str,
        *,
        encoding: Encoding,
        episode: int,
        step: int,
        overflow: Overflow,
        envs: tuple[int, ...] = (),
    ) -> None:
        self.episode_over = False
        self.first_row: int | None = None
        self.unended = ""
        self._stream = stream
        self._name = name
        self._encoding = encoding
        self._episode = episode
        self._step = max(step, 0)
        self._envs = envs
        self._block = overflow == "block"
        self._part: _Part | None = None
        self._parts = 0  # how many files the video has had so far
        self._diverged: tuple[()] | tuple[int, str] = ()
        self._last_frame = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        """A copy of an env goes on in a file of its own."""
        return {**self.__dict__, "_part": None}

    def add(self, pictures: tuple[Picture, ...], grid: tuple[int, int], number: int) -> str | None:
        """Take the next frame: one picture, or one for each tile of a ``(rows, cols)`` grid.

        ``number``, larger than that of the last frame, is the frame's place in time. The pixels are copied out before
        this returns. Never raises, and waits only as the overflow policy says. Returns why the frame was dropped; None
        where it was not.
        """
        layouts = tuple([picture.layout for picture in pictures])
        part, reason = self._send(pictures, layouts, grid, number)
        if reason == "no_daemon" and self._block and part.connection.handshake.await_stream(part.wire):
            part, reason = self._send(pictures, layouts, grid, number)
        reason = "timeout" if reason == "credit" and self._block else reason
        part.offered += 1
        if reason is not None:
            part.dropped[reason] += 1
        self._last_frame = time.monotonic()  # after the wait, so that it does not count as time of the next step
        return reason

    def _send(
        self, pictures: tuple[Picture, ...], layouts: tuple[FrameLayout, ...], grid: tuple[int, int], number: int
    ) -> tuple[_Part, str | None]:
        """Send a frame, if that can be done. Returns its file, and why it was not sent; None where it was."""
        stream, part = self._stream, self._part
        wire = stream.wire()
        if stream.videos.taken_over != wire.epoch:
            stream.videos.take_over()
            part = self._part
        if (
            part is None
            or part.wire is not wire
            or part.epoch not in (0, wire.epoch)
            or (part.layouts != layouts and _sizes(part.layouts) != _sizes(layouts))
        ):
            part = self._next_part(wire, layouts, number)
        part.layouts = layouts
        connection = part.connection
        if not part.offered and not self._block:
            connection.handshake.await_first_video(wire)
        opening = part.opening
        if not part.epoch or opening is None:
            opening = self._open(part, pictures, grid, number)
        index = number - part.begin
        return part, connection.frames.send(wire, part.epoch, opening, index, pictures, layouts, self._patience)

    def reject(self) -> None:
        """Count a frame that is not a picture."""
        if self._part is not None:
            self._part.offered += 1
            self._part.dropped["invalid"] += 1

    def step(self, reward: object) -> None:
        """Count a step and its reward towards this video."""
        self.unended = ""
        if self._part is not None:
            self._part.steps += 1
            self._part.return_ += as_float(reward)

    def diverge(self, step: int, why: str) -> None:
        """Note for the video's account that a replayed step differed from the recorded one, even if it has no frame."""
        self._diverged = step, why
        if self._part is None:
            self._next_part(self._stream.wire(), (), 0)

    def end(self, *, complete: bool = True) -> None:
        """End the video: no more frames come. The file becomes final in the background."""
        part, stream = self._part, self._stream
        ours = part is not None and part.wire is stream.wire()  # else the part belongs to the parent of a forked child
        with part.connection.lock if part is not None and ours else nullcontext():
            # a signal's handler that ends open clips waits for the lock, and so finds this one either open or ended
            if self in stream.videos.clips:
                stream.videos.clips.remove(self)
            if ours:
                stream.videos.take_over()  # first, as frames that a dead daemon left may become another part
                part = self._part
            self._part = None
            if part is not None and ours:
                self._finish(part, complete=complete)

    def judged(self, record: KeepRecord) -> None:
        """Tell the rule of the video's episode, once the video has ended."""
        self._stream.record(record)

    def abandon(self) -> None:
        """End the video where nobody said that it is over: it is complete only if its episode is."""
        self.end(complete=self.episode_over)

    def cut_off(self) -> tuple[str, int, int] | None:
        """The video's name and number, and how many frames were sent for it, where the daemon that had them is gone."""
        part = self._part
        if part is None or not part.epoch or part.wire.live or part.epoch != part.wire.epoch:
            return None
        return self._name, part.number, part.sent

    def _patience(self) -> float:
        """How many seconds this frame may wait for credit: see `timeouts.PATIENCE_SECONDS`."""
        if self._block:
            return timeouts.BLOCK_SECONDS
        step = time.monotonic() - self._last_frame
        return max(timeouts.PATIENCE_SECONDS, min(step, timeouts.MOST_PATIENCE_SECONDS))

    def _next_part(self, wire: ClientStream, layouts: tuple[FrameLayout, ...], number: int) -> _Part:
        stream, before = self._stream, self._part
        if before is not None and before.wire is wire:  # else there is none before, or it is a forked child's parent's
            self._finish(before, complete=True)
        else:
            self._parts = 0
        if self not in stream.videos.clips:
            stream.videos.clips.append(self)
        self._part = self._new_part(wire, layouts, time.time())
        self._part.begin = number
        return self._part

    def _new_part(self, wire: ClientStream, layouts: tuple[FrameLayout, ...], started: float) -> _Part:
        stream = self._stream
        self._parts += 1
        part = _Part(
            writer=self,
            connection=stream.connection,
            wire=wire,
            number=-1,
            part=self._parts,
            layouts=layouts,
            started=started,
        )
        stream.videos.number(part)
        return part

    def _open(self, part: _Part, pictures: tuple[Picture, ...], grid: tuple[int, int], number: int) -> OpenClip:
        """Open a part on the wire, if that is live, with its first frame's number. Returns its opening message."""
        wire, videos = part.wire, self._stream.videos
        with part.connection.lock:
            videos.take_over()  # the stream may have become live since, through another thread
            if part.opening is not None and (part.epoch or not wire.live):
                return part.opening
            if wire.live and videos.next_clip > part.number + 1:  # a later clip may have been opened: get a new number
                videos.number(part)
            part.opening = OpenClip(
                handle=wire.info.handle,
                clip=part.number,
                name=self._name,
                part=part.part,
                rows=grid[0],
                cols=grid[1],
                episode=self._episode,
                step=self._step,
                started=part.started,
                frame_bytes=sum(picture.layout.nbytes for picture in pictures),
                envs=self._envs,
                **self._encoding._asdict(),
            )
            if wire.live:
                part.epoch = wire.epoch
                part.begin = number
                part.connection.frames.say(wire, part.opening)
            return part.opening

    def go_on(self, part: _Part, frames: list[Lying]) -> None:
        """Have frames recorded that a dead daemon left in shared memory: see `_Part.go_on`."""
        wire, opening, stream = part.wire, part.opening, self._stream
        if opening is None:
            return
        heir = part
        if part.epoch:
            heir = self._new_part(wire, part.layouts, part.started)
            first = frames[0].index
            heir.offered = len(frames)
            heir.begin = part.begin + first
            part.offered -= heir.offered
            frames = [replace(frame, clip=heir.number, index=frame.index - first) for frame in frames]
        heir.epoch, heir.complete = wire.epoch, part.complete
        heir.opening = structs.replace(opening, clip=heir.number, part=heir.part)
        end = None if heir.complete is None else EndClip(wire.info.handle, heir.number, heir.complete)
        part.connection.frames.go_on(wire, heir.opening, frames, end)
        if part is self._part:
            self._part = heir
        if heir is not part:
            self._not_whole("its daemon died while it was recorded: a frame may be missing")
            self._tell(*[each for each in (part, heir) if each is part or heir.complete is not None])
        if heir.complete is not None:
            stream.videos.unfinished[heir.number] = self._name, wire, wire.epoch, heir.sent
            part.connection.unsettled.add(stream)

    def _tell(self, *parts: _Part) -> None:
        """Send the accounts of parts."""
        self._stream.record(*[self._account(part) for part in parts])

    def _not_whole(self, why: str) -> None:
        """Count the video as not whole: some of it may be missing."""
        self._stream.videos.losses.videos[self._name] = why

    def _account(self, part: _Part) -> ClipRecord:
        row = -1 if self.first_row is None else self.first_row + part.begin  # a negative row is of an earlier stream
        return ClipRecord(
            clip=part.number,
            name=self._name,
            part=part.part,
            episode=self._episode,
            step=self._step,
            steps=part.steps,
            return_=part.return_,
            offered=part.offered,
            dropped=dict(part.dropped),
            fps=self._encoding.fps,
            started=part.started,
            complete=True if part.complete is None else part.complete,
            first_row=row if row >= 0 else None,
            diverged=self._diverged,
            unended=self.unended,
        )

    def _finish(self, part: _Part, *, complete: bool) -> None:
        """Close a part's account, as its frames are over, and send it to the daemon."""
        stream, connection, wire = self._stream, part.connection, part.wire
        part.complete = complete
        with connection.lock:
            if part.epoch and part.epoch == wire.epoch and wire.live:
                connection.frames.say(wire, EndClip(wire.info.handle, part.number, complete))
                stream.videos.unfinished[part.number] = self._name, wire, part.epoch, part.sent
                connection.unsettled.add(stream)
            elif part.epoch:
                self._not_whole("the connection broke")
            elif part.sent:  # its frames are in shared memory, and it is opened once there is a daemon
                stream.videos.unfinished[part.number] = self._name, wire, 0, part.sent
            else:
                stream.videos.parts.pop(part.number, None)
        self._tell(part)
        for reason, count in part.dropped.items():
            if reason in _WHY:  # for a frame that is no picture, the wrapper has warned already
                stream.videos.losses.frames[reason] += count
                connection.warn_once(
                    f"{count} of {part.offered} frames of {self._name!r} are missing: {_WHY[reason]}. "
                    "(Said once; `offcam ls` counts all.)",
                    about=reason,
                )


def _sizes(layouts: tuple[FrameLayout, ...]) -> list[tuple[int, int]]:
    return [layout.size for layout in layouts]
