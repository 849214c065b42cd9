"""A run's episodes as numpy columns, for statistics and plots: 100,000 of them are read in a moment."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from offcamd.store.index_file import open_to_read

if TYPE_CHECKING:
    from pathlib import Path

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


_EPISODES = """
SELECT return, length, duration, started, terminated, truncated FROM episodes ORDER BY id
"""
