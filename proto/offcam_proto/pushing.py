"""The message by which a hub learns of a video that another host has."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offcam_proto import limits
from offcam_proto import validation as check
from offcam_proto.errors import MalformedMessage
from offcam_proto.validation import Checked, FileName, Flag, PositiveInt, Real, Text, UInt

WHOLE_STATES = ("final", "recovered", "aborted")
"""States of a clip whose file changes no more, as the run folder's format has them."""


def _state(name: str, value: object) -> None:
    if value not in WHOLE_STATES:
        raise MalformedMessage(f"{name} must be one of {', '.join(WHOLE_STATES)}, got {check.shown(value)}")


def _file(name: str, value: object) -> None:
    check.file_name(name, value, limits.MAX_FILE_BYTES)


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
