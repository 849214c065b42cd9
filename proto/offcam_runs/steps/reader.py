"""Reading the steps of a run: those of an episode, those of a clip's frames, and the rows of a table in order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from offcam_proto.errors import ConfigError, RemoteProtocolError, RunFolderError
from offcam_proto.records import StepRecord
from offcam_runs.objects.copies import fetch_steps, original
from offcam_runs.steps import files
from offcam_runs.steps.blocks import unpack
from offcam_runs.steps.places import Gap, Place, all_places, dropped, known_before, known_behind, pending_record, places
from offcam_runs.steps.rows import Rows, Steps, chosen, ended, joined, of_env

if TYPE_CHECKING:
    import sqlite3

_Found = tuple[NDArray[np.int64], dict[str, NDArray[Any]]]

LOST: Final = "lost"
"""The reason of rows that never came: their client lost them, or was killed."""


class StepReader:
    """Reads the steps of one run. One thread: that of its index.

    Args:
        database: from `offcam_runs.database.open_to_read`.
        folder: of the run.
    """

    def __init__(self, database: sqlite3.Connection, folder: str | os.PathLike[str]) -> None:
        self._db = database
        self._folder = folder
        self._is_copy = original(folder) is not None
        self._fetched: dict[tuple[str, int], str] = {}  # paths of files that came from object storage

    def episode(self, key: int, kind: int, env_index: int, episode: int) -> Steps:
        """The rows of an episode; none where no row of it is there.

        Args:
            key: of the stream in the index.
            kind: the table, of `layout.TABLES`.
            env_index: the sub-environment.
            episode: its number.

        Raises:
            ConfigError: they are compressed, and Zstandard is not installed.
            RunFolderError: the index is damaged.
        """
        where = (key, kind, env_index)
        found = list(places(self._db, *where, episode=episode))
        gaps = dropped(self._db, *where, episode=episode)
        pieces: list[tuple[Place, Rows]] = []
        for place in found:
            record = self.record(place)
            if isinstance(record, StepRecord):
                pieces.append((place, of_env(record, env_index)))
            else:
                gaps.append(Gap(place.first_row, place.rows, record))
        own = [(place, rows, rows.rows["episode"] == episode) for place, rows in pieces if _has_episodes(rows)]
        own = [(place, rows, mask) for place, rows, mask in own if mask.any()]
        numbers, columns = joined([chosen(rows, mask) for _, rows, mask in own])
        gaps += self._lost(found, [place for place, _, _ in own], gaps, (numbers, columns), env_index)
        gaps = _of_episode(gaps, numbers, columns)
        begins = "step" not in columns or (len(numbers) > 0 and columns["step"][0] <= 1)  # 1: reset in the step before
        return Steps(numbers, columns, tuple(gaps), not gaps and begins and ended(columns))

    def rows(self, key: int, kind: int, env_index: int, first_row: int, behind: int) -> Steps:
        """The rows from ``first_row`` to before ``behind``; complete if none is missing. Raises as `episode`."""
        gaps = dropped(self._db, key, kind, env_index, rows=(first_row, behind))
        pieces, spans = [], []
        for piece in self.blocks(key, kind, env_index, first_row, behind):
            if isinstance(piece, Gap):
                gaps.append(piece)
                continue
            numbers = piece.first_row + np.arange(len(piece.rows))
            pieces.append(chosen(piece, (numbers >= first_row) & (numbers < behind)))
            spans.append((piece.first_row, piece.first_row + len(piece.rows)))
        gaps += _between([(first_row, first_row), *spans, *map(_span, gaps), (behind, behind)])
        return Steps(*joined(pieces), tuple(sorted(gaps)), not gaps)

    def pieces(self, key: int, kind: int) -> Iterator[tuple[int, Steps]]:
        """All rows of a stream's table by sub-environment, one block in memory; those that cannot be read are a gap."""
        for place in list(all_places(self._db, key, kind)):
            record = self.record(place)
            for env_index in range(place.env_index, place.env_index + max(place.envs, 1)):
                if isinstance(record, StepRecord):
                    rows = of_env(record, env_index)
                    yield env_index, Steps(*chosen(rows, np.ones(len(rows.rows), np.bool_)))
                else:
                    gap = Gap(place.first_row, place.rows, record)
                    yield env_index, Steps(np.empty(0, np.int64), {}, (gap,))

    def blocks(
        self, key: int, kind: int, env_index: int, first_row: int = 0, behind: int | None = None
    ) -> Iterator[Rows | Gap]:
        """The blocks that have any of some rows, in order, one in memory at a time; a `Gap` for a damaged one.

        Rows that never came, or that the daemon dropped, are left out. Raises as `episode`.
        """
        span = (first_row, 2**63 - 1 if behind is None else behind)
        for place in list(places(self._db, key, kind, env_index, rows=span)):
            record = self.record(place)
            if isinstance(record, StepRecord):
                yield of_env(record, env_index)
            else:
                yield Gap(place.first_row, place.rows, record)

    def record(self, place: Place) -> StepRecord | str:
        """The record in a block, or what is wrong with it, for people.

        Raises:
            ConfigError: Zstandard is not installed, or object storage refuses its file, which that alone has.
            RunFolderError: that cannot be reached.
        """
        if place.file is None:
            return pending_record(self._db, place) or "its journal has no such record"
        path = files.path_of(self._folder, place.stream, place.file)
        name = os.path.join(files.FOLDER, os.path.basename(path))
        try:
            record = unpack(self._block(path, place.file, place))
        except (ConfigError, RunFolderError):  # of object storage
            raise
        except FileNotFoundError:
            return f"{name} is not there"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        except (ValueError, RemoteProtocolError) as error:
            return f"{name}: {error}"
        if (record.table, record.env_index, record.first_row, record.count) != (
            place.kind,
            place.env_index,
            place.first_row,
            place.rows,
        ):
            return f"{name} has other rows there than the index says"
        return record

    def _block(self, path: str, number: int, place: Place) -> bytes:
        """The block at a place, from the file of that number at a path, or from object storage."""
        block = (place.offset, place.bytes, place.seq)
        file = (place.stream, number)
        if file not in self._fetched:
            if not self._is_copy:
                with suppress(FileNotFoundError):  # that alone may have it
                    return files.read_block(path, *block)
            fetched = fetch_steps(self._folder, *file, place.offset + place.bytes)
            self._fetched[file] = os.fspath(fetched or path)
        return files.read_block(self._fetched[file], *block)

    def _lost(
        self, blocks: list[Place], own: list[Place], known: list[Gap], found: _Found, env_index: int
    ) -> list[Gap]:
        """Rows that never came: between blocks that may have rows of an episode, or beyond those that do."""
        if not own:
            return []
        numbers, columns = found
        spans = [*((place.first_row, place.first_row + place.rows) for place in blocks), *map(_span, known)]
        if numbers[0] == own[0].first_row and ("step" not in columns or columns["step"][0] > 0):
            before = known_before(self._db, own[0], env_index)
            spans.append((before, before))
        if numbers[-1] == own[-1].first_row + own[-1].rows - 1 and not ended(columns):
            behind = known_behind(self._db, own[-1], env_index)
            spans += [] if behind is None else [(behind, behind)]
        return _between(spans)


