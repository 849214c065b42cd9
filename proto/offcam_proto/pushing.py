"""The messages by which a hub learns of videos that another host has, and of those that are gone there."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar

from offcam_proto import limits
from offcam_proto import validation as check
from offcam_proto.errors import LimitExceeded, MalformedMessage
from offcam_proto.validation import Checked, FileName, Flag, PositiveInt, Real, Text, UInt

WHOLE_STATES = ("final", "recovered", "aborted")
"""States of a clip whose file changes no more, as the run folder's format has them."""


def _state(name: str, value: object) -> None:
    if value not in WHOLE_STATES:
        raise MalformedMessage(f"{name} must be one of {', '.join(WHOLE_STATES)}, got {check.shown(value)}")


def _file(name: str, value: object) -> None:
    check.file_name(name, value, limits.MAX_FILE_BYTES)


def _stretches(name: str, value: object) -> None:
    if type(value) is not tuple or not value or len(value) % 2:
        raise MalformedMessage(f"{name} must be pairs of a first and a last number, got {check.shown(value)}")
    if len(value) > 2 * limits.MAX_STRETCHES:
        raise LimitExceeded(f"{name} must be at most {limits.MAX_STRETCHES} pairs, got {len(value) // 2}")
    for number in value:
        check.uint(f"a number of {name}", number)
    if any(before > after for before, after in pairwise(value)):
        raise MalformedMessage(f"{name} must be in order, got {check.shown(value)}")


class ClipElsewhere(Checked, frozen=True):
    """A clip of a stream whose file is on another host, or in object storage, with its whole account.

    The daemon answers with a `messages.ClipDone` once it is in the index. A later one of the same clip takes its place.

    Attributes:
        file: name of the file in its folder.
        place: where that folder is: ``HOST:PATH``, or the URL of the run in object storage.
        state: one of `WHOLE_STATES`.
        name: as in `messages.OpenClip`, like ``part``, ``fps``, ``episode``, ``step``, ``started`` and ``envs``.
        width: of the video, in pixels.
        height: likewise.
        duration: of the video, in seconds.
        file_bytes: size of the file.
        steps: as in `records.ClipRecord`, like ``complete`` and ``diverged``. None where its client has not told; then
            ``rewards`` and ``complete`` mean nothing.
        rewards: sum of the rewards of those steps.
        offered: frames that were captured for it; of these, ``received`` by the daemon, ``encoded`` in the file, and
            ``dropped`` by reason.
        ended: when the file was final, in seconds since the Unix epoch by its own host's clock.
        reason: why it was kept, for people; empty where no rule applies.
    """

    TYPE: ClassVar[int] = 15

    handle: UInt
    clip: UInt
    file: Annotated[str, _file]
    place: Text
    state: Annotated[str, _state]
    name: FileName
    part: PositiveInt
    fps: Real
    width: UInt
    height: UInt
    duration: Real
    file_bytes: UInt
    episode: UInt
    step: UInt
    steps: Annotated[int | None, check.optional_uint]
    rewards: Real
    complete: Flag
    offered: UInt
    received: UInt
    encoded: UInt
    dropped: Annotated[dict[str, int], check.counts]
    started: Real
    ended: Real
    envs: Annotated[tuple[int, ...], check.sub_environments]
    reason: Text
    diverged: Annotated[tuple[()] | tuple[int, str], check.divergence] = ()


class ClipsGone(Checked, frozen=True):
    """Clips of a stream whose files are gone on their host, as their rule let them go.

    The daemon answers with a `messages.ClipDone` of the first number once their rows are gone from the index, too. Of
    a number that it was not told of it has none.

    Attributes:
        clips: the numbers, as the first and the last of each stretch, in order; at most `limits.MAX_STRETCHES`.
    """

    TYPE: ClassVar[int] = 16

    handle: UInt
    clips: Annotated[tuple[int, ...], _stretches]

    @property
    def clip(self) -> int:
        """The number by which it is answered."""
        return self.clips[0]
