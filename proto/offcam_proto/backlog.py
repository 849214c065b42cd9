"""The records of a stream that its daemon has not acked yet, kept in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from offcam_proto.limits import MAX_UNACKED_BYTES, MAX_UNACKED_RECORDS
from offcam_proto.records import count_all, count_records, numbered


class Backlog:
    """Keeps a stream's records, packed, until they are acked: each body by its first number. This one keeps so many.

    Attributes:
        place: the folder in which they outlive the process, and are taken in from by whoever comes next; empty where
            they go with it.
    """

    place = ""

    @property
    def in_memory(self) -> int:
        """How many of the records, the last ones, are nowhere else, and so go with this process."""
        return count_all(body for _, body in self._records)

    @property
    def nbytes(self) -> int:
        """Bytes that the records take, in memory and in a file, about."""
        return self._bytes

    def __init__(self) -> None:
        self._records: deque[tuple[int, bytes]] = deque()
        self._bytes = 0  # that they have

    def begin(self) -> None:
        """Prepare for records, before the first one comes."""

    def append(self, first_seq: int, bodies: Sequence[bytes]) -> int:
        """Keep the next records. Returns how many of the bodies, from the first on, there was room for."""
        end = (self._records[0][0] if self._records else first_seq) + MAX_UNACKED_RECORDS
        there = 0
        for seq, body in numbered(first_seq, bodies):
            if seq + count_records(body) > end or self._bytes + len(body) > MAX_UNACKED_BYTES:
                break
            self._records.append((seq, body))
            self._bytes += len(body)
            there += 1
        return there

    def after(self, seq: int) -> Iterator[tuple[int, bytes]]:
        """The bodies behind number ``seq``, in order, each with the number of its first record."""
        return (record for record in self._records if record[0] > seq)

    def acked(self, seq: int) -> None:
        """Forget the records up to ``seq``."""
        while self._records and self._records[0][0] <= seq:
            self._bytes -= len(self._records.popleft()[1])

    def renumber(self, gone: int) -> None:
        """Lower the number of each record that is left by ``gone``."""
        self._records = deque((seq - gone, body) for seq, body in self._records)

    def rest(self) -> None:
        """All is acked, and more may come later: until then nothing of it need lie anywhere."""

    def look(self) -> None:
        """See that what is kept lies where `place` says."""

    def leave(self) -> None:
        """The process leaves: what is left in a file is for others to take in."""

    def end(self) -> None:
        """The stream is closed, and nothing of it is left."""
