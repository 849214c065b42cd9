"""Which of a run's clips a request is for, as SQL over what `offcam_runs.clips.read_clips` reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from offcam_runs import format as fmt
from offcam_runs.pins import read_pins

if TYPE_CHECKING:
    from pathlib import Path

    from offcamd.web.params import Query

ENDS: Final = ("", "terminated", "truncated", "aborted", "unfinished")

_SOME: Final = "EXISTS (SELECT 1 FROM main.episodes AS later WHERE later.stream_id = own.id AND later.env_index = {1}"
LEFT: Final = f"(own.ended IS NOT NULL AND {_SOME}) OR {_SOME} AND later.episode > {{0}}))"
"""SQL: whether an episode without an end in the index will never have one, as its stream `own` is over or has later
ones.

False for a stream without any episode: its env is not in a `RecordEpisodeStatistics`, so ends are not known."""

# The episode with which a clip begins, of its own stream or of the one that it replays; looked up by an index.
_EPISODE: Final = """
(SELECT {0} FROM main.episodes AS shown WHERE shown.stream_id = (
    SELECT ifnull((SELECT id FROM main.streams AS other WHERE other.stream = own.replays), own.id)
    FROM main.streams AS own WHERE own.stream = listed.stream
) AND shown.episode = listed.episode AND shown.env_index = ifnull(json_extract(listed.envs, '$[0]'), 0)
ORDER BY shown.id LIMIT 1)
"""
_FIRST_ENV: Final = "ifnull(json_extract(listed.envs, '$[0]'), 0)"
_LEFT: Final = f"""
(complete AND NOT partial AND state IN ('{fmt.FINAL}', '{fmt.RECOVERED}') AND EXISTS (
    SELECT 1 FROM main.streams AS own WHERE own.stream = ifnull(
        (SELECT nullif(replays, '') FROM main.streams AS film WHERE film.stream = listed.stream), listed.stream
    ) AND {LEFT.format("listed.episode", _FIRST_ENV)}
))
"""  # noqa: S608 - of our own words
_OF_END: Final = {
    "terminated": f"{_EPISODE.format('shown.terminated')} = 1",
    "truncated": f"{_EPISODE.format('shown.truncated')} = 1",
    "unfinished": f"ifnull({_EPISODE.format('shown.terminated + shown.truncated = 0')}, {_LEFT})",
    "aborted": f"(state = '{fmt.ABORTED}' OR partial)",
}
_OF_ENV: Final = "(envs = '[]' OR EXISTS (SELECT 1 FROM json_each(listed.envs) WHERE value = :env_index))"
_PINNED: Final = "(listed.stream || '-' || listed.clip IN (SELECT value FROM json_each(:pins))) = :pinned"


def filters(query: Query, folder: Path) -> tuple[list[str], dict[str, object]]:
    """The conditions that must all hold, and the values of their parameters. Raises BadQuery."""
    end, pinned = query.choice("end", ENDS), query.boolean("pinned")
    asked: dict[str, tuple[str, object]] = {
        "min_return": ("return >= :min_return", query.number("min_return")),
        "max_return": ("return <= :max_return", query.number("max_return")),
        "min_length": ("steps >= :min_length", query.number("min_length")),
        "max_length": ("steps <= :max_length", query.number("max_length")),
        "env_index": (_OF_ENV, query.integer("env_index", None, 0, 2**31)),
        "keep": ("instr(lower(keep_reason), :keep) > 0", query.text("keep").lower() or None),
        "pinned": (_PINNED, pinned),
        "seed": (f"{_EPISODE.format('CAST(shown.seed AS TEXT)')} = :seed", query.text("seed") or None),
    }
    given = {name: value for name, (_, value) in asked.items() if value is not None}
    conditions = [asked[name][0] for name in given]
    if pinned is not None:
        given["pins"] = json.dumps(list(read_pins(folder)))
    return conditions + ([_OF_END[end]] if end else []), given
