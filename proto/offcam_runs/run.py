"""What `offcam.load` returns: runs with their streams, episodes and clips. Nothing in them can be changed."""

from __future__ import annotations

import glob
import importlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from offcam_proto.errors import ConfigError, NotARunFolder, RunFolderError
from offcam_runs import format as fmt
from offcam_runs import notebook
from offcam_runs.readindex import read_index
from offcam_runs.sql import Stream, stream_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    import polars as pl
    from numpy.typing import NDArray

What = Literal["episodes", "clips"]


@dataclass(frozen=True, eq=False, repr=False)
class Episodes:
    """A run's finished episodes in order of arrival: arrays of shape (episodes,) that cannot be written to.

    Attributes:
        stream: place of its stream in `Run.streams`, int64.
        env_index: sub-environment, 0 for a single one, int64.
        episode: number of the episode in its (sub-)environment, from 0, int64.
        return_: sums of rewards, float64; may be NaN or infinite.
        length: in steps, int64.
        duration: from the reset to the last step in seconds, float64, NaN where it is not known.
        started: time of the reset in seconds since the epoch, float64.
        terminated: flag of the last step, bool.
        truncated: flag of the last step, bool.
        seed: given to the reset, object: int or None, text where it exceeds 63 bits.
    """

    stream: NDArray[np.int64]
    env_index: NDArray[np.int64]
    episode: NDArray[np.int64]
    return_: NDArray[np.float64]
    length: NDArray[np.int64]
    duration: NDArray[np.float64]
    started: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    seed: NDArray[np.object_]

    def __post_init__(self) -> None:
        for field in fields(self):
            getattr(self, field.name).flags.writeable = False

    def __len__(self) -> int:
        return self.length.size

    def __repr__(self) -> str:
        return f"<{len(self):,} episodes>"


@dataclass(frozen=True)
class Clip:
    """One video, or one part of one.

    Attributes:
        folder: of its run.
        stream: place of its stream in `Run.streams`.
        clip: its number in the stream.
        name: as the wrapper named it, without suffix, part and extension.
        part: from 1; a video has several where the frame size changed or the daemon was replaced.
        file: file name within the folder, None where there is no file.
        state: ``recording``, ``final``, ``recovered`` or ``aborted``.
        frames: in the file.
        fps: frames per second.
        width: in pixels, None until it has ended.
        height: in pixels, likewise.
        duration: of the video in seconds, likewise.
        episode: number of the episode in which it began.
        step: number of the step, over all episodes, at which it began.
        return_: of the episode if it shows exactly one whole episode, else the sum of its steps' rewards. NaN while
            the client has not told.
        length: that episode's steps, or the clip's. None while the client has not told.
        offered: frames that the wrapper captured: ``frames`` and those dropped, once it has ended.
        received: frames that reached the daemon.
        dropped: frames not in the file, by reason.
        complete: whether it ended as its owner meant it to, None while the client has not told.
        file_bytes: size of the file, None until it has ended.
        started: when it began, in seconds since the epoch.
        ended: when its encoder ended it, None until then.
        error: what went wrong, in words.
        partial: whether it was cut off within an episode.
    """

    folder: str
    stream: int
    clip: int
    name: str
    part: int
    file: str | None
    state: str
    frames: int
    fps: float
    width: int | None
    height: int | None
    duration: float | None
    episode: int
    step: int
    return_: float
    length: int | None
    offered: int
    received: int
    dropped: dict[str, int]
    complete: bool | None
    file_bytes: int | None
    started: float
    ended: float | None
    error: str | None
    partial: bool

    @property
    def path(self) -> str | None:
        """Path of its file: with ``.part`` while it is recorded, None where there is none."""
        if self.file is None:
            return None
        return os.path.join(self.folder, self.file + fmt.PART_EXTENSION * (self.state == fmt.RECORDING))

    def _repr_html_(self) -> str:
        return notebook.clip_html(self)


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """One recorded run, as it was when it was read.

    Attributes:
        folder: the run folder, as it was given.
        streams: in order of opening.
        episodes: finished ones, in order of arrival.
        clips: in order of opening, without those whose file was replaced by a later one.
    """

    folder: str
    streams: tuple[Stream, ...]
    episodes: Episodes
    clips: tuple[Clip, ...]

    @property
    def name(self) -> str:
        """The folder's own name."""
        return os.path.basename(os.path.abspath(self.folder))

    @property
    def env_ids(self) -> tuple[str, ...]:
        """Of its streams, each once."""
        return tuple(dict.fromkeys(stream.env_id for stream in self.streams))

    def columns(self, what: What = "episodes", *, label: str | None = None) -> dict[str, list[Any] | NDArray[Any]]:
        """Episodes or clips as columns by name, as ``offcam export`` has them: ``run``, ``env_id``, ``stream``, ...

        Args:
            what: which of the two.
            label: for the column ``run``; by default the folder's name.
        """
        of = self.episodes.stream.tolist() if what == "episodes" else [clip.stream for clip in self.clips]
        found: dict[str, list[Any] | NDArray[Any]] = {
            "run": [label or self.name] * len(of),
            "env_id": [self.streams[place].env_id for place in of],
            "stream": [self.streams[place].stream for place in of],
        }
        for name in _names(Episodes if what == "episodes" else Clip):
            if name in ("folder", "stream"):
                continue
            column = "duration_seconds" if name == "duration" else name.rstrip("_")
            if what == "episodes":
                found[column] = getattr(self.episodes, name)
            else:
                values = [getattr(clip, name) for clip in self.clips]
                found[column] = [json.dumps(value) for value in values] if name == "dropped" else values
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
        return notebook.run_html(self)


