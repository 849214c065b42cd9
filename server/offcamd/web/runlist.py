"""Pages of the list of runs: the runs that match a query, in the requested order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from offcam_proto.errors import QueryError
from offcam_runs.query import parse_query
from offcam_runs.run_state import RUN_STATES
from offcamd.web.params import BadQuery
from offcamd.web.queries import MOST_OFFSET, MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from offcam_runs.query import Facts
    from offcamd.web.params import Query

    Run = dict[str, Any]
    Key = Callable[[Run], str | float | None]

SORTS: dict[str, Key] = {
    "came": lambda _: 0,
    "started": lambda run: run["started"],
    "updated": lambda run: run["updated"],
    "name": lambda run: run["name"].casefold(),
    "env": lambda run: run["env_id"] and run["env_id"].casefold(),
    "state": lambda run: RUN_STATES.index(run["state"]),
    "return": lambda run: run["return"]["last100_mean"],
    "best": lambda run: run["return"]["max"],
    "length": lambda run: run["length"]["last100_mean"],
    "episodes": lambda run: None if run["problem"] else run["episodes"],
    "steps": lambda run: None if run["problem"] else run["steps"],
}
"""What runs can be sorted by; the first is the order in which they came."""


def runs_page(runs: Sequence[Run], query: Query) -> dict[str, Any]:
    """One page of all runs, see ``GET /api/runs``.

    Raises:
        BadQuery: the query cannot be understood.
    """
    sort, descending = query.choice("sort", tuple(SORTS)), query.choice("order", ("asc", "desc")) == "desc"
    offset, limit = query.whole("offset", 0, 0, MOST_OFFSET), query.whole("limit", MOST_ROWS, 1, MOST_ROWS)
    try:
        wanted = parse_query(query.text("query"))
    except QueryError as error:
        raise BadQuery(str(error)) from error
    found = [run for run in runs if wanted.matches(facts_of(run))] if wanted.terms else list(runs)
    key = SORTS[sort]
    known = [run for run in found if key(run) is not None]
    known.sort(key=key, reverse=descending)  # type: ignore[arg-type]  # of one run's kind, and not None
    ordered = known + [run for run in found if key(run) is None]
    return {"total": len(ordered), "offset": offset, "runs": ordered[offset : offset + limit]}


def facts_of(run: Run) -> Facts:
    """A run's facts for `offcam_runs.query`."""
    unknown = bool(run["problem"])  # its counts are 0 only because they are not known
    counts = {"episodes": run["episodes"], "steps": run["steps"], "envs": run["num_envs"]}
    counts |= {"clips": sum(run["clips"].values()), "dropped": sum(run["dropped"].values())}
    return {
        **{name: None if unknown else count for name, count in counts.items()},
        "name": run["name"],
        "env": run["env_id"] or "",
        "folder": run["folder"],
        "state": run["state"],
        "return": run["return"]["last100_mean"],
        "best": run["return"]["max"],
        "length": run["length"]["last100_mean"],
        "success": run["success_rate"],
    }
