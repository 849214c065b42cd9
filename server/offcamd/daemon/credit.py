"""How many bytes of frames each stream may have under way: the one bound on the daemon's memory."""

from __future__ import annotations

from dataclasses import dataclass

from offcam_proto.limits import MIB

MOST_PER_STREAM = 64 * MIB
"""Bytes that a stream gets at most, as when it is alone: enough for frames to go on through a pause of the daemon."""

LEAST_PER_STREAM = MIB
"""Bytes that a stream gets however many there are; more where a frame of it is larger."""

BEFORE_FIRST_CLIP = 4
"""A stream whose first clip has not begun is granted its share divided by this: the size of its frames is not known
yet, and the others can use the rest meanwhile."""

LEAST_FRAMES = 4
"""So many frames fit into the credit of a stream, however large they are."""

KEPT_FOR_STREAMS = 64
"""Half of the limit is divided among so many streams: what is kept for each, whatever the others were granted."""

COMMON_PART = 4
"""One grant takes at most this part of what is kept for nobody, so that something is left for whoever comes next."""


WORTH_WHILE, WORTH_IT = 4, 16
"""A grant is worth a message from a fourth of the stream's target on where it has plenty of credit, and from a
sixteenth on where it runs low."""


@dataclass(slots=True)
class Account:
    """A stream's share.

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

    Each stream's target shrinks as more come; what was granted before is not taken back, so the sum of all
    exposures never exceeds the limit. That the first to come cannot keep out those that come later, even if they
    rest for ever on what they got, is due to what is `kept`: nobody else is granted that.

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
        """The stream ends: its unspent credit is void; frames still in memory are released later."""
        self._count -= 1
        self._owed -= self._owed_to(account)
        account.closed = True
        self._change(account, in_memory - account.exposure)

    def released(self, account: Account, nbytes: int) -> None:
        """Frames of a stream have left memory."""
        self._change(account, -nbytes)

    def grant(self, account: Account, unspent: int) -> int:
        """Bytes to grant a stream now, 0 where it is not worth a message yet.

        Args:
            account: its account.
            unspent: bytes granted to it for which no frame has come. While that is plenty, grants are saved up, and a
                little when it is not: a message for each frame wakes a client that waits as often.
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
        """What lets a stream that has not even a frame's worth send one, of what is kept for others if need be."""
        missing = account.frame_bytes - account.exposure
        return missing if 0 < missing <= self.limit - self.granted else 0

    @property
    def share(self) -> int:
        """Bytes that a stream with small frames is granted."""
        streams = max(self._count, 1)
        fair = self.kept + (self.limit - KEPT_FOR_STREAMS * self.kept) // streams
        return max(min(fair, self.limit // max(streams, 4), MOST_PER_STREAM), LEAST_PER_STREAM)

    @property
    def assured(self) -> int:
        """Bytes that each stream may count on just now: a share where there is enough of it left."""
        return min(self.share, self.kept + self._common // max(self._count, 1))

    @property
    def _common(self) -> int:
        """Bytes that are free, and kept for nobody who is here or may come."""
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
