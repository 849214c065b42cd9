"""How many bytes of frames each stream may have under way: the one bound on the daemon's memory."""

from __future__ import annotations

from dataclasses import dataclass

from offcam_proto.limits import MIB

MOST_PER_STREAM = 64 * MIB
"""A stream alone gets this much: enough to ride out a pause of the daemon."""

LEAST_PER_STREAM = MIB
"""With many streams each still gets this much, unless one frame needs more."""


BEFORE_FIRST_CLIP = 4
"""A stream that has not recorded anything yet keeps no more than this part of its share from the others: enough for
its first frames until its first clip is known."""

LEAST_FRAMES = 4
"""A stream with large frames gets room for this many."""


@dataclass(slots=True)
class Account:
    """A stream's share.

    Attributes:
        frame_bytes: size of its largest frame so far; `LEAST_FRAMES` of them must fit its target.
        exposure: bytes granted and not yet released: unspent credit, and frames in memory.
    """

    frame_bytes: int = 0
    exposure: int = 0


class CreditPool:
    """Shares ``limit`` bytes among the streams with video. Not thread-safe: it belongs to the service's thread.

    Each stream's target shrinks as more come; what was granted before is not taken back, so the sum of all
    exposures never exceeds the limit.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.granted = 0
        self._count = 0

    def open(self) -> Account:
        """An account for a new stream, with nothing granted."""
        self._count += 1
        return Account()

    def close(self, account: Account, in_memory: int) -> None:
        """The stream ends: its unspent credit is void; frames still in memory are released later."""
        self._count -= 1
        self.granted -= account.exposure - in_memory
        account.exposure = in_memory

    def released(self, account: Account, nbytes: int) -> None:
        """Frames of a stream have left memory."""
        account.exposure -= nbytes
        self.granted -= nbytes

    def grant(self, account: Account, unspent: int) -> int:
        """Bytes to grant a stream now, 0 where it is not worth a message yet.

        Args:
            account: its account.
            unspent: bytes granted to it for which no frame has come. While that is plenty, grants are saved up;
                when it runs low, each frame's worth is passed on at once.
        """
        target = self._target(account)
        want = target - account.exposure
        if want <= 0 or (unspent > target // 2 and want < target // 4):
            return 0
        free = self.limit - self.granted
        room = min(LEAST_FRAMES * account.frame_bytes - account.exposure, free)
        nbytes = min(want, max(room, free // 8))  # an eighth, so that something is left for whoever comes next
        if nbytes < min(account.frame_bytes, want) or nbytes <= 0:
            return 0
        account.exposure += nbytes
        self.granted += nbytes
        return nbytes

    @property
    def share(self) -> int:
        """Bytes that a stream with small frames is granted."""
        return max(min(self.limit // max(self._count, 4), MOST_PER_STREAM), LEAST_PER_STREAM)

    def _target(self, account: Account) -> int:
        if not account.frame_bytes:
            return self.share // BEFORE_FIRST_CLIP
        return max(self.share, LEAST_FRAMES * account.frame_bytes)
