"""What is written into an index and read from it, beyond the messages of the wire."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from offcam_proto.records import ClipRecord


class StreamOwner(NamedTuple):
    """The process that opened a stream: its host's name, its process id, and how its client describes itself."""

    host: str
    pid: int
    client: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What `RunIndex.apply` has committed, or will commit with the transaction that it is part of.

    Attributes:
        last_seq: the stream's last committed record: what may be acked.
        episodes: how many new ones.
        clips: the new ones, in order.
        quarantined: how many records were set aside because they could not be understood.
        lost: for each new clip, how many frames more are now known to be sent by its client and received by no daemon.
        dropped_steps: rows of steps that were not written, by reason.
    """

    last_seq: int
    episodes: int = 0
    clips: list[ClipRecord] = field(default_factory=list)
    quarantined: int = 0
    lost: list[int] = field(default_factory=list)
    dropped_steps: Counter[str] = field(default_factory=Counter)


class OpenedStream(NamedTuple):
    """A stream in the index: its last committed record, 0 if there is none, and the suffix of its files."""

    last_seq: int
    suffix: int


class OpenedClip(NamedTuple):
    """A clip whose encoder has not ended it yet.

    Attributes:
        stream: id of its stream.
        clip: its number in the stream.
        file: the final name of its file, without ``.part``.
        started: seconds since the Unix epoch, by the client's clock. If a daemon died between renaming the file and
            noting it, there is no ``.part``, but a final file younger than this.
    """

    stream: bytes
    clip: int
    file: str
    started: float


class Kept(NamedTuple):
    """A clip with its final name: one that a rule keeps, or whose episode's end nobody can say."""

    stream: bytes
    clip: int
    file: str
    encoded: int