def _span(gap: Gap) -> tuple[int, int]:
    return gap.first_row, gap.first_row + gap.rows


def _of_episode(gaps: list[Gap], numbers: NDArray[np.int64], columns: dict[str, NDArray[Any]]) -> list[Gap]:
    """The gaps that may have rows of the episode, in order: in its midst, or at an end that was not seen."""
    gaps = sorted(gaps)
    if not len(numbers):
        return gaps
    first, behind = int(numbers[0]), int(numbers[-1]) + 1
    if "step" not in columns or columns["step"][0] > 0:
        for gap in reversed(gaps):
            first = min(first, gap.first_row) if gap.first_row + gap.rows >= first else first
    if not ended(columns):
        for gap in gaps:
            behind = max(behind, gap.first_row + gap.rows) if gap.first_row <= behind else behind
    return [gap for gap in gaps if gap.first_row < behind and gap.first_row + gap.rows > first]


def _between(spans: list[tuple[int, int]]) -> list[Gap]:
    """The rows between some spans; a span is its first row and the row behind its last."""
    gaps: list[Gap] = []
    due = min(first for first, _ in spans)
    for first, behind in sorted(spans):
        gaps += [Gap(due, first - due, LOST)] if first > due else []
        due = max(due, behind)
    return gaps


def _has_episodes(rows: Rows) -> bool:
    return "episode" in (rows.rows.dtype.names or ())
