"""What one wrapped env sends: its clips and its episodes, with every offered frame accounted for."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from offcam.connection import connection as link
from offcam.connection import launch, process, timeouts
from offcam.recorder.losses import Losses
from offcam_proto.client_session import State
from offcam_proto.errors import DaemonError, DaemonNotInstalled, DaemonUnavailable, OffcamError, RemoteProtocolError
from offcam_proto.messages import ClipDone, OpenClip, OpenStream
from offcam_proto.records import ClipRecord, EpisodeRecord

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from offcam.recorder.frames import Picture
    from offcam_proto.client_stream import ClientStream

Overflow = Literal["drop", "block"]
"""What a step does when the daemon is far behind: drop the frame (counted), or wait (with a cap)."""

_WHY = {
    "no_daemon": "no recorder daemon answered; start one with `offcam start`",
    "credit": "the recorder daemon is far behind; pass overflow='block' to wait for it instead",
    "timeout": f"the recorder daemon took no frame for {timeouts.BLOCK_SECONDS:g} s; see `offcam status`",
}


class EnvStream:
    """The stream of one env, shared by the wrappers around it. It belongs to whoever steps the env.

    It survives what the process goes through: a daemon that comes late, dies or is replaced, a fork (the
    child gets a stream of its own), and use after `release`.

    Args:
        folder: absolute path of the run folder.
        env_id: id of the env, for people.
        num_envs: number of sub-environments.
        vector: whether it is a vector env.
        prefix: name prefix of its videos; empty for a stream without video.
    """

    def __init__(self, folder: str, *, env_id: str, num_envs: int, vector: bool, prefix: str = "") -> None:
        self.folder = folder
        self.prefix = prefix
        self._env_id = env_id[:200].encode(errors="backslashreplace").decode().replace("\0", "\\0")
        self._num_envs = num_envs
        self._vector = vector
        self._users: set[int] = set()
        self._pid = 0
        self._copied = False
        self._strict = False
        self._opening = False
        self._awaited = False  # it was said that recording has not begun
        self._losses = Losses()
        self._link: link.Link | None = None
        self._wire: ClientStream | None = None
        self._next_clip = 0
        self._clips: dict[int, ClipWriter] = {}
        self._unfinished: dict[int, _Part] = {}

    def __getstate__(self) -> dict[str, Any]:
        """A copy of an env, as for a process that is spawned, gets a stream of its own, as a forked one does."""
        fresh = {"_users": set(), "_pid": 0, "_link": None, "_wire": None, "_clips": {}, "_unfinished": {}}
        fresh["_losses"] = Losses()
        return {**self.__dict__, **fresh, "_copied": self._copied or self.attached}

    @property
    def attached(self) -> bool:
        """Whether it was ever opened, be it for a daemon that is still to come."""
        return self._wire is not None

    def acquire(self, user: object, *, strict: bool = False) -> EnvStream:
        """Join it: it stays open until each user has called `release`.

        Args:
            user: who joins.
            strict: whether `open` and the last `release` raise where something is or was not recorded.
        """
        self._users.add(id(user))
        self._strict = self._strict or strict
        return self

    def open(self) -> None:
        """Connect, at construction: what is wrong with the setting is raised here and nowhere else.

        A daemon that is slow, frozen or dying is only warned about, and waited for no longer than
        `timeouts.START_SECONDS`: recording begins when it answers. Opened already, it is only waited for.

        Raises:
            ConfigError: ``OFFCAM_ADDR`` is malformed, or is ``tcp://`` and there is no key that can be used.
            KeyRefused: over ``tcp://``, the daemon does not take the key, or is not the one that it is for.
            DaemonNotInstalled: videos are wanted, and there is nothing that could make them; if strict, in any case.
            FolderNotWritable: the daemon cannot use the run folder.
            DaemonUnavailable, VersionMismatch: only if strict: in `timeouts.CERTAIN_SECONDS` recording did not begin.
        """
        connection = process.current()
        deadline = connection.contact.deadline(strict=self._strict)
        self._opening = True
        try:
            self._connect(connection, deadline)
            wire = self._wire
            if wire is None or self._pid != connection.pid or self._link is not connection:
                wire = self._attach(connection)
            if connection.session.state is State.OPEN:
                self._wait_opened(connection, wire, deadline)
        finally:
            self._opening = False

    def _connect(self, connection: link.Link, deadline: float) -> None:
        try:
            process.establish(connection, deadline, strict=self._strict)
        except DaemonNotInstalled as error:
            if self.prefix or self._strict:
                raise
            self._awaited = True
            connection.warn_once(f"episode statistics are kept in this process only: {error}")
        except DaemonUnavailable as error:
            self._not_yet(connection, error)
        except RemoteProtocolError:
            if self._strict:
                raise  # else the link has said that nothing is recorded

    def _wait_opened(self, connection: link.Link, wire: ClientStream, deadline: float) -> None:
        try:
            connection.contact.wait_opened(wire, deadline)
        except (DaemonNotInstalled, DaemonUnavailable) as error:
            self._not_yet(connection, error)
        if wire.live and wire.info.suffix:
            connection.warn_once(
                f"another recording writes {self.prefix!r} videos into {self.folder} right now: this one's "
                f"file names carry the suffix -s{wire.info.suffix}. Give each its own `name_prefix`.",
            )

    def _not_yet(self, connection: link.Link, error: DaemonError) -> None:
        """Warn that recording has not begun, or raise if strict."""
        if self._strict:
            raise error
        self._awaited = True
        connection.warn_once(
            f"nothing is recorded yet: {error} (Training goes on; statistics are kept, and recording begins when the "
            "daemon is there.)",
            about="no_daemon",
        )

    def wire(self) -> ClientStream:
        """The stream on the wire, opened where it is not, as after a fork or `release`. Never raises."""
        if self._wire is None or self._pid != os.getpid():
            connection = process.current()
            self._copied = self._copied or (self.attached and self._pid != os.getpid())  # by a fork
            wire = self._attach(connection)
            if launch.listening(connection.endpoint):  # or the first frames would be lost on an open daemon
                connection.wait(lambda: wire.live or wire.refused is not None, timeouts.REOPEN_SECONDS)
            return wire
        return self._wire

    def episode(self, record: EpisodeRecord) -> None:
        """Record a finished episode. It is kept until the daemon has committed it."""
        self._record(self.wire(), record)

    def clip(self, name: str, *, fps: float, episode: int, step: int, overflow: Overflow) -> ClipWriter:
        """Begin a video. Nothing is opened before its first frame."""
        return ClipWriter(self, name, fps=fps, episode=episode, step=step, block=overflow == "block")

    def pump(self) -> None:
        """Let the connection work for a moment: acks, credit, a daemon that came back."""
        if self._link is not None and self._pid == os.getpid():
            self._link.pump()

    def flush(self, *, quiet: bool = True) -> bool:
        """Wait until everything that ended is final. Returns whether it is."""
        if self._link is None or self._pid != os.getpid():
            return True
        self._link.pump()
        if self._wire is None or (self.settled and not self._wire.unacked):
            return True
        if not self._wire.epoch and self._link.hopeless:
            return False  # there never was a daemon: one warning was given, waiting would be in vain
        final = self._link.flush(quiet=quiet)
        if not final:
            self._link.warn_once(
                "gave up waiting for the recorder daemon: it finishes what it has by itself if it lives; see "
                f"`offcam status` and `offcam ls {self.folder}`.",
                about="gave up",
            )
        return final

    def release(self, user: object, *, quiet: bool = True) -> None:
        """Leave it; the last user closes it and waits until its files are final. Used again, it opens again.

        Raises:
            RecordingLost: if strict, where something is not recorded, or nobody can tell.
        """
        self._users.discard(id(user))
        if self._users or self._wire is None or self._pid != os.getpid():
            return
        for clip in list(self._clips.values()):
            clip.end()
        self._close_wire()
        self.flush(quiet=quiet)
        wire, self._wire = self._wire, None
        losses, self._losses = self._losses, Losses()
        if self._strict:
            losses.settle(wire, [part.name for part in self._unfinished.values()])
            losses.raise_if_any(self.folder)
        elif wire.lost_records and self._link is not None:
            self._link.warn_once(
                f"{wire.lost_records} records of episodes or videos that ended are in no index of {self.folder}: too "
                "many waited for the recorder daemon, or the index that had them was replaced.",
                about=f"lost records: {self.folder}",
            )

    def dropped(self, user: object, clip: ClipWriter | None = None) -> None:
        """A user is being garbage-collected without `release`: keep what was recorded, but wait for nothing."""
        self._users.discard(id(user))
        if self._link is None or self._pid != os.getpid():
            return
        if not self._users:
            self._link.later(self.abandon)
        elif clip is not None:
            self._link.later(lambda: clip.end(complete=clip.episode_over))

    # --- StreamOwner --------------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether no clip of it is open or on its way to its final name, at a daemon that can still tell."""
        return not self._clips and all(part.epoch != part.wire.epoch for part in self._unfinished.values())

    def answered(self, *, refused: str) -> None:
        """The daemon has opened the stream, or will not have it: said here where no construction waits for that."""
        if self._opening or self._link is None:
            return
        if refused:
            self._link.warn_once(f"nothing is recorded into {self.folder}: {refused}", about=f"refused {self.folder}")
        elif self._awaited:
            self._awaited = False
            self._link.warn_once("the recorder daemon is there now: recording has begun.")

    def clip_done(self, message: ClipDone) -> None:
        """A clip's file is final, or failed."""
        part = self._unfinished.pop(message.clip, None)
        if message.error and part is not None:
            self._losses.videos[part.name] = message.error
        if message.error and self._link is not None:
            name = part.name if part is not None else message.file
            self._link.warn_once(
                f"the video {name!r} in {self.folder} is not whole: {message.error} (Said once; `offcam ls` has all.)",
                about=f"not whole: {self.folder}",
            )

    def abandon(self) -> None:
        """The process leaves without `release`: keep what was recorded."""
        if self._wire is None or self._pid != os.getpid():
            return
        for clip in list(self._clips.values()):
            clip.end(complete=clip.episode_over)
        self._close_wire()

    @property
    def _lock(self) -> AbstractContextManager[None]:
        """What to hold while changing the wire: other threads have envs of their own on the same link."""
        assert self._link is not None  # noqa: S101 - there is no wire without one
        return self._link.lock

    def _close_wire(self) -> None:
        assert self._link is not None  # noqa: S101 - as in _lock
        assert self._wire is not None  # noqa: S101 - as its callers looked
        self._link.close_stream(self._wire)

    # --- for ClipWriter -----------------------------------------------------------------------------------

    def await_first_video(self, seconds: float) -> None:
        """Where a video begins before its daemon: wait for that once, see `Contact.await_first_video`."""
        if self._link is not None and self._wire is not None:
            self._link.contact.await_first_video(self._wire, seconds)

    def begin_part(self, part: _Part, clip: OpenClip) -> None:
        """Open a part of a clip on the wire, if that is live."""
        with self._lock:
            if part.wire.live:
                part.epoch = part.wire.epoch
                part.base = part.offered
                part.wire.open_clip(clip)

    def send(self, part: _Part, pictures: tuple[Picture, ...], patience: float) -> str | None:
        """Send a frame of an opened part; returns why it was dropped, or None."""
        assert self._link is not None  # noqa: S101 - wire() was called before
        index = part.offered - part.base
        return self._link.send_frame(part.wire, part.epoch, part.number, index, pictures, patience=patience)

    def end_part(self, part: _Part, record: ClipRecord) -> None:
        """Close a part's books: its frames are over, and its account goes to the daemon."""
        assert self._link is not None  # noqa: S101 - as in send
        with self._lock:
            if part.epoch and part.epoch == part.wire.epoch and part.wire.live:
                part.wire.end_clip(part.number, complete=record.complete)
                self._unfinished[part.number] = part
                self._link.keep(self)
            elif part.epoch:
                self._losses.videos[part.name] = "the connection broke"
        self._record(part.wire, record)
        for reason, count in record.dropped.items():
            if reason in _WHY:  # of what is no picture, the wrapper has said why
                self._losses.frames[reason] += count
                self._link.warn_once(
                    f"{count} of {record.offered} frames of {record.name!r} are missing: {_WHY[reason]}. "
                    "(Said once; `offcam ls` counts all.)",
                    about=reason,
                )

    def enrol(self, clip: ClipWriter) -> None:
        """Remember an open clip, so that it is ended when the process leaves."""
        self._clips[id(clip)] = clip

    def forget(self, clip: ClipWriter) -> None:
        """The clip has ended."""
        self._clips.pop(id(clip), None)

    def new_part(self, wire: ClientStream, name: str, part: int, sizes: tuple[tuple[int, int], ...]) -> _Part:
        """A part of a video with a fresh clip number."""
        number = self._next_clip
        self._next_clip += 1
        return _Part(wire, number, name, part, sizes, time.time())

    def _record(self, wire: ClientStream, record: EpisodeRecord | ClipRecord) -> None:
        try:
            with self._lock:
                kept = wire.record(record)
        except OffcamError as error:
            if self._link is not None:
                self._link.warn_once(f"a record could not be sent and is lost: {error}")
            return
        if not kept and self._link is not None:
            self._link.warn_once("statistics are being lost: the recorder daemon has not answered for too long.")
        self.pump()

    def _attach(self, connection: link.Link) -> ClientStream:
        suffix = 2 if self._copied and self.prefix else 0  # the original's files are not to be replaced by a copy's
        info = OpenStream(
            0, uuid.uuid4().bytes, self.folder, self.prefix, suffix, bool(self.prefix),
            self._env_id, self._num_envs, self._vector, time.time(),
        )  # fmt: skip
        self._link = connection
        self._pid = connection.pid
        self._next_clip = 0
        self._unfinished.clear()
        self._wire = connection.open_stream(info, self)
        return self._wire


