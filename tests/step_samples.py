"""Records of steps for the tests of the run folder."""

from __future__ import annotations

import math

import numpy as np

from offcam_proto.records import StepRecord
from offcam_runs.steps.layout import FIRST_COLUMNS, RESET, STEPS, TERMINATED, Column, Layout

PLAIN = Layout((*FIRST_COLUMNS, Column("action", "<i8")))


def rows_of_episodes(first: int, episodes: int, length: int) -> np.ndarray:
    """The rows of whole episodes, each of a reset and so many steps."""
    rows = np.zeros(episodes * (length + 1), PLAIN.dtype)
    for place in range(len(rows)):
        episode, step = divmod(place, length + 1)
        flags = RESET if step == 0 else TERMINATED if step == length else 0
        rows[place] = first + episode, step, math.nan if step == 0 else step / 2, flags, 0 if step == 0 else 100 * step
    return rows


def record_of(each: np.ndarray, first_row: int, **changes) -> StepRecord:
    values = {
        "table": STEPS,
        "env_index": 0,
        "first_row": first_row,
        "count": len(each),
        "first_episode": int(each["episode"].min()),
        "last_episode": int(each["episode"].max()),
        "layout": PLAIN.text,
        "rows": each.tobytes(),
    }
    return StepRecord(**{**values, **changes})


def episodes(first: int, count: int = 1, length: int = 3, **changes) -> StepRecord:
    """A record of whole episodes, which begins where those before it end if all are as long."""
    return record_of(rows_of_episodes(first, count, length), first * (length + 1), **changes)
