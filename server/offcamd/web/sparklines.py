"""A run's learning curve in so few points that a list of many runs can show one for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offcam_runs.running import RECENT

if TYPE_CHECKING:
    import sqlite3

MOST_POINTS = 40

_RANGE = """
SELECT ifnull(min((SELECT id FROM main.episodes WHERE stream_id = own.id ORDER BY seq LIMIT 1)), 0),
    ifnull(max((SELECT id FROM main.episodes WHERE stream_id = own.id ORDER BY seq DESC LIMIT 1)), 0)
FROM streams AS own
"""
_MEANS = """
WITH RECURSIVE place (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM place WHERE number < :points)
SELECT (
    SELECT avg(return) FROM episodes
    WHERE id > max(:before, :before + :count * number / :points - :recent)
        AND id <= :before + :count * number / :points AND abs(return) <= 1.7976931348623157e308
) FROM place
"""


def sparkline(database: sqlite3.Connection) -> list[float | None]:
    """At evenly spaced places of a run, the last of them its end, the mean return of the `RECENT` episodes before.

    It reads so few rows that a run of a million episodes costs what one of some thousands does.

    Args:
        database: the run's index, in a read transaction.

    Returns:
        The means, None where no return is finite; empty for a run without episodes.
    """
    first, last = database.execute(_RANGE).fetchone()
    if not last:
        return []
    before, count = first - 1, last - first + 1
    asked = {"before": before, "count": count, "points": min(MOST_POINTS, count), "recent": RECENT}
    return [mean if mean is None else float(f"{mean:.5g}") for (mean,) in database.execute(_MEANS, asked)]
