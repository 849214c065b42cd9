"""Which parts of a video are episodes of a dataset, and why others are not; pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from offcam_runs import format as fmt
from offcam_runs.steps.layout import DIGEST, RESET, TERMINATED, TRUNCATED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from offcam_runs.clips import Clip
    from offcam_runs.steps.rows import Steps

REWARD: Final = "next.reward"
DONE: Final = "next.done"
CUT: Final = "next.truncated"

LATEST: Final = 1024
"""Seconds of a video from which on LeRobot's times, which have single precision, are coarser than the 0.1 ms by which
it lets them differ. This matters only for episodes that do not begin with their video, as LeRobot adds where they begin
to their times."""

_OWN: Final = ("episode", "step", "reward", "flags", "tape", DIGEST.name)


class Kind(NamedTuple):
    """The kind of values that a feature has.

    Attributes:
        dtype: numpy's name of the type.
        size: how many numbers one value has.
        names: for values of several dimensions, the place of each number in them, as ``1.2``; else None.
    """

    dtype: str
    size: int = 1
    names: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class EpisodePart:
    """Consecutive steps of one episode that a video shows.

    Attributes:
        frame: the frame of the video that shows what the first step's action was chosen at; later steps have the next
            ones.
        columns: (n,) or (n, size) values by feature, a row for each step.
    """

    frame: int
    columns: dict[str, NDArray[Any]]

    @property
    def rows(self) -> int:
        """How many steps it has."""
        return len(self.columns[DONE])


def unfit(clip: Clip) -> str | None:
    """Why a clip cannot be in a dataset, by the index alone; None if it may be."""
    if clip.state == fmt.RECORDING:
        return "it is still recorded"
    if clip.path is None or not clip.frames:
        return "it has no pictures"
    if dropped := sum(clip.dropped.values()):
        return f"{dropped:,} of its frames were dropped ({', '.join(clip.dropped)})"
    return _untold(clip)


def _untold(clip: Clip) -> str | None:
    """Why the steps of a clip cannot be matched with its pictures; None if they can."""
    if clip.diverged_at is not None:
        return f"it is {clip.said_of_steps}"
    if clip.first_row is None:
        return "no steps were recorded with it: record with `steps=True`"
    if len(clip.envs) > 1 or clip.grid not in (None, (1, 1)):
        return "its picture shows several sub-environments: record with `per_env=True`"
    if not clip.fps.is_integer():
        return f"it has {clip.fps:g} frames a second, which has to be a whole number: record with `fps=`"
    return None


def unfit_rows(steps: Steps | None, frames: Sequence[int]) -> str | None:
    """Why the frames of a file and its rows cannot be matched; None if they can.

    Args:
        steps: the steps that the clip shows.
        frames: numbers of the frames that the file has, by the times at which they are shown.
    """
    if steps is None or steps.gaps:
        lost = sum(gap.rows for gap in steps.gaps) if steps else 0
        return f"{lost:,} of its steps are missing ({steps.gaps[0].reason})" if steps else "its steps are gone"
    if list(frames) != list(range(len(frames))):
        return "it has not each frame, as with `every_nth_frame`: LeRobot takes them to be 1/fps apart"
    if len(frames) != steps.rows:
        return f"it has {len(frames):,} frames and {steps.rows:,} rows of steps"
    if sized := [name for name, column in steps.items() if column.dtype == object]:
        return f"the values of {', '.join(sized)} have no fixed size"
    if twice := [name for name, count in Counter(map(_feature, steps)).items() if count > 1]:
        return f"it has {twice[0]} twice, as LeRobot allows no / in a name"
    return None


def parts(steps: Steps) -> Iterator[EpisodePart]:
    """Yield the episodes, whole or in part, in the rows that a clip shows.

    A row of a dataset is an observation and what was done then: it has the picture of one recorded row, and action,
    reward and end of the next recorded row. So the picture after an episode's last step is in no row.
    """
    flags = steps["flags"]
    done = (steps["episode"][1:] == steps["episode"][:-1]) & (flags[1:] & RESET == 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], done, [False]]).astype(np.int8)))
    for first, behind in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        of = slice(first + 1, behind + 1)
        own: dict[str, NDArray[Any]] = {
            REWARD: steps["reward"][of].astype(np.float32),
            DONE: flags[of] & (TERMINATED | TRUNCATED) != 0,
            CUT: flags[of] & TRUNCATED != 0,
        }
        yield EpisodePart(first, {_feature(name): _flat(steps[name][of]) for name in steps if name not in _OWN} | own)


def unfit_parts(found: Sequence[EpisodePart], fps: float) -> str | None:
    """Why the episodes of a video cannot be in a dataset; None if they may be."""
    if not found:
        return "it shows no step"
    if any(part.frame and part.frame + part.rows > LATEST * fps for part in found):
        return (
            f"an episode that does not begin with it ends behind {LATEST:,} s, where LeRobot's 32-bit times cannot "
            "tell frames apart: record a video for each episode"
        )
    return None


def kinds(steps: Steps) -> dict[str, Kind]:
    """The types of the features of a clip's rows, by name."""
    found = {name: steps[name] for name in steps if name not in _OWN}
    of_steps = {_feature(name): _kind(column) for name, column in found.items()}
    return of_steps | {REWARD: Kind("float32"), DONE: Kind("bool"), CUT: Kind("bool")}


def is_action(feature: str) -> bool:
    """Whether a feature is part of the agent's action; others are the agent's numbers, and results of the step."""
    return feature == "action" or feature.startswith("action.")


def filled(part: EpisodePart, features: Mapping[str, Kind]) -> dict[str, NDArray[Any]]:
    """The columns of a part in the order of a dataset's features; NaN for a number of the agent that the part lacks."""
    absent = np.full(part.rows, np.nan)
    return {name: part.columns.get(name, absent) for name in features}


def _feature(name: str) -> str:
    name = name.replace("/", ".")  # LeRobot allows no slash in a name
    return name if is_action(name) else f"trace.{name}"


def _kind(column: NDArray[Any]) -> Kind:
    shape = column.shape[1:]
    if len(shape) < 2:
        return Kind(column.dtype.name, math.prod(shape))
    return Kind(column.dtype.name, math.prod(shape), tuple(".".join(map(str, place)) for place in np.ndindex(shape)))


def _flat(column: NDArray[Any]) -> NDArray[Any]:
    """Flatten values of several dimensions to rows of numbers: LeRobot reads them, but its tools fail on them."""
    return column if column.ndim < 2 else column.reshape(len(column), -1)
