"""Taking in the journals of clients that died, or that had no daemon: putting their records into the index."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from offcam_proto.errors import RunFolderError
from offcam_proto.limits import MIB
from offcam_proto.records import count_all, count_records
from offcam_runs.file_lock import FileLock
from offcam_runs.journal import tail_of
from offcam_runs.journal_reader import JournalContents, in_order, read

if TYPE_CHECKING:
    from pathlib import Path

    from offcamd.store.index import RunIndex

log = logging.getLogger(__name__)

NEW_EXTENSION = ".new"
"""Appended to a journal's name for the new file that its client writes to replace it."""

PIECE_RECORDS = 5_000
PIECE_BYTES = 4 * MIB
"""Most records, and most bytes of them, in one transaction."""


class TakenIn(NamedTuple):
    """What became of some journals.

    Attributes:
        journals: how many were taken in and removed.
        episodes: how many new ones.
        missing: how many records are in no journal and not in the index, though later ones are.
        problems: what is wrong with journals that stay where they are, for people.
        busy: how many journals belong to living clients, which send the records themselves.
    """

    journals: int = 0
    episodes: int = 0
    missing: int = 0
    problems: tuple[str, ...] = ()
    busy: int = 0

    def merged(self, other: TakenIn) -> TakenIn:
        """Both results together."""
        return TakenIn(
            journals=self.journals + other.journals,
            episodes=self.episodes + other.episodes,
            missing=self.missing + other.missing,
            problems=self.problems + other.problems,
            busy=self.busy + other.busy,
        )


NOTHING_TAKEN_IN: Final = TakenIn()


def take_in(index: RunIndex, paths: Iterable[Path]) -> Generator[TakenIn, None, None]:
    """Put the records of journals without a living client into an index, and remove the journals; each record once.

    Yields after each transaction; between two of them the index may be written otherwise.

    Args:
        index: the run's index, whose only writer the caller is.
        paths: of the journals.

    Raises:
        RunFolderError: the index cannot be written. The journals stay where they are.
    """
    with ExitStack() as stack:
        found: list[JournalContents] = []
        locks: list[FileLock] = []
        problems: list[str] = []
        busy = 0
        for path in paths:
            try:
                lock = FileLock.take(path, 0o600)
                if lock is None:
                    busy += 1
                    continue
                stack.callback(lock.release)
                path.with_name(path.name + NEW_EXTENSION).unlink(missing_ok=True)
                journal = read(path, ended=True)
                if journal is not None and not index.has(journal):
                    continue
            except FileNotFoundError:
                continue
            except (RunFolderError, OSError) as error:
                log.error("%s", error)  # noqa: TRY400 - the reason says it all
                problems.append(str(error))
                continue
            locks.append(lock)
            found += [journal] if journal else []
        found.sort(key=JournalContents.place)
        yield TakenIn(missing=index.enter_journals(found), problems=tuple(problems), busy=busy)
        records = in_order(found)
        while piece := _piece(records):
            yield TakenIn(episodes=index.take_in(piece).episodes)
        for lock in locks:
            with suppress(OSError):  # the tail goes first, as there is none without a journal
                tail_of(lock.path).unlink(missing_ok=True)
            lock.release(remove=True)
        for journal in found:
            log.info("%d records of %s are taken in", count_all(journal.bodies), journal.path)
        for inner in {lock.path.parent for lock in locks}:
            with suppress(OSError):  # the folder has other journals
                inner.rmdir()
        yield TakenIn(journals=len(found))


def _piece(entries: Iterator[tuple[JournalContents, int, bytes]]) -> list[tuple[JournalContents, int, bytes]]:
    """The next bodies: about `PIECE_RECORDS` records, or `PIECE_BYTES` bytes."""
    piece, records, size = [], 0, 0
    for entry in entries:
        piece.append(entry)
        records += count_records(entry[2])
        size += len(entry[2])
        if records >= PIECE_RECORDS or size >= PIECE_BYTES:
            break
    return piece
