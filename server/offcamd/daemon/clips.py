"""Clips from their opening until their rows are stored: their names, their frames, what encoders report of them."""

from __future__ import annotations

import time
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from offcam_proto.errors import ConfigError, EncodeError, MalformedMessage
from offcam_proto.limits import MAX_CLIPS_PER_STREAM, MAX_INT
from offcam_runs.format import FINAL, PART_EXTENSION, video_file
from offcam_runs.keep.rules import unpack
from offcamd.daemon.state import LiveClip
from offcamd.encode import pool as encoding
from offcamd.encode.frame import Frame, arrived
from offcamd.encode.saved_clip import SavedClip
from offcamd.process.logs import Logger
from offcamd.store import store, tasks

if TYPE_CHECKING:
    from collections.abc import Collection

    from offcam_proto import messages as msg
    from offcam_proto.saving import SaveClip
    from offcamd.config.settings import Settings
    from offcamd.daemon.flow_control import Grants
    from offcamd.daemon.state import Counters, LiveStream

log = Logger(__name__)

LAGGING_SECONDS = 2.0
"""While the encoders are further behind than this, though they give way to nobody, new clips that ask for no preset get
the fastest."""

FASTEST_PRESET = "ultrafast"

VANISHED = "vanished"
"""The reason of a video that is saved from a ring because its client vanished."""

_NO_ROOM = "its index cannot be written: is the disk full?"


