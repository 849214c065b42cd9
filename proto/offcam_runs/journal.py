"""A stream's journal, ``offcam.pending/STREAM.rec``: the records that its client has not heard to be in the index.

``proto/FORMAT.md`` has its bytes.
"""

from __future__ import annotations

import heapq
import logging
import math
import os
import re
import stat
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from offcam_proto.codec import decode_client, unpack_record
from offcam_proto.errors import OffcamError, RemoteProtocolError, RunFolderError
from offcam_proto.limits import MAX_HEADER_BYTES
from offcam_proto.messages import OpenStream
from offcam_proto.records import EpisodeRecord
from offcam_runs.file_lock import held
from offcam_runs.format import JOURNAL_EXTENSION, PENDING_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

log = logging.getLogger(__name__)

MAGIC: Final = b"OFFCAMJ1"
"""What a journal begins with; the digit is the version of its format."""

FRAME: Final = struct.Struct("<IIQ")
"""Before each body: its length, the CRC of what follows, and the record's number, 0 for the stream's own frame."""

_CRC_AT = 8  # of a frame: the CRC is of the number and the body
_NAME = re.compile(rf"[0-9a-f]{{32}}{re.escape(JOURNAL_EXTENSION)}")


# --- reading --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Journal:
    """What is in a journal.

    Attributes:
        path: its file.
        stream: the message by which its client opens the stream.
        first_seq: number of its first record; the others follow it without a gap.
        bodies: its records, packed.
        ended: when it was written last, in seconds since the epoch; None while its client has it.
    """

    path: Path
    stream: OpenStream
    first_seq: int
    bodies: list[bytes]
    ended: float | None

    @property
    def last_seq(self) -> int:
        """Number of its last record."""
        return self.first_seq + len(self.bodies) - 1

    def place(self) -> tuple[float, Path]:
        """Among the others of its run: in the order in which their streams began."""
        return self.stream.started, self.path


def journals(folder: str | os.PathLike[str]) -> list[Path]:
    """The journals in a run folder, by name. None where the folder, or its folder of journals, cannot be read."""
    inner = os.path.join(folder, PENDING_NAME)
    try:
        names = [] if os.path.islink(inner) else os.listdir(inner)  # a link may lead anywhere
    except OSError:
        return []
    return [Path(inner, name) for name in sorted(filter(_NAME.fullmatch, names))]


def journal_of(folder: str | os.PathLike[str], stream: bytes) -> Path:
    """Where the journal of a stream of a run lies."""
    return Path(folder, PENDING_NAME, stream.hex() + JOURNAL_EXTENSION)


def pending(folder: str | os.PathLike[str]) -> list[Journal]:
    """What lies in the journals of a run folder, in the order in which their streams began.

    Nothing is changed, and nothing need be locked. Read them **before** the index: what a client removes meanwhile is
    in the index by then. One that cannot be read is left out, and told in the log.
    """
    found = []
    for path in journals(folder):
        with suppress(FileNotFoundError):  # all in it was acked just now
            try:
                journal = read(path)
            except RunFolderError as error:
                log.warning("%s", error)
            else:
                found += [journal] if journal else []
    return sorted(found, key=Journal.place)


def read(path: Path, *, ended: bool = False) -> Journal | None:
    """Read a journal up to its end or to what its client did not come to finish; None where there is nothing in it yet.

    Args:
        path: of the file.
        ended: whether it has no client any more, where the caller knows, as by its lock.

    Raises:
        FileNotFoundError: there is no such file.
        RunFolderError: it cannot be read, or is no journal.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise _no_journal(path, "it is no file")
            taken = not ended and held(path)
            return _parsed(path, file, None if taken else facts.st_mtime)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunFolderError(f"the journal {path} cannot be read ({error.strerror}): check its permissions") from error


def in_order(found: Iterable[Journal]) -> Iterator[tuple[Journal, int, bytes]]:
    """The records of several journals as they came to be: each with its journal and number, by the time of its end.

    Those of one stream stay in order.
    """
    several = list(found)
    if len(several) == 1:
        return _numbered(several[0])
    timed = heapq.merge(*map(_timed, several), key=lambda entry: entry[0])
    return (entry for _, entry in timed)


def _parsed(path: Path, file: IO[bytes], ended: float | None) -> Journal | None:
    magic = file.read(len(MAGIC))
    if magic != MAGIC:
        if MAGIC.startswith(magic.rstrip(b"\0")):
            return None  # its client died over it
        raise _no_journal(path, "it begins with other bytes, so another program or a newer offcam wrote it")
    frames = _frames(file)
    opening = next(frames, None)
    if opening is None:
        return None
    seq, body = opening
    try:
        stream = decode_client([body])
    except OffcamError as error:
        raise _no_journal(path, f"its first frame cannot be understood: {error}") from error
    if seq or not isinstance(stream, OpenStream):
        raise _no_journal(path, "its first frame is not its stream's")
    first_seq = 1
    bodies: list[bytes] = []
    for seq, body in frames:
        first_seq = first_seq if bodies else seq
        if seq != first_seq + len(bodies):  # of a time before the file was cut back
            break
        bodies.append(body)
    return Journal(path, stream, first_seq, bodies, ended)


def _frames(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    while len(head := file.read(FRAME.size)) == FRAME.size:
        length, crc, seq = FRAME.unpack(head)
        if not 0 < length <= MAX_HEADER_BYTES:
            return
        body = file.read(length)
        if len(body) < length or zlib.crc32(body, zlib.crc32(head[_CRC_AT:])) != crc:
            return
        yield seq, body


def _numbered(journal: Journal) -> Iterator[tuple[Journal, int, bytes]]:
    for seq, body in enumerate(journal.bodies, journal.first_seq):
        yield journal, seq, body


def _timed(journal: Journal) -> Iterator[tuple[float, tuple[Journal, int, bytes]]]:
    time = -math.inf
    for entry in _numbered(journal):
        time = max(time, end_of(entry[2]))
        yield time, entry


def end_of(body: bytes) -> float:
    """When an episode ended; of other records, and of what nobody knows the time, minus infinity."""
    with suppress(RemoteProtocolError):
        record = unpack_record(body)
        if isinstance(record, EpisodeRecord) and math.isfinite(record.started):
            return record.started + (record.duration if math.isfinite(record.duration) else 0.0)
    return -math.inf


def _no_journal(path: Path, why: str) -> RunFolderError:
    return RunFolderError(
        f"{path} is no journal of this offcam ({why}), so nothing in it is taken in: move it away if it is another's"
    )
