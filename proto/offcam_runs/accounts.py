"""What became of a clip's frames: the client's and the daemon's half of the account, both together, and its result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from offcam_proto.errors import LimitExceeded, LocalProtocolError, MalformedMessage
from offcam_runs.format import CLIENT_DROPS, DROP_REASONS, ENCODER_DROPS, LOST_DROP

MAX_CLIP_FRAMES: Final = 2**53
"""Most frames a clip can claim: JSON's largest exact integer, far enough from SQLite's for sums."""


@dataclass(frozen=True, slots=True)
class ClientShare:
    """What the client says of a clip's frames (from its `records.ClipRecord`).

    Attributes:
        offered: frames the wrapper captured.
        dropped: frames never sent, by one of `CLIENT_DROPS`.

    Raises:
        MalformedMessage: a reason that is not one of a client's.
        LimitExceeded: more frames than `MAX_CLIP_FRAMES`.
    """

    offered: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.dropped).difference(CLIENT_DROPS))
        if unknown:
            raise MalformedMessage(f"a client drops frames for one of {CLIENT_DROPS}, got {unknown}")
        if max(self.offered, sum(self.dropped.values())) > MAX_CLIP_FRAMES:
            raise LimitExceeded(f"a clip has at most {MAX_CLIP_FRAMES} frames, got {self}")


@dataclass(frozen=True, slots=True)
class EncoderShare:
    """What the daemon says of a clip's frames.

    Attributes:
        encoded: frames in the file.
        dropped: frames received and not encoded, by one of `ENCODER_DROPS`.

    Raises:
        LocalProtocolError: a reason that is not one of the encoder's.
    """

    encoded: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.dropped).difference(ENCODER_DROPS))
        if unknown:
            raise LocalProtocolError(f"the encoder drops frames for one of {ENCODER_DROPS}, got {unknown}")

    @property
    def received(self) -> int:
        """Frames that reached the daemon."""
        return self.encoded + sum(self.dropped.values())


@dataclass(frozen=True, slots=True)
class FrameCount:
    """Where a clip's frames went. For an ended clip ``offered == encoded + sum(dropped.values())``."""

    offered: int
    received: int
    encoded: int
    dropped: dict[str, int]

    @property
    def balanced(self) -> bool:
        """Whether every offered frame is accounted for, exactly once."""
        return self.offered == self.encoded + sum(self.dropped.values())

    def client_share(self) -> ClientShare:
        """The client's half of the account."""
        return ClientShare(self.offered, _only(self.dropped, CLIENT_DROPS))

    def encoder_share(self) -> EncoderShare:
        """The daemon's half of the account."""
        return EncoderShare(self.encoded, _only(self.dropped, ENCODER_DROPS))


def account(client: ClientShare | None, encoder: EncoderShare | None) -> FrameCount:
    """Put the two halves of a clip's account together; either may still be missing.

    What was sent and not received is ``lost``. Without the client's half (it was killed) the frames that
    were received count as offered: no more is known. Without the daemon's half (it is still encoding) the
    count does not balance yet. A client that says it sent fewer than were received is not believed.
    """
    ours = encoder or EncoderShare()
    theirs = client or ClientShare(ours.received)
    unsent = sum(theirs.dropped.values())
    offered = max(theirs.offered, unsent + ours.received)
    lost = offered - unsent - ours.received if encoder else 0
    counts = {**theirs.dropped, **ours.dropped, LOST_DROP: lost}
    dropped = {reason: counts[reason] for reason in DROP_REASONS if counts.get(reason)}
    return FrameCount(offered, ours.received, ours.encoded, dropped)


def _only(counts: Mapping[str, int], reasons: Iterable[str]) -> dict[str, int]:
    return {reason: counts[reason] for reason in reasons if reason in counts}


@dataclass(frozen=True, slots=True)
class EncodedResult:
    """How the encoder ended a clip.

    Attributes:
        state: ``final``, ``recovered`` (found after a crash) or ``aborted`` (cut off or failed).
        file: file name within the folder, None where no file was written. One that is cut off has its final name only
            where no older file had it.
        encoded: frames in it.
        dropped: frames that were received and are not in the file, by one of `offcam_runs.format.ENCODER_DROPS`:
            ``disk_full``, ``encoder`` and ``io`` name what failed, ``frame`` is for pixels that are no picture,
            ``order`` for an index that did not grow, ``shutdown`` for frames that there was no time left for.
        width: of the video in pixels, None where no file was written; so are the next four.
        height: of the video in pixels.
        file_bytes: size of the file.
        duration: of the video in seconds.
        encode_seconds: time spent encoding.
        error: what went wrong, for people; empty where nothing did.
    """

    state: Literal["final", "recovered", "aborted"]
    file: str | None
    encoded: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    width: int | None = None
    height: int | None = None
    file_bytes: int | None = None
    duration: float | None = None
    encode_seconds: float | None = None
    error: str = ""
