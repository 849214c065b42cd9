"""The steps of runs as rows for other programs: a row for each step, and for each reset, of each sub-environment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from offcam_runs.database import open_to_read
from offcam_runs.json_text import dumps
from offcam_runs.steps.layout import TERMINATED, TRUNCATED
from offcam_runs.steps.load import all_steps
from offcam_runs.steps.places import totals
from offcam_runs.streams import read_streams

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from offcam_runs.sessions import Session
    from offcam_runs.steps.rows import Steps

_FIRST: Final[dict[str, type]] = {
    "run": str,
    "env_id": str,
    "stream": str,
    "session": int,
    "env_index": int,
    "episode": int,
    "step": int,
    "reward": float,
    "terminated": bool,
    "truncated": bool,
}

UNITS: Final = {
    "episode": "number of the episode in its sub-environment, from 0",
    "step": "steps since the episode's reset, which has 0",
    "reward": "of this one step, as the recorder saw it; NaN for a reset",
}
"""Units of some columns."""

_KINDS: Final = {"b": bool, "i": int, "u": int, "f": float}
_WIDER: Final = (bool, int, float)
_TAKEN: Final = {"run", "env_id", "stream", "session", "env_index", "terminated", "truncated"}


class StepsOfRuns:
    """The steps of some runs, read block by block whenever they are asked for.

    Args:
        runs: the folder of each run, by the run's name.
        session: which session of each run; by default the newest.

    Attributes:
        types: the type of each column's values; where layouts differ, one that can hold all of them, or text.
        total: how many rows there are.
        unreadable: how many further rows are in a damaged or missing file.

    Raises:
        ConfigError: the steps are compressed, and zstandard is not installed.
        RunFolderError: an index is damaged or cannot be read.
    """

    def __init__(self, runs: Mapping[str, Path], session: Session = None) -> None:
        self._runs = runs
        self._session = session
        self.types: dict[str, type] = dict(_FIRST)
        self.total = 0
        self.unreadable = 0
        for _, _, steps in self._all():
            for name, (kind, _) in _flat(steps).items():
                self.types[name] = _common(self.types.get(name, kind), kind)
            self.total += steps.rows
            self.unreadable += sum(gap.rows for gap in steps.gaps)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for name, env, steps in self._all():
            columns = {
                column: found for column, found in _flat(steps).items() if column in self.types
            }  # other columns have come since the types were found
            lists = [_listed(*found, self.types[column]) for column, found in columns.items()]
            flags = steps["flags"].tolist() if steps.rows else []
            missing = {column: math.nan if kind is float else None for column, kind in self.types.items()}
            for flag, *row in zip(flags, *lists, strict=True):
                ends = {"terminated": bool(flag & TERMINATED), "truncated": bool(flag & TRUNCATED)}
                yield {**missing, "run": name, **env, **dict(zip(columns, row, strict=True)), **ends}

    def missing(self) -> int:
        """How many rows are known but not here: the daemon did not write them, or they are unreadable."""
        count = self.unreadable
        for folder in self._runs.values():
            with open_to_read(folder, session=self._session) as database:
                count += sum(totals(database).dropped.values())
        return count

    def _all(self) -> Iterator[tuple[str, dict[str, Any], Steps]]:
        for name, folder in self._runs.items():
            with open_to_read(folder, session=self._session) as database:
                streams = read_streams(database)
                for key, env_index, steps in all_steps(database, folder, streams):
                    stream = streams[key]
                    env = {"env_id": stream.env_id, "stream": stream.stream, "session": stream.session}
                    yield name, {**env, "env_index": env_index}, steps


def _flat(steps: Steps) -> dict[str, tuple[type, NDArray[Any]]]:
    """Columns with one value a row, and the type of their values; an array becomes ``action.0``, ``action.1``, ..."""
    found: dict[str, tuple[type, NDArray[Any]]] = {}
    for name, column in steps.items():
        if name == "flags":
            continue
        name = f"trace_{name}" if name in _TAKEN else name  # noqa: PLW2901 - nobody asks for the other one
        if column.dtype == object:
            found[name] = str, np.array([_text(value) for value in column], object)
            continue
        for place in np.ndindex(column.shape[1:]):
            found[".".join(map(str, (name, *place)))] = _KINDS[column.dtype.kind], column[np.index_exp[:] + place]
    return found


def _common(one: type, other: type) -> type:
    """A type that can hold the values of two types."""
    if one is other:
        return one
    return max(one, other, key=_WIDER.index) if one in _WIDER and other in _WIDER else str


def _listed(kind: type, values: NDArray[Any], wanted: type) -> list[Any]:
    """A column's values, converted from the type ``kind`` to the type ``wanted``."""
    found: list[Any] = values.tolist()
    if kind is wanted:
        return found
    return [_text(value) for value in found] if wanted is str else [wanted(value) for value in found]


def _text(value: Any) -> str | None:  # noqa: ANN401 - an action
    return value if value is None or isinstance(value, str) else dumps(_plain(value))


def _plain(value: Any) -> Any:  # noqa: ANN401 - an action
    """A value as JSON can hold it."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
