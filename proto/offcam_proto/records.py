"""Records: what must not be lost. They are numbered per stream, kept by the client until acked, replayed."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from offcam_proto import validation as check
from offcam_proto.errors import MalformedMessage
from offcam_proto.limits import MAX_INT, MAX_NAME_BYTES, MAX_SEED_BYTES


class EpisodeRecord(msgspec.Struct, frozen=True):
    """One finished episode of one (sub-)environment.

    Attributes:
        env_index: index of the sub-environment, 0 for a single env.
        episode: 0-based number of the episode in this (sub-)environment, counting resets.
        return_: sum of the episode's rewards; NaN and the infinities are kept.
        length: number of steps.
        duration: seconds from reset to the last step, from a monotonic clock.
        started: seconds since the Unix epoch at reset.
        terminated: whether the last step ended in a terminal state.
        truncated: whether the last step was cut off.
        seed: the seed given to the reset, as text where it exceeds 63 bits, or None.
    """

    KIND: ClassVar[int] = 1

    env_index: int
    episode: int
    return_: float
    length: int
    duration: float
    started: float
    terminated: bool
    truncated: bool
    seed: int | str | None

    def __post_init__(self) -> None:
        check.uint("env_index", self.env_index)
        check.uint("episode", self.episode)
        check.real("return", self.return_)
        check.uint("length", self.length)
        check.real("duration", self.duration)
        check.real("started", self.started)
        check.flag("terminated", self.terminated)
        check.flag("truncated", self.truncated)
        if isinstance(self.seed, str):
            check.text("seed", self.seed, MAX_SEED_BYTES)
        elif self.seed is not None and (type(self.seed) is not int or not -MAX_INT <= self.seed <= MAX_INT):
            raise MalformedMessage(f"seed must be an integer, text or None, got {check.shown(self.seed)}")


class ClipRecord(msgspec.Struct, frozen=True):
    """The client's account of one clip it has ended: with it, every offered frame is accounted for.

    Attributes:
        clip: number of the clip in its stream.
        name: video name without suffix, part or extension.
        part: 1, or higher where the frame size changed or the daemon was replaced within the video.
        episode: RecordVideo's episode id when the clip began.
        step: RecordVideo's step id when the clip began (-1 becomes 0: no step yet).
        steps: steps taken within the clip.
        return_: sum of the rewards of those steps (of sub-environment 0 in a vector env).
        offered: frames the wrapper captured for this clip.
        dropped: frames never sent, by reason. ``offered - sum(dropped)`` frames were sent.
        fps: frames per second of the video.
        started: seconds since the Unix epoch.
        complete: whether the clip ended as its owner meant it to, rather than being cut off.
    """

    KIND: ClassVar[int] = 2

    clip: int
    name: str
    part: int
    episode: int
    step: int
    steps: int
    return_: float
    offered: int
    dropped: dict[str, int]
    fps: float
    started: float
    complete: bool

    def __post_init__(self) -> None:
        check.uint("clip", self.clip)
        check.file_name("name", self.name, MAX_NAME_BYTES)
        check.uint("part", self.part, low=1)
        check.uint("episode", self.episode)
        check.uint("step", self.step)
        check.uint("steps", self.steps)
        check.real("return", self.return_)
        check.uint("offered", self.offered)
        check.counts("dropped", self.dropped)
        if sum(self.dropped.values()) > self.offered:
            raise MalformedMessage(
                f"dropped {check.shown(self.dropped)} is more than the {self.offered} frames offered"
            )
        check.real("fps", self.fps)
        check.real("started", self.started)
        check.flag("complete", self.complete)

    @property
    def sent(self) -> int:
        """Frames handed to the wire."""
        return self.offered - sum(self.dropped.values())


Record = EpisodeRecord | ClipRecord
RECORD_KINDS: dict[int, type[EpisodeRecord | ClipRecord]] = {cls.KIND: cls for cls in (EpisodeRecord, ClipRecord)}
