"""What is written into an index, and what it answers, where a message of the wire does not say it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from offcam_proto.records import ClipRecord


class StreamOwner(NamedTuple):
    """The process that opened a stream: its host's name, its process id, and what it says it is."""

    host: str
    pid: int
    client: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What `RunIndex.apply` committed, or will with the transaction it is part of.

    Attributes:
        last_seq: the stream's last committed record: what may be acked.
        episodes: how many are new.
        clips: the new ones, in order.
        quarantined: how many records are set aside because they could not be understood.
        lost: for each of the new clips, how many more frames are known that its client sent and no daemon received.
        dropped_steps: rows of steps that were not written, by reason.
    """

    last_seq: int
    episodes: int = 0
    clips: list[ClipRecord] = field(default_factory=list)
    quarantined: int = 0
    lost: list[int] = field(default_factory=list)
    dropped_steps: Counter[str] = field(default_factory=Counter)


class OpenedStream(NamedTuple):
    """A stream that is in the index: its last committed record, 0 where there is none, and its files' suffix."""

    last_seq: int
    suffix: int


class OpenedClip(NamedTuple):
    """A clip that no encoder has ended yet.

    Attributes:
        stream: its stream.
        clip: its number in the stream.
        file: its file's name once it is final, so without ``.part``.
        started: seconds since the Unix epoch, by the client's clock. A daemon that died between publishing the
            file and noting it left no ``.part``, but a final file that is younger than this.
    """

    stream: bytes
    clip: int
    file: str
    started: float


class Kept(NamedTuple):
    """A clip that a rule keeps, or that is kept as nobody can say the end of its episode: it has its final name."""

    stream: bytes
    clip: int
    file: str
    encoded: int
