"""The tape of an env, read from a run."""

from __future__ import annotations

import itertools
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from offcam.replay.tape import Event, Reset
from offcam_proto.errors import NotReplayable
from offcam_proto.records import StepRecord
from offcam_runs.replay.recipe import Recipe
from offcam_runs.steps.layout import DIGEST, RESET, RESETS, STEPS, TAPE
from offcam_runs.steps.places import places
from offcam_runs.steps.reader import StepReader
from offcam_runs.steps.rows import Rows, of_env

if TYPE_CHECKING:
    import sqlite3

    from offcam.recorder.actions import ActionCodec


class FileTape:
    """A tape in the steps of a run; a `tape.TapeReader` once ``actions`` is set.

    The constructor reads the places of all blocks from the index, which is not used afterwards, as an open index
    hinders its writer.

    Args:
        database: the index, open to be read.
        folder: folder of the run.
        key: key of the stream in the index.
        env_index: index of the sub-environment.

    Attributes:
        actions: the codec by which the base's actions are decoded; set by the caller that made the env.
    """

    def __init__(self, database: sqlite3.Connection, folder: str, key: int, env_index: int = 0) -> None:
        self.actions: ActionCodec | None = None
        self._reader = StepReader(database, folder)
        self._env_index = env_index
        self._places = {kind: list(places(database, key, kind, env_index)) for kind in (STEPS, TAPE, RESETS)}
        of_both = itertools.chain(*self._places.values())
        self._pending = {place: self._reader.record(place) for place in of_both if place.file is None}
        own = self._places[TAPE]
        self._own = own[0].first_row if own else sys.maxsize  # from this row on the tape has a table of its own
        self._block: Rows | None = None  # the block of resets that was read last

    @cached_property
    def resets(self) -> list[int]:
        """The numbers of the rows of resets, ascending."""
        found: list[int] = []
        numbers = [np.empty(0, np.int64)]
        for block in self._blocks(RESETS):
            found += block.rows["row"].tolist()
            numbers.append(block.first_row + np.arange(len(block.rows)))
        self._numbers = np.concatenate(numbers)  # numbers of the resets' rows in the table of resets
        return found

    def recipe(self) -> Recipe:
        """The recipe by which the base is made again.

        Raises:
            NotReplayable: the recipe is lost.
            MalformedMessage: the recipe is damaged.
        """
        for block in self._blocks(RESETS):
            for recipe in block.heap["recipe"]:
                if recipe:
                    return Recipe.parse(recipe)
        raise NotReplayable("nothing says what the env is made from again: it was not recorded with source='replay'")

    def events(self, begin: int, end: int) -> Iterator[Event]:
        """The rows from ``begin`` on and before ``end``, in order. Fewer where some are lost."""
        shared = self._blocks(STEPS, begin, min(end, self._own)) if begin < self._own else ()
        own = self._blocks(TAPE, max(begin, self._own), end) if end > self._own else ()
        for block in itertools.chain(shared, own):
            if DIGEST.name not in (block.rows.dtype.names or ()):
                return
            first = max(begin - block.first_row, 0)
            behind = min(end - block.first_row, len(block.rows))
            for place in range(first, behind):
                yield self._event(block, place)

    def _blocks(self, kind: int, begin: int = 0, end: int | None = None) -> Iterator[Rows]:
        """The readable blocks of a table that have any of the rows [begin, end)."""
        own = self._places[kind]
        for place in own[bisect_right(own, begin, key=lambda place: place.first_row + place.rows) :]:
            if end is not None and place.first_row >= end:
                return
            record = self._pending.get(place) or self._reader.record(place)
            if isinstance(record, StepRecord):
                yield of_env(record, self._env_index)

    def _event(self, block: Rows, place: int) -> Event:
        row = block.rows[place]
        number, digest = block.first_row + place, int(row["digest"])
        if row["flags"] & RESET:
            return Event(number, self._reset(number), None, digest)
        assert self.actions is not None  # noqa: S101 - set by the caller that made the env
        values: dict[str, Any] = {
            name: block.heap[name][place] if name in block.heap else row[name]
            for name in block.rows.dtype.names or ()
            if name == "action" or name.startswith("action.")
        }
        return Event(number, None, self.actions.unpack(values), digest)

    def _reset(self, row: int) -> Reset:
        """The reset of a row of the tape."""
        place = bisect_left(self.resets, row)
        if place == len(self.resets) or self.resets[place] != row:
            return Reset(why=f"what the reset in row {row} of the tape was given is lost")
        number, block = int(self._numbers[place]), self._block
        if block is None or not 0 <= number - block.first_row < len(block.rows):
            block = self._block = next(self._blocks(RESETS, number, number + 1))
        return Reset.unpack(block.heap["reset"][number - block.first_row])
