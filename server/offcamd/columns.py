"""A run's episodes as numpy columns, for statistics and plots: 100,000 of them are read in a moment."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from offcam_proto import run_format as fmt
from offcam_proto.errors import ConfigError
from offcamd.indexfile import open_to_read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class EpisodeColumns:
    """A run's finished episodes in order of arrival; each column is (episodes,).

    Attributes:
        folder: the run folder.
        env_ids: of its streams, each once, in order of opening.
        began: when the first of its streams began, in seconds since the epoch. NaN without streams.
        return_: sums of rewards; may hold NaN and infinities.
        length: in steps.
        duration: in seconds, NaN where it is not known.
        started: in seconds since the epoch.
        terminated: flag of the last step.
        truncated: flag of the last step.
    """

    folder: Path
    env_ids: tuple[str, ...]
    began: float
    return_: Floats
    length: Floats
    duration: Floats
    started: Floats
    terminated: Flags
    truncated: Flags

    @property
    def ended(self) -> Floats:
        """When each ended, in seconds since the epoch."""
        return self.started + np.nan_to_num(self.duration, nan=0.0, posinf=0.0, neginf=0.0)

    def last(self, episodes: int) -> EpisodeColumns:
        """The last so many episodes alone."""
        columns = ("return_", "length", "duration", "started", "terminated", "truncated")
        return replace(self, **{name: getattr(self, name)[-episodes:] for name in columns})


def read_columns(folder: Path) -> EpisodeColumns:
    """Read a run's episodes. Raises what `listing.list_run` raises."""
    with open_to_read(folder) as database:
        streams = database.execute("SELECT env_id, started FROM streams ORDER BY id").fetchall()
        rows = database.execute(_EPISODES).fetchall()
    table = np.array(rows, np.float64).reshape(-1, 6)  # NULL becomes NaN
    return EpisodeColumns(
        folder,
        tuple(dict.fromkeys(env_id for env_id, _ in streams)),
        min((started for _, started in streams if started is not None), default=math.nan),
        return_=table[:, 0].copy(),
        length=table[:, 1].copy(),
        duration=table[:, 2].copy(),
        started=table[:, 3].copy(),
        terminated=table[:, 4] != 0,
        truncated=table[:, 5] != 0,
    )


def run_folders(given: Iterable[Path]) -> list[list[Path]]:
    """For each path the run folders it means: the run folders in it, by name, or else itself (which may be none).

    Raises:
        ConfigError: one is given twice.
    """
    found = [_inside(path) or [path] for path in given]
    seen: set[Path] = set()
    for folder in (folder for folders in found for folder in folders):
        if folder.resolve() in seen:
            raise ConfigError(f"{folder} is given twice: leave one out")
        seen.add(folder.resolve())
    return found


def labels(folders: Sequence[Path]) -> list[str]:
    """A short name for each folder: as few of its last parts as tell them all apart."""
    paths = [folder.absolute() for folder in folders]
    for parts in range(1, max((len(path.parts) for path in paths), default=1)):
        names = [str(Path(*path.parts[-parts:])) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _inside(path: Path) -> list[Path]:
    if (path / fmt.INDEX_NAME).exists():
        return []
    return sorted(index.parent for index in path.glob(f"*/{fmt.INDEX_NAME}"))


_EPISODES = """
SELECT return, length, duration, started, terminated, truncated FROM episodes ORDER BY id
"""
