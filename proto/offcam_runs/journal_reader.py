"""Reading the journals of a run: which there are, and what is in them. How they look is in `offcam_runs.journal`."""

from __future__ import annotations

import functools
import heapq
import logging
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from offcam_proto import codec
from offcam_proto.errors import OffcamError, RemoteProtocolError, RunFolderError
from offcam_proto.limits import MAX_EPISODES_PER_BODY
from offcam_proto.messages import ClientMessage, Hello, OpenStream
from offcam_proto.records import EpisodeColumns, EpisodeRecord, StepRecord, count_all, count_records, numbered
from offcam_runs.file_lock import held
from offcam_runs.format import JOURNAL_EXTENSION, PENDING_NAME
from offcam_runs.journal import MAGIC, frames, state_folder, tail_of
from offcam_runs.steps import tail

log = logging.getLogger(__name__)

_NAME = re.compile(rf"[0-9a-f]{{32}}{re.escape(JOURNAL_EXTENSION)}")


@dataclass(frozen=True, slots=True)
class JournalContents:
    """What is in a journal.

    Attributes:
        path: its file.
        stream: the message by which its client opens the stream.
        client: the message by which that opens its session; None where the journal does not say.
        first_seq: number of its first record; the others follow it without a gap.
        bodies: its records, packed; each is one record, or many as columns. Where its client is gone, these include the
            rows of steps that the client had in its tail.
        ended: when it was last written, in seconds since the epoch; None while its client has it.
    """

    path: Path
    stream: OpenStream
    client: Hello | None
    first_seq: int
    bodies: list[bytes]
    ended: float | None

    @property
    def last_seq(self) -> int:
        """Number of its last record."""
        return self.first_seq + count_all(self.bodies) - 1

    def place(self) -> tuple[float, Path]:
        """Sorts the journals of a run: in the order in which their streams began."""
        return self.stream.started, self.path


def journals(folder: str | os.PathLike[str]) -> list[Path]:
    """The journals of a run: those in its folder, by name, and those that had no place there; see `state_folder`.

    None where the folder, or its folder of journals, cannot be read.
    """
    return [*_in(folder), *_elsewhere(folder)]


def _elsewhere(folder: str | os.PathLike[str]) -> Iterator[Path]:
    state = state_folder(os.environ, os.getuid())
    with suppress(OSError):
        facts = os.stat(f"{state}/{PENDING_NAME}")
        if facts.st_uid != os.getuid() or facts.st_mode & 0o022:  # anybody may have put anything there
            return
        spellings = {os.path.abspath(folder), os.path.realpath(folder)}
        for path in _in(state):
            with suppress(FileNotFoundError, RunFolderError):
                if _folder_of(path, path.lstat().st_ino) in spellings:
                    yield path


def _in(folder: str | os.PathLike[str]) -> list[Path]:
    inner = os.path.join(folder, PENDING_NAME)
    try:
        names = [] if os.path.islink(inner) else os.listdir(inner)  # a link may lead anywhere
    except OSError:
        return []
    return [Path(inner, name) for name in sorted(filter(_NAME.fullmatch, names))]


@functools.lru_cache(1024)
def _folder_of(path: Path, _inode: int) -> str:
    """The run folder of a journal that lies elsewhere. RunFolderError where it does not say, which is not cached."""
    journal = read(path)
    if journal is None:
        raise RunFolderError(f"{path} has nothing in it yet")
    return journal.stream.folder


def pending(folder: str | os.PathLike[str]) -> list[JournalContents]:
    """What lies in the journals of a run folder, in the order in which their streams began.

    Nothing is changed or locked. Read the journals **before** the index: what a client removes from one meanwhile is in
    the index by then. A journal that cannot be read is left out, with a warning in the log.
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
    return sorted(found, key=JournalContents.place)


def read(path: Path, *, ended: bool = False) -> JournalContents | None:
    """Read a journal up to its end, or to a frame that its client did not finish; None where nothing is in it yet.

    Args:
        path: of the file.
        ended: whether its client is gone, where the caller knows that, as by its lock.

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
            found = _parsed(path, file.read(), None if taken else facts.st_mtime)
            return found if taken or found is None else _with_tail(found)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunFolderError(f"the journal {path} cannot be read ({error.strerror}): check its permissions") from error


def living_streams(folder: str | os.PathLike[str]) -> set[str]:
    """The ids of a run's streams whose clients have their journals, as far as can be seen."""
    found = set()
    for path in journals(folder):
        with suppress(OSError):
            if held(path):
                found.add(path.stem)
    return found


def unsealed_rows(folder: str | os.PathLike[str]) -> list[tuple[str, StepRecord]]:
    """The rows of steps of a run that its clients, whether they live or not, have not made records of yet.

    Nothing is changed, and no client waits. Read them **before** the journals: what becomes a record is there.

    Returns:
        Each with the id of its stream, as a record without a number.
    """
    return [(path.stem, record) for path in map(tail_of, journals(folder)) for record in _live_rows(path)]


