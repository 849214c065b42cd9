"""The records of a stream that its daemon has not acked yet, kept in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from offcam_proto.limits import MAX_UNACKED_BYTES, MAX_UNACKED_RECORDS
from offcam_proto.records import count_all, count_records, numbered


class Backlog:
    """Keeps a stream's packed records until they are acked, each body under the number of its first record.

    This one keeps them in memory alone, at most `MAX_UNACKED_RECORDS` of `MAX_UNACKED_BYTES`; the recorder's journal,
    which is derived from it, keeps them in a file, too.

    Attributes:
        place: the run folder, or what stands for it, in which the records outlive the process, for whoever comes next
            to put them into the index; empty where they are lost with the process.
    """

    place = ""

    @property
    def in_memory(self) -> int:
        """How many of the records are in memory alone, and so are lost with this process: always the last ones."""
        return count_all(body for _, body in self._records)

    @property
    def nbytes(self) -> int:
        """About how many bytes the records take, in memory and in a file."""
        return self._bytes

    def __init__(self) -> None:
        self._records: deque[tuple[int, bytes]] = deque()
        self._bytes = 0  # of the bodies in memory

    def begin(self) -> None:
        """Prepare to keep records; called before the first one comes."""

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
        """Every record is acked, but the stream is open: give back what the records took until more come."""

    def look(self) -> None:
        """Check that the records still lie where `place` says."""

    def leave(self) -> None:
        """The process ends: leave the unacked records in their file, for others to put into the index."""

    def end(self) -> None:
        """The stream is closed and every record is acked: remove what the records were kept in."""
