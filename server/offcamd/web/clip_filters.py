"""Which of a run's clips are asked for, as SQL over what `offcam_runs.clips.read_clips` reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from offcam_runs import format as fmt

if TYPE_CHECKING:
    from offcamd.web.params import Query

ENDS: Final = ("", "terminated", "truncated", "aborted")

# the episode with which a clip begins: of its own stream or of the one that it replays; by an index, for each clip
_EPISODE: Final = """
(SELECT {0} FROM main.episodes AS shown WHERE shown.stream_id = (
    SELECT ifnull((SELECT id FROM main.streams AS other WHERE other.stream = own.replays), own.id)
    FROM main.streams AS own WHERE own.stream = listed.stream
) AND shown.episode = listed.episode AND shown.env_index = ifnull(json_extract(listed.envs, '$[0]'), 0)
ORDER BY shown.id LIMIT 1)
"""
_OF_END: Final = {
    "terminated": f"{_EPISODE.format('shown.terminated')} = 1",
    "truncated": f"{_EPISODE.format('shown.truncated')} = 1",
    "aborted": f"(state = '{fmt.ABORTED}' OR partial)",
}
_OF_ENV: Final = "(envs = '[]' OR EXISTS (SELECT 1 FROM json_each(listed.envs) WHERE value = :env_index))"


def filters(query: Query) -> tuple[list[str], dict[str, object]]:
    """The conditions that all have to hold, and the values for their parameters. Raises BadQuery."""
    end = query.choice("end", ENDS)
    asked: dict[str, tuple[str, object]] = {
        "min_return": ("return >= :min_return", query.number("min_return")),
        "max_return": ("return <= :max_return", query.number("max_return")),
        "min_length": ("steps >= :min_length", query.number("min_length")),
        "max_length": ("steps <= :max_length", query.number("max_length")),
        "env_index": (_OF_ENV, query.integer("env_index", None, 0, 2**31)),
        "keep": ("instr(lower(keep_reason), :keep) > 0", query.text("keep").lower() or None),
        "seed": (f"{_EPISODE.format('CAST(shown.seed AS TEXT)')} = :seed", query.text("seed") or None),
    }
    given = {name: value for name, (_, value) in asked.items() if value is not None}
    conditions = [asked[name][0] for name in given]
    return conditions + ([_OF_END[end]] if end else []), given