def _live_rows(path: Path) -> list[StepRecord]:
    found: list[StepRecord | None] = []
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            found += map(tail.record_of, tail.live_sections(file.fileno()))
    except FileNotFoundError:
        pass
    except (OSError, RemoteProtocolError) as error:
        log.warning("rows of steps in %s cannot be read, and are passed over: %s", path, error)
    return [record for record in found if record is not None]


def in_order(found: Iterable[JournalContents]) -> Iterator[tuple[JournalContents, int, bytes]]:
    """The bodies of several journals as they came to be, by the times of their ends; those of one stream stay in order.

    Yields each with its journal and the number of its first record.
    """
    several = list(found)
    if len(several) == 1:
        return _numbered(several[0])
    timed = heapq.merge(*map(_timed, several), key=lambda entry: entry[0])
    return (entry for _, entry in timed)


def _parsed(path: Path, data: bytes, ended: float | None) -> JournalContents | None:
    if not data.startswith(MAGIC):
        if MAGIC.startswith(data[: len(MAGIC)].rstrip(b"\0")):
            return None  # its client died while it began to write
        raise _no_journal(path, "it begins with other bytes, so another program or a newer offcam wrote it")
    found = frames(data)
    opening = next(found, None)
    if opening is None:
        return None
    seq, body = opening
    stream, client = _message(path, body), None
    if seq or not isinstance(stream, OpenStream):
        raise _no_journal(path, "its first frame is not its stream's")
    first_seq = 1
    bodies: list[bytes] = []
    due = 0
    for seq, body in found:
        if not seq and isinstance(said := _message(path, body), Hello):
            client = said
            continue
        first_seq = first_seq if bodies else seq
        if bodies and seq != due:  # left from before the file was cut back
            break
        bodies.append(body)
        due = seq + count_records(body)
    return JournalContents(path=path, stream=stream, client=client, first_seq=first_seq, bodies=bodies, ended=ended)


def _with_tail(journal: JournalContents) -> JournalContents:
    """A journal whose client is gone, followed by the rows in its tail, which the client did not come to seal."""
    path = tail_of(journal.path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            data = file.read(tail.MAX_BYTES)
        last_seq = tail.last_seq(data)
    except FileNotFoundError:
        return journal
    except (OSError, RemoteProtocolError) as error:
        log.warning("rows of steps in %s cannot be read, and are passed over: %s", path, error)
        return journal
    sealed = {_of_rows(body) for body in journal.bodies if body[1:2] == bytes([StepRecord.KIND])}
    added = [body for body in _tail_records(path, data) if _of_rows(body) not in sealed]
    if not added:
        return journal
    if not journal.bodies:
        return replace(journal, first_seq=last_seq + 1, bodies=added)
    torn = min(max(last_seq - journal.last_seq, 0), MAX_EPISODES_PER_BODY)  # each is set aside
    return replace(journal, bodies=journal.bodies + [b""] * torn + added)


def _tail_records(path: Path, data: bytes) -> Iterator[bytes]:
    for section in tail.sections(data):
        if record := _rows(path, section):
            yield record


def _rows(path: Path, section: memoryview) -> bytes:
    """The rows of a section as a record; empty where there are none."""
    try:
        record = tail.record_of(section)
        return b"" if record is None else codec.pack_record(record)
    except RemoteProtocolError as error:
        log.warning("rows of steps in %s are lost: %s", path, error)
        return b""


def _of_rows(body: bytes) -> tuple[int, int, int] | None:
    """Table, sub-environment and number of the first row of a record of steps; None for a record of another kind."""
    with suppress(RemoteProtocolError):
        record = codec.unpack_record(body)
        if isinstance(record, StepRecord):
            return record.table, record.env_index, record.first_row
    return None


def _message(path: Path, body: bytes) -> ClientMessage:
    try:
        return codec.decode_client([body])
    except OffcamError as error:
        raise _no_journal(path, f"one of its first frames cannot be understood: {error}") from error


def _numbered(journal: JournalContents) -> Iterator[tuple[JournalContents, int, bytes]]:
    for seq, body in numbered(journal.first_seq, journal.bodies):
        yield journal, seq, body


def _timed(journal: JournalContents) -> Iterator[tuple[float, tuple[JournalContents, int, bytes]]]:
    time = -math.inf
    for entry in _numbered(journal):
        time = max(time, end_of(entry[2]))
        yield time, entry


def end_of(body: bytes) -> float:
    """When an episode ended, or all episodes of some columns; minus infinity for other records, or where unknown."""
    with suppress(RemoteProtocolError):
        record = codec.unpack_record(body)
        if isinstance(record, EpisodeRecord) and math.isfinite(record.started):
            return record.started + (record.duration if math.isfinite(record.duration) else 0.0)
        if isinstance(record, EpisodeColumns) and math.isfinite(record.ended):
            return record.ended
    return -math.inf


def _no_journal(path: Path, why: str) -> RunFolderError:
    return RunFolderError(
        f"{path} is no journal of this offcam ({why}), so nothing in it is taken in: move it away if it is another's"
    )