class Clips:
    """All clips whose rows are not stored yet. Belongs to the service's thread.

    Args:
        settings: the daemon's settings.
        pool: the encoders.
        storage: the store.
        grants: the streams' credit.
        counters: where frames and clips are counted.

    Attributes:
        stopping: whether the daemon stops, so that frames which still come are dropped.
    """

    def __init__(
        self, settings: Settings, pool: encoding.EncoderPool, storage: store.Store, grants: Grants, counters: Counters
    ) -> None:
        self.stopping = False
        self._settings = settings
        self._pool = pool
        self._store = storage
        self._grants = grants
        self._counters = counters
        self._files: set[Path] = set()  # the final paths of videos that are being written
        self._by_job: dict[encoding.ClipJob | SavedClip, LiveClip] = {}

    @property
    def live(self) -> Collection[LiveClip]:
        """All of them, in order of opening."""
        return self._by_job.values()

    def of(self, job: encoding.ClipJob | SavedClip) -> LiveClip:
        """The clip that a job encodes."""
        return self._by_job[job]

    # --- what clients send --------------------------------------------------------------------------------

    def open(self, stream: LiveStream, message: msg.OpenClip) -> None:
        """Begin a video or a ring. If that is impossible, its frames are dropped and counted."""
        self._grants.fit(stream, message.frame_bytes)
        if message.ring_seconds:
            self._open_ring(stream, message)
            return
        if not stream.ready or not self._store.takes(stream.info.folder):
            return  # its files' suffix is not known yet, or no row could say where they are
        if message.keep and (problem := _unreadable(message.keep)):
            log.warning("a video stays, as its rule cannot be read", name=message.name, problem=problem)
            message = replace(message, keep="")
        final = self._name(stream, message)
        try:
            # held until its row is in the index
            job = self._pool.open(self._spec(final, message), stream.at_hand, held=True)
        except EncodeError as error:
            log.warning("a clip cannot be begun", file=str(final), problem=str(error))
            return
        clip = LiveClip(stream, message.clip, final.name, job)
        stream.clips[message.clip] = self._by_job[job] = clip
        self._store.put(
            tasks.ClipOpenedTask(
                folder=stream.info.folder, stream=stream.info.stream, message=message, file=final.name, reply=clip
            )
        )

    def _name(self, stream: LiveStream, message: msg.OpenClip, *, new: bool = False) -> Path:
        """The final path of a clip, which no other open clip has, and with ``new`` no other file at all."""
        final = Path(stream.info.folder) / video_file(message.name, stream.suffix, message.part)
        if final in self._files or (new and final.exists()):
            unique = f"{message.name}-{stream.info.stream.hex()[:8]}-{message.clip}"
            final = final.with_name(video_file(unique, 0, message.part))
        self._files.add(final)
        return final

    def _open_ring(self, stream: LiveStream, message: msg.OpenClip) -> None:
        """Begin a ring, which has neither a file nor a row."""
        final = Path(stream.info.folder) / video_file(message.name, stream.suffix, message.part)
        try:
            job = self._pool.open(self._spec(final, message), stream.at_hand)
        except EncodeError as error:
            log.warning("a ring cannot be begun", file=str(final), problem=str(error))
            return
        clip = LiveClip(stream, message.clip, final.name, job, ring=message)
        stream.clips[message.clip] = self._by_job[job] = clip

    def save(self, stream: LiveStream, message: SaveClip) -> str:
        """Save a video of a ring. Returns why that is impossible, or ``""``."""
        ring = stream.clips.get(message.clip)
        if ring is None or ring.ring is None or ring.ended:
            return f"nothing of {message.name!r} is held: {self._pool.closed or 'its ring could not be begun'}"
        if not stream.ready or not self._store.takes(stream.info.folder):
            return f"{message.name!r} is not saved: {_NO_ROOM}"
        if len(stream.clips) >= MAX_CLIPS_PER_STREAM:
            return f"{message.name!r} is not saved: {len(stream.clips)} videos of this env are being written"
        self._save(ring, opening_of(ring.ring, message), message)
        return ""

    def save_vanished(self, stream: LiveStream) -> None:
        """Save what the rings of a stream hold, as its client vanished. Each video takes the number of its ring."""
        for ring in [clip for clip in stream.clips.values() if clip.ring and clip.received and not clip.ended]:
            assert ring.ring is not None  # noqa: S101 - only rings are in the list
            del stream.clips[ring.number]
            self._save(ring, replace(ring.ring, ring_seconds=0.0, keep=""), None)
            self.end(ring, aborted=True)

    def _save(self, ring: LiveClip, opening: msg.OpenClip, message: SaveClip | None) -> None:
        stream, job = ring.stream, ring.job
        assert isinstance(job, encoding.RingJob)  # noqa: S101 - what `_open_ring` made
        final = self._name(stream, opening, new=True)
        spec = self._spec(final, opening)
        if message is None:
            saved = SavedClip(spec, MAX_INT, MAX_INT, 0, self._pool.health)
        else:
            saved = SavedClip(spec, message.index, message.before, message.after, self._pool.health)
        clip = LiveClip(stream, opening.clip, final.name, saved, ended=not saved.after)
        stream.clips[opening.clip] = self._by_job[saved] = clip
        reason = VANISHED if message is None else message.reason
        where = stream.info.folder, stream.info.stream
        self._store.put(tasks.ClipOpenedTask(*where, opening, final.name, clip, reason or "asked for"))
        job.save(saved)

    def noted(self, clip: LiveClip) -> None:
        """Let a clip be written, as its row is in the index."""
        if isinstance(clip.job, SavedClip):
            clip.job.start()
        else:
            self._pool.start(clip.job)

    def _spec(self, final: Path, message: msg.OpenClip) -> encoding.ClipSpec:
        lagging = not message.preset and self._pool.pace.pressed and self._pool.backlog().lag_seconds > LAGGING_SECONDS
        return encoding.ClipSpec(
            part=final.with_name(final.name + PART_EXTENSION),
            final=final,
            fps=Fraction(message.fps).limit_denominator(1001),
            rows=max(message.rows, 1),
            cols=max(message.cols, 1),
            preset=FASTEST_PRESET if lagging else message.preset or self._settings.preset,
            crf=self._settings.crf if message.crf is None else message.crf,
            max_width=message.max_width,
            max_height=message.max_height,
            judged=bool(message.keep),
            ring_frames=max(1, round(message.ring_seconds * message.fps)) if message.ring_seconds else 0,
            urgent=message.urgent and not message.ring_seconds,  # a ring is open as long as its env is
        )

    def frame(self, stream: LiveStream, message: msg.Frame) -> None:
        """Take in a frame that came through the socket."""
        parts = list(zip(message.pixels, message.layouts, strict=True))
        self._take(stream, message.clip, [arrived(message.index, parts)])

    def slot_frames(self, stream: LiveStream, message: msg.SlotFrames) -> None:
        """Take in frames that lie in their stream's arena."""
        arena = stream.arena
        assert arena is not None  # noqa: S101 - the session admits no slot without one
        clip, layouts, nbytes, now = message.clip, message.layouts, message.nbytes, time.monotonic()
        frames = []
        for index, slot in message.frames:
            move = None if arena.spool is None else partial(arena.move, slot, clip, index, layouts)
            release = partial(arena.free, slot)
            parts, place = arena.take(slot, layouts), arena.place(slot, layouts)
            frames.append(Frame(index, parts, nbytes, now, release=release, move=move, place=place))
        self._take(stream, clip, frames)

    def unnamed_frames(self, stream: LiveStream) -> None:
        """Take in the frames that a stream's client had in its arena when it ended, and had sent no message for."""
        if stream.arena is not None and stream.peer is not None:
            for message in stream.peer.session.unnamed(stream.handle, stream.arena.unnamed()):
                self.slot_frames(stream, message)

    def _take(self, stream: LiveStream, number: int, frames: list[Frame]) -> None:
        clip = stream.clips.get(number)
        if clip is None or not clip.ring:
            self._counters.received += len(frames)
        # a frame is of no use if its clip has ended or could not be opened, or if its slot has no memory
        taken = clip is not None and not clip.ended
        usable = [frame for frame in frames if taken and frame.parts]
        if len(usable) < len(frames):
            unusable = [frame for frame in frames if not (taken and frame.parts)]
            self._drop(stream, unusable, self._why_not(clip), counted=clip is None or not clip.ring)
        if clip is not None and usable and not isinstance(clip.job, SavedClip):
            clip.received += len(usable)
            stream.in_memory += sum([frame.nbytes for frame in usable])
            clip.job.offer(usable)

    def _drop(self, stream: LiveStream, frames: list[Frame], reason: str, *, counted: bool) -> None:
        """Release frames that no encoder gets. A ring's are not ``counted`` as dropped."""
        self._counters.dropped[reason] += len(frames) * counted
        self._counters.lost["frames"] += len(frames) * counted
        for frame in frames:
            if frame.release is not None:
                frame.release()
            self._grants.released(stream, frame.nbytes)

    def _why_not(self, clip: LiveClip | None) -> str:
        if self.stopping:
            return "shutdown"
        if self._pool.closed is not None:
            return self._pool.closed.reason
        return "encoder" if clip is not None and clip.error else "disk_full"

    @staticmethod
    def end(clip: LiveClip, *, aborted: bool) -> None:
        """End a clip: no more frames come for it."""
        if not clip.ended:
            clip.ended = True
            clip.job.end(aborted=aborted)

    # --- what the encoders and the store report -----------------------------------------------------------

    def released(self, event: encoding.Released) -> None:
        """Return the credit of frames that have left memory."""
        stream = self._by_job[event.job].stream
        stream.in_memory -= event.nbytes
        self._grants.released(stream, event.nbytes)

    def saturated(self, event: encoding.Saturated) -> None:
        """Tell a clip's client whether credit will be long in coming."""
        self._grants.saturated(self._by_job[event.job].stream, saturated=event.saturated)

    def finished(self, event: encoding.ClipFinished) -> LiveClip | None:
        """Count a clip that the encoder is done with, and have its row stored. A ring has none: it is returned."""
        clip, result = self._by_job[event.job], event.result
        stream = clip.stream
        if clip.ring:
            clip.ended, clip.error = True, result.error
            return clip
        if isinstance(event.job, SavedClip):
            self._counters.received += result.encoded + sum(result.dropped.values())
        self._counters.encoded += result.encoded
        self._counters.dropped.update(result.dropped)
        self._counters.lost["frames"] += sum(result.dropped.values())
        stream.dropped.update(result.dropped)
        self._counters.clips[result.state] += 1
        clip.written, clip.encoded, clip.error, clip.ended = result.file or "", result.encoded, result.error, True
        if event.job.spec.judged and result.state == FINAL:
            clip.written = ""  # its client is told the file once a rule keeps it
        if result.state != FINAL:
            log.warning("a video was cut off", file=clip.file, frames=result.encoded, dropped=result.dropped)
        if result.error:
            self._pool.health.note(f"{clip.file}: {result.error}")
        self._store.put(
            tasks.ClipEncodedTask(
                folder=stream.info.folder, stream=stream.info.stream, clip=clip.number, result=result, reply=clip
            )
        )
        return None

    def stored(self, clip: LiveClip) -> bool:
        """Forget a clip whose row is stored. Returns False if it was forgotten before."""
        if self._by_job.pop(clip.job, None) is None:
            return False
        stream = clip.stream
        if stream.clips.get(clip.number) is clip:  # else it is a ring, and a video saved from it has its number
            del stream.clips[clip.number]
        stream.encoded += clip.encoded
        if not clip.ring:
            self._files.discard(Path(stream.info.folder) / clip.file)
        return True


def opening_of(ring: msg.OpenClip, message: SaveClip) -> msg.OpenClip:
    """The message that would open a video which is saved from a ring."""
    return replace(
        ring,
        clip=message.saved,
        name=message.name,
        part=1,
        episode=message.episode,
        step=message.step,
        started=message.started,
        ring_seconds=0.0,
        keep="",
    )


@lru_cache(maxsize=64)  # all clips of a wrapper have the same rule
def _unreadable(rule: str) -> str:
    """Why a rule that a client sent cannot be read; empty where it can."""
    try:
        unpack(rule)
    except (ConfigError, MalformedMessage) as error:
        return str(error)
    return ""