def as_float(value: Any) -> float:  # noqa: ANN401 - a reward of whatever kind the env gives
    """A reward or return as a float; NaN where it is no single number, as the record must have one."""
    try:
        return float(value.item() if isinstance(value, np.ndarray) else value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    except (TypeError, ValueError, RuntimeError):  # the last is what torch says to more than one number
        return float("nan")


@dataclass(slots=True)
class _Part:
    """One file of a video.

    Attributes:
        epoch: the stream's epoch when it was opened on the wire, 0 before.
        base: frames offered before that.
    """

    wire: ClientStream
    number: int
    name: str
    part: int
    sizes: tuple[tuple[int, int], ...]
    started: float
    epoch: int = 0
    base: int = 0
    offered: int = 0
    steps: int = 0
    return_: float = 0.0
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


class ClipWriter:
    """One video of a stream: one file, or more where the frame size changes or the daemon is replaced.

    Attributes:
        offered: frames captured so far, over all its parts.
        episode_over: whether the last step it saw ended an episode; set by its wrapper.
    """

    def __init__(self, stream: EnvStream, name: str, *, fps: float, episode: int, step: int, block: bool) -> None:
        self.offered = 0
        self.episode_over = False
        self._stream = stream
        self._name = name
        self._fps = fps
        self._episode = episode
        self._step = step
        self._block = block
        self._part: _Part | None = None
        self._last_frame = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        """A copy goes on in a file of its own."""
        return {**self.__dict__, "_part": None}

    def add(self, pictures: tuple[Picture, ...], grid: tuple[int, int] = (1, 1)) -> None:
        """Take the next frame: one picture, or one for each tile of a ``(rows, cols)`` grid.

        The pixels are copied out before it returns. Never raises, and waits only as the overflow policy says.
        """
        wire = self._stream.wire()
        sizes = tuple(picture.layout.size for picture in pictures)
        part = self._part
        if part is None or not self._continues(part, wire, sizes):
            part = self._next_part(wire, sizes)
        if not part.offered:
            self._stream.await_first_video(timeouts.BLOCK_SECONDS if self._block else timeouts.START_SECONDS)
        if not part.epoch and wire.live:
            self._stream.begin_part(
                part,
                OpenClip(
                    wire.info.handle, part.number, self._name, part.part, self._fps, *grid, self._episode,
                    max(self._step, 0), part.started, sum(picture.layout.nbytes for picture in pictures),
                ),
            )  # fmt: skip
        if part.epoch:
            reason = self._stream.send(part, pictures, self._patience())
            reason = "timeout" if reason == "credit" and self._block else reason
        else:
            self._stream.pump()
            reason = "no_daemon"
        self.offered += 1
        part.offered += 1
        if reason is not None:
            part.drop(reason)
        self._last_frame = time.monotonic()  # now, so that a wait does not make the next one longer

    def reject(self) -> None:
        """Count a frame that could not be made into a picture."""
        if self._part is not None:
            self.offered += 1
            self._part.offered += 1
            self._part.drop("invalid")

    def step(self, reward: object) -> None:
        """Count a step and its reward towards this video."""
        if self._part is not None:
            self._part.steps += 1
            self._part.return_ += as_float(reward)

    def end(self, *, complete: bool = True) -> None:
        """No more frames come. The file becomes final in the background."""
        self._stream.forget(self)
        if self._part is not None:
            self._finish(self._part, complete=complete)
            self._part = None

    def _patience(self) -> float:
        """How long this frame may wait for credit: see `timeouts.PATIENCE_SECONDS`."""
        if self._block:
            return timeouts.BLOCK_SECONDS
        step = time.monotonic() - self._last_frame
        return max(timeouts.PATIENCE_SECONDS, min(step, timeouts.MOST_PATIENCE_SECONDS))

    @staticmethod
    def _continues(part: _Part, wire: ClientStream, sizes: tuple[tuple[int, int], ...]) -> bool:
        return part.wire is wire and part.sizes == sizes and part.epoch in (0, wire.epoch)

    def _next_part(self, wire: ClientStream, sizes: tuple[tuple[int, int], ...]) -> _Part:
        before = self._part
        self._stream.enrol(self)
        if before is None or before.wire is not wire:  # a first part; or in a forked child, whose parent goes on
            self._part = self._stream.new_part(wire, self._name, 1, sizes)
        else:
            self._finish(before, complete=True)
            self._part = self._stream.new_part(wire, self._name, before.part + 1, sizes)
        return self._part

    def _finish(self, part: _Part, *, complete: bool) -> None:
        if part.wire is not self._stream.wire():
            return
        self._stream.end_part(
            part,
            ClipRecord(
                part.number, self._name, part.part, self._episode, max(self._step, 0), part.steps, part.return_,
                part.offered, part.dropped, self._fps, part.started, complete,
            ),
        )  # fmt: skip