@dataclass(frozen=True, eq=False, repr=False)
class Runs(Sequence[Run]):
    """Several runs, such as the seeds of one experiment: a sequence of them.

    Attributes:
        runs: in the order in which they were given.
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

    def to_pandas(self, what: What = "episodes") -> pd.DataFrame:
        """Episodes or clips of all runs as a pandas frame; which run is in the column ``run``.

        Raises:
            ConfigError: pandas is not installed.
        """
        return _to_pandas(self.runs, what)

    def to_polars(self, what: What = "episodes") -> pl.DataFrame:
        """Episodes or clips of all runs as a polars frame; which run is in the column ``run``.

        Raises:
            ConfigError: polars is not installed.
        """
        return _to_polars(self.runs, what)

    def __repr__(self) -> str:
        return f"<Runs: {', '.join(map(repr, self.runs))}>"

    def _repr_html_(self) -> str:
        return notebook.runs_html(self.runs)


# --- reading ----------------------------------------------------------------------------------------------


def read_run(folder: str) -> Run:
    """Read a run folder. Raises what `offcam.load` raises."""
    if glob.has_magic(folder) and not os.path.exists(folder):
        raise NotARunFolder(
            f"no folder is named {folder!r}; to load all that match it, give a list: load([{folder!r}])"
        )
    rows = read_index(folder)
    places = {row[0]: place for place, row in enumerate(rows.streams)}
    streams = tuple(stream_of(row[1:]) for row in rows.streams)
    clips = tuple(_clip(folder, row, places) for row in rows.clips)
    return Run(folder, streams, _episodes(rows.episodes, places), clips)


def matching(folders: Sequence[str]) -> list[str]:
    """The run folders that paths and patterns mean, each once.

    Raises:
        NotARunFolder: none matches a pattern.
    """
    found: dict[str, None] = {}
    for path in folders:
        if os.path.exists(path) or not glob.has_magic(path):
            found[path] = None
            continue
        matches = sorted(match for match in glob.glob(path) if os.path.exists(os.path.join(match, fmt.INDEX_NAME)))
        if not matches:
            raise NotARunFolder(f"no run folder matches {path!r} in {os.getcwd()!r}: check the pattern")
        found.update(dict.fromkeys(matches))
    return list(found)


def _episodes(rows: list[tuple[Any, ...]], places: dict[int, int]) -> Episodes:
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(_DTYPES)
    columns[0] = [places[number] for number in columns[0]]
    arrays = [np.empty(len(rows), dtype) for dtype in _DTYPES]
    for array, column in zip(arrays, columns, strict=True):
        array[:] = column  # None becomes NaN
    return Episodes(*arrays)


_DTYPES: tuple[Any, ...] = (*[np.int64] * 3, np.float64, np.int64, *[np.float64] * 2, *[np.bool_] * 2, np.object_)


def _clip(folder: str, row: tuple[Any, ...], places: dict[int, int]) -> Clip:
    named = dict(zip(_names(Clip)[1:], row, strict=True))
    file = named["file"]
    if file is not None and os.path.basename(file) != file:
        raise RunFolderError(f"the index of {folder!r} names a file out of the folder, {file!r}: do not trust it")
    named.update(
        stream=places[named["stream"]],
        fps=fmt.real_from_sql(named["fps"]),
        return_=fmt.real_from_sql(named["return_"]),
        dropped=json.loads(named["dropped"]),
        complete=None if named["complete"] is None else bool(named["complete"]),
        started=fmt.real_from_sql(named["started"]),
        partial=bool(named["partial"]),
    )
    return Clip(folder, **named)


def _names(kind: type[Episodes | Clip]) -> list[str]:
    return [field.name for field in fields(kind)]


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


def _labels(runs: Sequence[Run]) -> list[str]:
    """For each run as few of the last parts of its path as tell them all apart."""
    paths = [os.path.abspath(run.folder).split(os.sep) for run in runs]
    for parts in range(1, max(map(len, paths), default=1)):
        names = [os.sep.join(path[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [run.folder for run in runs]


def _columns(runs: Sequence[Run], what: What) -> list[dict[str, Any]]:
    return [run.columns(what, label=label) for run, label in zip(runs, _labels(runs), strict=True)]


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
