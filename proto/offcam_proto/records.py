"""Records: what must not be lost. They are numbered per stream, kept by the client until acked, replayed."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offcam_proto import validation as check
from offcam_proto.errors import MalformedMessage
from offcam_proto.validation import Checked, FileName, Flag, PositiveInt, Real, UInt


class EpisodeRecord(Checked, frozen=True):
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

    env_index: UInt
    episode: UInt
    return_: Real
    length: UInt
    duration: Real
    started: Real
    terminated: Flag
    truncated: Flag
    seed: Annotated[int | str | None, check.seed]


class ClipRecord(Checked, frozen=True):
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

    clip: UInt
    name: FileName
    part: PositiveInt
    episode: UInt
    step: UInt
    steps: UInt
    return_: Real
    offered: UInt
    dropped: Annotated[dict[str, int], check.counts]
    fps: Real
    started: Real
    complete: Flag

    def __post_init__(self) -> None:
        super().__post_init__()
        if sum(self.dropped.values()) > self.offered:
            raise MalformedMessage(
                f"dropped {check.shown(self.dropped)} is more than the {self.offered} frames offered"
            )

    @property
    def sent(self) -> int:
        """Frames handed to the wire."""
        return self.offered - sum(self.dropped.values())


Record = EpisodeRecord | ClipRecord
RECORD_KINDS: dict[int, type[EpisodeRecord | ClipRecord]] = {cls.KIND: cls for cls in (EpisodeRecord, ClipRecord)}
