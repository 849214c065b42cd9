"""The one reader of a run folder: what `offcam.load` returns, and what every verb and report takes its numbers from."""

from __future__ import annotations

import glob
import importlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_type_hints, overload

import numpy as np

from offcam_proto.errors import ConfigError, NotARunFolder, RunFolderError
from offcam_runs import notebook
from offcam_runs.analysis import Axis, Curve, Smooth, Summary, smooth, summary
from offcam_runs.clips import Clip, read_clips
from offcam_runs.database import open_to_read
from offcam_runs.discover import labels
from offcam_runs.episodes import Episode, EpisodeTable, read_episodes
from offcam_runs.json_text import finite
from offcam_runs.pending import committed
from offcam_runs.sessions import ALL, Session, sessions
from offcam_runs.steps.load import episode_steps
from offcam_runs.steps.places import StepTotals
from offcam_runs.steps.places import totals as step_totals
from offcam_runs.streams import Stream, began, read_streams
from offcam_runs.totals import run_totals

if TYPE_CHECKING:
    import sqlite3

    import pandas as pd
    import polars as pl
    from numpy.typing import NDArray

    from offcam_runs.steps.rows import Steps


What = Literal["episodes", "clips"]

_PIECE = 10_000

_PENDING: Final = "SELECT count(*) FROM episodes WHERE id > :committed"

SCORE_EPISODES = 100
"""Episodes at a run's end; their mean return is the run's score among other seeds."""

_FIELDS = {
    "episodes": [name for name in Episode._fields if name not in ("number", "stream", "info")],
    "clips": [field.name for field in fields(Clip) if field.name not in ("folder", "stream", "stream_id", "info")],
}


_OF_RUN: Final = {"run": str, "env_id": str, "stream": str, "session": int}
"""The first columns of episodes and of clips, and what their values are."""


def column_names(what: What, values: Iterable[str] = ()) -> list[str]:
    """The columns of tables and files of episodes or clips, in order; the episodes' values come last."""
    of_values = map(_value_column, values) if what == "episodes" else ()
    return [*_OF_RUN, *map(_column, _FIELDS[what]), *of_values]


def column_types(what: What, values: Iterable[str] = ()) -> dict[str, type]:
    """The type of each column's values that are not None: bool, int or float, and str for everything else."""
    hints = get_type_hints(Episode if what == "episodes" else Clip)
    found: dict[str, type] = dict(_OF_RUN)
    for name in _FIELDS[what]:
        kinds = {*(get_args(hints[name]) or (hints[name],))} - {type(None)}
        found[_column(name)] = kinds.pop() if len(kinds) == 1 else str
    return found | dict.fromkeys(map(_value_column, values) if what == "episodes" else (), float)


def _column(name: str) -> str:
    """What a field of an episode or a clip is called in tables and in JSON."""
    return "duration_seconds" if name == "duration" else name.rstrip("_")


def _value_column(name: str) -> str:
    """What a value of an episode is called in tables and in JSON: its name, unless a column has that name."""
    return f"info_{name}" if name in column_names("episodes") else name


