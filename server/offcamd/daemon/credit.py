"""How many bytes of frames each stream may have under way: the one bound on the daemon's memory."""

from __future__ import annotations

from dataclasses import dataclass

from offcam_proto.limits import MIB

MOST_PER_STREAM = 64 * MIB
"""Most credit of a stream, in bytes, as when it is alone: enough to send frames on through a pause of the daemon."""

LEAST_PER_STREAM = MIB
"""Least share of a stream, in bytes, however many there are. One with large frames gets more."""

BEFORE_FIRST_CLIP = 4
"""Before its first clip a stream is granted its share divided by this: the size of its frames is not known yet, and
others can use the rest."""

LEAST_FRAMES = 4
"""So many frames fit into the credit of a stream, however large they are."""

KEPT_FOR_STREAMS = 64
"""Half of the limit, divided by this, is kept for each of so many streams, whatever others were granted."""

COMMON_PART = 4
"""One grant takes at most a fourth of what is kept for no stream, so that something is left for the next."""


WORTH_WHILE, WORTH_IT = 4, 16
"""A grant is worth a message from a fourth of the stream's target on, or from a sixteenth if its credit runs low."""


@dataclass(slots=True)
class Account:
    """A stream's credit.

    Attributes:
        frame_bytes: size of its largest frame so far; `LEAST_FRAMES` of them must fit its target.
        exposure: bytes granted and not yet released: unspent credit, and frames in memory.
        closed: whether nothing more will be granted.
    """

    frame_bytes: int = 0
    exposure: int = 0
    closed: bool = False


class CreditPool:
    """Shares ``limit`` bytes among the streams with video. Not thread-safe: it belongs to the service's thread.

    Each stream's target shrinks as more streams come. Granted credit is not taken back, and all exposures together
    never exceed the limit. Early streams that never spend theirs cannot keep out later ones, as each stream has `kept`
    bytes that are granted to others only for a single frame.

    Attributes:
        limit: the bytes to share.
        granted: the sum of all exposures.
        kept: bytes kept for each of the first `KEPT_FOR_STREAMS` streams.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.granted = 0
        self.kept = limit // 2 // KEPT_FOR_STREAMS
        self._owed = 0  # what is kept for the open streams and not yet granted
        self._count = 0

    def open(self) -> Account:
        """An account for a new stream, with nothing granted."""
        self._count += 1
        self._owed += self.kept
        return Account()

    def close(self, account: Account, in_memory: int) -> None:
        """End a stream: its unspent credit is void; frames still in memory are released later."""
        self._count -= 1
        self._owed -= self._owed_to(account)
        account.closed = True
        self._change(account, in_memory - account.exposure)

    def released(self, account: Account, nbytes: int) -> None:
        """Count bytes of a stream's frames that have left memory."""
        self._change(account, -nbytes)

    def grant(self, account: Account, unspent: int) -> int:
        """Bytes to grant a stream now, 0 where it is not worth a message yet.

        Args:
            account: its account.
            unspent: bytes granted to it for which no frame has come. The more there are, the longer grants are saved
                up: with a message for each frame, a client that waits would be woken as often.
        """
        target = self._target(account)
        want = target - account.exposure
        if want <= 0 or want < target // (WORTH_WHILE if unspent > target // 2 else WORTH_IT):
            return 0
        own = min(self._owed_to(account), self.limit - self.granted)
        need = LEAST_FRAMES * account.frame_bytes - account.exposure - own
        nbytes = min(want, own + max(self._common // COMMON_PART, min(need, self._common)))
        if nbytes < min(account.frame_bytes, want):
            nbytes = self._one_frame(account)
        self._change(account, nbytes)
        return nbytes

    def _one_frame(self, account: Account) -> int:
        """Bytes that a stream lacks for one frame, even of those kept for others; 0 for none, or if all are used."""
        missing = account.frame_bytes - account.exposure
        return missing if 0 < missing <= self.limit - self.granted else 0

    @property
    def share(self) -> int:
        """The target, in bytes, of a stream with small frames."""
        streams = max(self._count, 1)
        fair = self.kept + (self.limit - KEPT_FOR_STREAMS * self.kept) // streams
        return max(min(fair, self.limit // max(streams, 4), MOST_PER_STREAM), LEAST_PER_STREAM)

    @property
    def assured(self) -> int:
        """Bytes that each stream may count on just now: its share, or less if less is left."""
        return min(self.share, self.kept + self._common // max(self._count, 1))

    @property
    def _common(self) -> int:
        """Bytes that are free, and kept neither for an open stream nor for one to come."""
        to_come = self.kept * max(0, KEPT_FOR_STREAMS - self._count)
        return max(0, self.limit - self.granted - self._owed - to_come)

    def _owed_to(self, account: Account) -> int:
        return 0 if account.closed else max(0, self.kept - account.exposure)

    def _change(self, account: Account, nbytes: int) -> None:
        before = self._owed_to(account)
        account.exposure += nbytes
        self.granted += nbytes
        self._owed += self._owed_to(account) - before

    def _target(self, account: Account) -> int:
        if not account.frame_bytes:
            return self.share // BEFORE_FIRST_CLIP
        return max(self.share, LEAST_FRAMES * account.frame_bytes)
