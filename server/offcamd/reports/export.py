"""A run's episodes, clips or steps as files for other programs: CSV, JSON lines, Parquet, monitor.csv of SB3."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TextIO

from offcam_proto.errors import ConfigError
from offcam_runs import format as fmt
from offcam_runs.discover import labels, valid_text
from offcam_runs.json_text import dumps
from offcam_runs.run import Run, What, column_types, read_run, value_names
from offcam_runs.steps.files import EXTENSION
from offcamd.process.atomic_file import destination, replacing
from offcamd.reports.step_rows import UNITS, StepsOfRuns

if TYPE_CHECKING:
    from pathlib import Path

    from offcam_runs.episodes import Episode
    from offcam_runs.sessions import Session

Format = Literal["csv", "jsonl", "parquet", "monitor"]
Row = dict[str, Any]

MONITOR_NAME = "monitor.csv"
"""Ending of the file names that Stable-Baselines3's ``load_results`` reads."""

_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Exported:
    """What `export` wrote.

    Attributes:
        files: paths of the files.
        rows: how many rows are in them together.
        missing: how many rows of steps are known and in none: dropped by the daemon, or in a damaged or missing file.
    """

    files: tuple[Path, ...]
    rows: int
    missing: int = 0


def export(
    folders: Sequence[Path],
    form: Format,
    path: Path,
    *,
    what: What | Literal["steps"] = "episodes",
    force: bool = False,
    session: Session = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write runs to a file, or to a folder of files for ``monitor``. Each file appears whole or not at all.

    Args:
        folders: the run folders; their rows follow each other, with the run's name in the column ``run``.
        form: the format.
        path: the file; for ``monitor`` the folder.
        what: a row for each finished episode in order of arrival, for each clip, or for each step that was recorded.
        force: replace what is there.
        session: which session of each run; by default the newest.
        progress: called with the rows written and how many there are.

    Raises:
        ConfigError: the file exists, cannot be written, or is part of a run; or there are no steps.
        RunFolderError: as `offcam_runs.run.read_run`.
    """
    if form != "monitor":
        _check_free(path, force=force)
    if what == "steps":
        return _export_steps(folders, form, path, force=force, session=session, progress=progress)
    runs = dict(zip(map(valid_text, labels(folders)), (read_run(folder, session) for folder in folders), strict=True))
    if form == "monitor":
        return _export_monitors(runs, path, force=force, progress=progress)
    total = sum(len(getattr(run, what)) for run in runs.values())
    values = value_names(runs.values())
    each = (row for name, run in runs.items() for row in run.rows(what, label=name, values=values))
    _write(path, form, _counted(each, total, progress), column_types(what, values), force=force)
    return Exported((path,), total)


def _export_steps(
    folders: Sequence[Path],
    form: Format,
    path: Path,
    *,
    force: bool,
    session: Session,
    progress: Callable[[int, int], None] | None,
) -> Exported:
    if form == "monitor":
        raise ConfigError("monitor.csv has a row for each episode: export steps to csv, jsonl or parquet")
    steps = StepsOfRuns(dict(zip(map(valid_text, labels(folders)), folders, strict=True)), session)
    missing = steps.missing()
    if not steps.total:
        where = ", ".join(map(str, folders))
        if missing:
            raise ConfigError(
                f"all {missing:,} steps of {where} were dropped, or are in files that are damaged or gone"
            )
        raise ConfigError(f"no steps in {where}: record them with `steps=True`")
    _write(path, form, _counted(steps, steps.total, progress), steps.types, force=force, units=UNITS)
    return Exported((path,), steps.total, missing)


def _write(
    path: Path,
    form: Format,
    rows: Iterable[Row],
    types: dict[str, type],
    *,
    force: bool,
    units: Mapping[str, str] = MappingProxyType({}),
) -> None:
    with replacing(path) as file:
        if form == "parquet":
            _write_parquet(file, rows, types, units)
        else:
            with file.open("w", encoding="utf-8", newline="") as text:
                if form == "csv":
                    _write_csv(text, rows, list(types))
                else:
                    text.writelines(f"{dumps(row)}\n" for row in rows)  # NaN and the infinities are null
        _check_free(path, force=force)


def _counted(rows: Iterable[Row], total: int, progress: Callable[[int, int], None] | None) -> Iterator[Row]:
    for number, row in enumerate(rows):
        if progress is not None and number % 1000 == 0:
            progress(number, total)
        yield row


def _check_free(path: Path, *, force: bool) -> None:
    """Refuse to replace a file without ``force``, and in any case one that is part of a run."""
    to = destination(path)
    if to.file is None:
        return
    own = (fmt.VIDEO_EXTENSION, fmt.PART_EXTENSION, EXTENSION)
    part_of_a_run = to.file.name.startswith(fmt.INDEX_NAME) or to.file.suffix in own
    if part_of_a_run or to.file.is_dir():
        raise ConfigError(f"{path} is {'a folder' if to.file.is_dir() else 'a part of a run'}: give another file")
    if to.exists and not force:
        raise ConfigError(f"{path} is there already: give another -o, or --force to replace it")


# --- files ------------------------------------------------------------------------------------------------


def _write_csv(file: TextIO, rows: Iterable[Row], names: Sequence[str]) -> None:
    """Write CSV as pandas, polars and numpy read it: ``NaN`` and ``inf`` as words, empty for a missing value."""
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _csv_value(value) for name, value in row.items()} for row in rows)


def _csv_value(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"  # polars takes `nan` for text
    return json.dumps(value) if isinstance(value, dict) else value


_ARROW_TYPES = {bool: "bool_", int: "int64", float: "float64"}


def _write_parquet(file: Path, rows: Iterable[Row], types: dict[str, type], units: Mapping[str, str]) -> None:
    """Write typed columns; NaN stays NaN. Seeds are text: one may exceed 64 bits. A column's metadata has its unit."""
    import pyarrow as pa  # noqa: PLC0415 - an extra of its own, and slow to import
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    names = {name: _ARROW_TYPES.get(kind, "string") for name, kind in types.items()}
    about = {name: {"unit": units[name]} for name in names if name in units}
    schema = pa.schema(
        [pa.field(name, getattr(pa, arrow)(), metadata=about.get(name)) for name, arrow in names.items()]
    )
    texts = [name for name, arrow in names.items() if arrow == "string"]

    def table(batch: list[Row]) -> pa.Table:
        for row in batch:
            row.update({name: _text(row[name]) for name in texts})
        return pa.Table.from_pylist(batch, schema=schema)

    with pq.ParquetWriter(file, schema) as writer:
        rows = iter(rows)
        while batch := list(itertools.islice(rows, _BATCH)):
            writer.write_table(table(batch))


def _text(value: Any) -> str | None:  # noqa: ANN401 - whatever a column holds
    return value if value is None or isinstance(value, str) else json.dumps(value)


# --- Stable-Baselines3 ------------------------------------------------------------------------------------


def _export_monitors(
    runs: dict[str, Run], path: Path, *, force: bool, progress: Callable[[int, int], None] | None
) -> Exported:
    """Write a file for each environment, as Stable-Baselines3's ``Monitor`` does, all into one folder.

    The header is ``#{"t_start": ..., "env_id": ...}``; the columns are ``r,l,t`` (return, length, and seconds from
    ``t_start`` to the episode's end, rounded to six digits), then the episodes' values, empty where one is not known.
    """
    to = destination(path)
    if to.is_stdout or (to.path.exists() and not to.path.is_dir()):
        raise ConfigError(f"{path} is no folder: give a folder, as one file is written for each environment")
    monitors: dict[tuple[str, int, int], list[Episode]] = {}
    for label, run in runs.items():
        for item in run.episodes:
            monitors.setdefault((label, item.stream, item.env_index), []).append(item)
    if not monitors:
        raise ConfigError(f"no finished episodes yet in {', '.join(runs)}: there is nothing to export")
    names = [MONITOR_NAME] if len(monitors) == 1 else [f"{n}.{MONITOR_NAME}" for n in range(len(monitors))]
    _check_monitors(path, set(names), force=force)
    total, done = sum(map(len, monitors.values())), 0
    for name, ((label, stream, _), episodes) in zip(names, monitors.items(), strict=True):
        with replacing(path / name) as file, file.open("w", encoding="utf-8", newline="") as text:
            _write_monitor(text, runs[label].streams[stream].env_id, episodes)
        done += len(episodes)
        if progress is not None:
            progress(done, total)
    return Exported(tuple(path / name for name in names), done)


def _write_monitor(file: TextIO, env_id: str, episodes: Sequence[Episode]) -> None:
    t_start = min((item.started for item in episodes if math.isfinite(item.started)), default=0.0)
    file.write(f"#{json.dumps({'t_start': t_start, 'env_id': env_id})}\n")
    names = list(dict.fromkeys(name for item in episodes for name in item.info if name not in ("r", "l", "t")))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["r", "l", "t", *names])
    for item in episodes:
        ended = item.started + (item.duration if math.isfinite(item.duration) else 0.0)
        values = (item.info.get(name, "") for name in names)
        writer.writerow([round(item.return_, 6), item.length, round(ended - t_start, 6), *values])


def _check_monitors(path: Path, names: set[str], *, force: bool) -> None:
    """Check that the folder has no other monitor files, as ``load_results`` reads all of a folder together."""
    there = {item.name for item in path.glob(f"*{MONITOR_NAME}")} if path.is_dir() else set()
    if there - names:
        raise ConfigError(
            f"{path} has other monitor files ({', '.join(sorted(there - names)[:3])}), which Stable-Baselines3 would "
            "read together with these: give another folder with -o"
        )
    if there and not force:
        raise ConfigError(f"{path} has {', '.join(sorted(there)[:3])} already: give another -o, or --force to replace")