def value_names(runs: Iterable[Run]) -> list[str]:
    """The names of all values that episodes of some runs have."""
    return list(dict.fromkeys(name for run in runs for name in run.episodes.info))


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """One recorded run, or one session of it, as it was when it was read.

    Attributes:
        folder: the run folder, as it was given.
        sessions: the numbers of all its sessions, the newest last.
        streams: in order of opening.
        episodes: the finished ones, in order of arrival.
        clips: in order of opening, without those whose file was replaced by a later one.
        format_version: of its index, as it was read.
        quarantined: how many records were set aside because they could not be understood.
        pending: how many of the episodes are still in clients' journals, not yet in the index.
        step_totals: how many rows of steps there are, their bytes, and what was dropped of them.
    """

    folder: str
    streams: tuple[Stream, ...]
    episodes: EpisodeTable
    clips: tuple[Clip, ...]
    format_version: int
    quarantined: int
    pending: int
    step_totals: StepTotals
    sessions: tuple[int, ...] = ()

    @property
    def session(self) -> int | None:
        """The number of the session that all streams are of; None where they are of several, or there are none."""
        numbers = {stream.session for stream in self.streams}
        return numbers.pop() if len(numbers) == 1 else None

    @property
    def name(self) -> str:
        """The folder's own name."""
        return os.path.basename(os.path.abspath(self.folder))

    @property
    def env_ids(self) -> tuple[str, ...]:
        """Ids of the environments of its streams, each once."""
        return tuple(dict.fromkeys(stream.env_id for stream in self.streams))

    @property
    def began(self) -> float:
        """When the first of its streams began, in seconds since the epoch. NaN without streams."""
        return began(self.streams)

    def curve(self, quantity: str = "return", axis: Axis = "episode") -> Curve:
        """The run's learning curve, which `offcam plot` and the page draw: every episode, not averaged yet.

        Args:
            quantity: returns, lengths in steps, durations in seconds, or a value by its name in ``episodes.info``.
            axis: by ``"episode"``, ``"step"`` or ``"time"``, see `offcam_runs.analysis.curve`.
        """
        return self.episodes.curve(quantity, axis, began=self.began)

    def smooth(self, quantity: str, axis: Axis, window: int) -> Smooth:
        """The learning curve with its moving average over ``window`` episodes."""
        return smooth(self.curve(quantity, axis), window)

    def steps(self, episode: int, *, env_index: int = 0, stream: str | None = None) -> Steps:
        """The steps of an episode, if they were recorded (``steps=True``): its columns by name, as numpy arrays.

        The first row is that of the reset. Columns: ``episode``, ``step`` (0 for the reset), ``reward`` (NaN for the
        reset), ``flags`` (bits of `offcam_runs.steps.layout`), ``action`` or its parts, and those of `offcam.trace`.

        Args:
            episode: number of the episode in its sub-environment, as in ``episodes.episode``.
            env_index: the sub-environment, 0 for a single env.
            stream: id of its stream, where several have such an episode.

        Raises:
            ConfigError: no steps of the episode were recorded, or several streams have it; or zstandard is not
                installed.
            RunFolderError: the index is damaged or cannot be read.
        """
        return episode_steps(self.folder, episode, env_index=env_index, stream=stream, session=self.session or ALL)

    @property
    def count(self) -> int:
        """How many episodes there are."""
        return len(self.episodes)

    def columns(
        self, what: What = "episodes", *, label: str | None = None, values: Iterable[str] | None = None
    ) -> dict[str, list[Any] | NDArray[Any]]:
        """Episodes or clips as columns by name, as ``offcam export`` has them: ``run``, ``env_id``, ``session``, ...

        Args:
            what: ``"episodes"`` or ``"clips"``.
            label: for the column ``run``; by default the folder's name.
            values: names of the episodes' values, NaN where one is not known; by default all that any episode has.
        """
        found = self._columns(what, label, values)
        if what == "clips":
            found["dropped"] = list(map(json.dumps, found["dropped"]))
        return found

    def rows(
        self, what: What = "episodes", *, label: str | None = None, values: Iterable[str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The same, one dictionary for each row; dropped frames are a dictionary by reason in it."""
        if what == "episodes" and len(self.episodes) > _PIECE:  # as Python's objects they take ten times the room
            names = tuple(self.episodes.info if values is None else values)
            begins = range(0, len(self.episodes), _PIECE)
            pieces = (replace(self, episodes=self.episodes[begin : begin + _PIECE]) for begin in begins)
            return (row for piece in pieces for row in piece.rows(what, label=label, values=names))
        columns = self._columns(what, label, values)
        lists = [column.tolist() if isinstance(column, np.ndarray) else column for column in columns.values()]
        return (dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True))

    def _columns(
        self, what: What, label: str | None, values: Iterable[str] | None
    ) -> dict[str, list[Any] | NDArray[Any]]:
        of = self.episodes.stream.tolist() if what == "episodes" else [clip.stream for clip in self.clips]
        found: dict[str, list[Any] | NDArray[Any]] = {
            "run": [label or self.name] * len(of),
            "env_id": [self.streams[place].env_id for place in of],
            "stream": [self.streams[place].stream for place in of],
            "session": [self.streams[place].session for place in of],
        }
        for name in _FIELDS[what]:
            each = getattr(self.episodes, name) if what == "episodes" else [getattr(clip, name) for clip in self.clips]
            found[_column(name)] = each
        if what == "episodes":
            for name in self.episodes.info if values is None else values:
                column = self.episodes.info.get(name)
                found[_value_column(name)] = np.full(len(of), np.nan) if column is None else column
        return found

    def as_dict(self) -> dict[str, Any]:
        """The whole run, ready for JSON: NaN and the infinities are None."""
        found: dict[str, Any] = finite(
            {
                "folder": self.folder,
                "format_version": self.format_version,
                "session": self.session,
                "sessions": list(self.sessions),
                "quarantined": self.quarantined,
                "pending": self.pending,
                "steps": self.step_totals._asdict(),
                "streams": [vars(stream) for stream in self.streams],
                "clips": list(self.rows("clips")),
                "episodes": list(self.rows("episodes")),
            }
        )
        for row in (*found["clips"], *found["episodes"]):
            del row["run"], row["env_id"], row["session"]  # the streams have it
        return found

    def to_pandas(self, what: What = "episodes") -> pd.DataFrame:
        """Episodes or clips as a pandas frame, with the columns of `columns`.

        Raises:
            ConfigError: pandas is not installed.
        """
        return _to_pandas([self], what)

    def to_polars(self, what: What = "episodes") -> pl.DataFrame:
        """Episodes or clips as a polars frame, with the columns of `columns`.

        Raises:
            ConfigError: polars is not installed.
        """
        return _to_polars([self], what)

    def __repr__(self) -> str:
        return f"<Run {self.folder!r}: {len(self.episodes):,} episodes, {len(self.clips):,} clips>"

    def _repr_html_(self) -> str:
        shown = next((clip for clip in reversed(self.clips) if clip.path and os.path.exists(clip.path)), None)
        return notebook.table(HEADS, [cells(self)]) + (shown._repr_html_() if shown else "")


@dataclass(frozen=True, eq=False, repr=False)
class Runs(Sequence[Run]):
    """Several runs, such as the seeds of one experiment: a sequence of them.

    Attributes:
        runs: the runs, in the order in which they were given.
    """

    runs: tuple[Run, ...]

    @overload
    def __getitem__(self, place: int) -> Run: ...

    @overload
    def __getitem__(self, place: slice) -> Runs: ...

    def __getitem__(self, place: int | slice) -> Run | Runs:
        return Runs(self.runs[place]) if isinstance(place, slice) else self.runs[place]

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def scores(self, episodes: int = SCORE_EPISODES) -> NDArray[np.float64]:
        """The score of each run, (runs,): the mean return of its last ``episodes``; NaN for a run without episodes."""
        return np.array([run.episodes[-episodes:].summary(intervals=False).mean for run in self.runs])

    def summary(self, *, episodes: int = SCORE_EPISODES, confidence: float = 0.95) -> Summary:
        """Statistics over seeds, each run counting by its score: interquartile mean, intervals over runs, and so on.

        Args:
            episodes: how many at the end of each run make its score; see `scores`.
            confidence: of the intervals, between 0 and 1.
        """
        return summary(self.scores(episodes), confidence=confidence)

    def to_pandas(self, what: What = "episodes") -> pd.DataFrame:
        """Episodes or clips of all runs as `Run.to_pandas` has them; which run is in the column ``run``."""
        return _to_pandas(self.runs, what)

    def to_polars(self, what: What = "episodes") -> pl.DataFrame:
        """Episodes or clips of all runs as `Run.to_polars` has them; which run is in the column ``run``."""
        return _to_polars(self.runs, what)

    def __repr__(self) -> str:
        return f"<Runs: {', '.join(map(repr, self.runs))}>"

    def _repr_html_(self) -> str:
        return notebook.table(HEADS, map(cells, self.runs))


# --- reading ----------------------------------------------------------------------------------------------


def read_run(folder: str | os.PathLike[str], session: Session = None, *, last: int | None = None) -> Run:
    """Read a run folder as it is at one moment, even while a daemon writes it; it need not be writable.

    Args:
        folder: of the run.
        session: which one is read; by default the newest.
        last: read only the latest clips and episodes, so many of each; by default all.

    Raises:
        ConfigError: there is no such session.
        NotARunFolder: there is no index in it.
        RunFormatTooNew: a newer offcam wrote it.
        RunFolderError: its index is damaged or cannot be read.
    """
    with open_to_read(folder, session=session) as database:
        return run_of(database, folder, last=last)


def run_of(database: sqlite3.Connection, folder: str | os.PathLike[str], *, last: int | None = None) -> Run:
    """The run whose index is open.

    Args:
        database: from `database.open_to_read`.
        folder: of the run.
        last: as of `read_run`.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (quarantined,) = database.execute("SELECT count(*) FROM quarantine").fetchone()
    (pending,) = database.execute(_PENDING, {"committed": committed(database)}).fetchone()
    streams = read_streams(database)
    if last is None:
        episodes = replace(read_episodes(database, streams), totals=run_totals(database).total())
        clips = read_clips(database, folder)
    else:
        episodes = read_episodes(database, streams, order="id DESC", limit=last)[::-1]
        clips = read_clips(database, folder, order="place DESC", limit=last)[::-1]
    counts = (version, quarantined, pending, step_totals(database))
    return Run(os.fspath(folder), tuple(streams.values()), episodes, tuple(clips), *counts, tuple(sessions(database)))


def load_run(folder: str, session: Session = None) -> Run:
    """Read a run folder whose files may be opened by the names in its index. Raises what `offcam.load` raises."""
    if glob.has_magic(folder) and not os.path.exists(folder):
        raise NotARunFolder(
            f"no folder is named {folder!r}; to load all that match it, give a list: load([{folder!r}])"
        )
    run = read_run(folder, session)
    for file in (clip.file for clip in run.clips if clip.file is not None):
        if os.path.basename(file) != file:
            raise RunFolderError(f"the index of {folder!r} names a file out of the folder, {file!r}: do not trust it")
    return run


# --- notebooks --------------------------------------------------------------------------------------------


HEADS: Final = ("run", "env", "episodes", "steps", "return", f"last {SCORE_EPISODES}", "length", "videos")
"""Heads of a table of runs; `cells` has what is below them."""


def cells(run: Run) -> list[str]:
    """A row of a table of runs, for people."""
    returns, lengths = (run.episodes.summary(what, intervals=False) for what in ("return", "length"))
    recent = run.episodes[-SCORE_EPISODES:].summary(intervals=False)
    number = notebook.number
    return [
        run.folder,
        ", ".join(run.env_ids),
        f"{len(run.episodes):,}",
        f"{int(run.episodes.length.sum()):,}",
        f"{number(returns.mean)} ± {number(returns.std)}" if returns.count else "-",
        number(recent.mean) if recent.count else "-",
        number(lengths.mean) if lengths.count else "-",
        f"{len(run.clips):,}",
    ]


# --- frames -----------------------------------------------------------------------------------------------


def _library(name: str) -> Any:  # noqa: ANN401 - a module
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ConfigError(
            f"{name} is not installed in {sys.prefix}. Run: {sys.executable} -m pip install {name}"
        ) from error


def _columns(runs: Sequence[Run], what: What) -> list[dict[str, Any]]:
    names = labels([run.folder for run in runs])
    values = value_names(runs)
    return [run.columns(what, label=label, values=values) for run, label in zip(runs, names, strict=True)]


def _to_pandas(runs: Sequence[Run], what: What) -> pd.DataFrame:
    pandas = _library("pandas")
    frames = [pandas.DataFrame(columns) for columns in _columns(runs, what)]
    frame: pd.DataFrame = pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame()
    return frame


def _to_polars(runs: Sequence[Run], what: What) -> pl.DataFrame:
    polars = _library("polars")
    columns: dict[str, list[Any]] = {}
    for found in _columns(runs, what):
        for name, column in found.items():
            columns.setdefault(name, []).extend(column.tolist() if isinstance(column, np.ndarray) else column)
    if any(isinstance(seed, str) for seed in columns.get("seed", ())):  # a column has one type
        columns["seed"] = [None if seed is None else str(seed) for seed in columns["seed"]]
    frame: pl.DataFrame = polars.DataFrame(columns, infer_schema_length=None)
    return frame
