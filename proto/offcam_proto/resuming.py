"""The messages by which a client that goes on with a run, and cannot read its folder, learns how far it came."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Annotated, ClassVar

from offcam_proto import limits
from offcam_proto import validation as check
from offcam_proto.errors import LimitExceeded, MalformedMessage
from offcam_proto.validation import Checked, Flag, Text, UInt

_LAST = struct.Struct("<QQ")  # index of a sub-environment, number of its last episode

EPISODE_BYTES = _LAST.size
"""Bytes that one sub-environment takes in a `RunReply`."""

FOLDER, FORMAT, DAEMON = "folder", "format", "daemon"
"""Why a daemon cannot say how far a run came: the folder or its index cannot be read, a newer offcam wrote the index,
or the daemon cannot look just now, and the folder is not at fault."""


def pack_episodes(episodes: Mapping[int, int]) -> bytes:
    """The number of the last episode of each sub-environment, for a `RunReply`."""
    return b"".join([_LAST.pack(*each) for each in sorted(episodes.items())])


def _last_episodes(name: str, value: object) -> None:
    if type(value) is not bytes:
        raise MalformedMessage(f"{name} must be bytes, got {check.shown(value)}")
    if len(value) > limits.MAX_EPISODES_BYTES:
        raise LimitExceeded(f"{name} must be at most {limits.MAX_EPISODES_BYTES} bytes, got {len(value)}")
    if len(value) % _LAST.size:
        raise MalformedMessage(f"{name} must be pairs of 64-bit integers, got {len(value)} bytes")
    if max((max(pair) for pair in _LAST.iter_unpack(value)), default=0) > limits.MAX_INT:
        raise LimitExceeded(f"{name} must be at most {limits.MAX_INT} each")


class RunRequest(Checked, frozen=True):
    """Asks how far the last session of a run has come. Answered by `RunReply`.

    A daemon of an earlier offcam refuses the session in which it is asked: it has one of its own.

    Attributes:
        token: identifies the answer.
        folder: as in `OpenStream`.
        prefix: as in `OpenStream`: of the streams whose episodes, steps and names are asked for.
    """

    TYPE: ClassVar[int] = 13

    token: UInt
    folder: Annotated[str, check.folder]
    prefix: Annotated[str, check.prefix]


class RunReply(Checked, frozen=True):
    """Answers `RunRequest`. The episodes are a message part of their own, behind the header.

    Attributes:
        token: the `RunRequest`'s.
        found: whether the folder has a run.
        suffix: number in the names of its last session's videos.
        steps: of the first sub-environment, over all episodes.
        code: empty, or one of the words above: why the daemon cannot say it. Then the other fields mean nothing.
        text: what is wrong and how to fix it, for people.
        episodes: by `pack_episodes`.
    """

    TYPE: ClassVar[int] = 76

    token: UInt
    found: Flag
    suffix: UInt
    steps: UInt
    code: Text
    text: Text
    episodes: Annotated[bytes, _last_episodes]

    @property
    def last_episodes(self) -> dict[int, int]:
        """The number of the last episode of each sub-environment that has any."""
        return dict(_LAST.iter_unpack(self.episodes))
