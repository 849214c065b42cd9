"""Which of a run's episodes a request is for: as SQL, and among episodes that are in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from offcam_runs.analysis.success import SUCCESS_VALUES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import NDArray

    from offcam_runs.episodes import EpisodeTable
    from offcam_runs.streams import Stream
    from offcamd.web.params import Query

_VALUE: Final = "(SELECT value FROM json_each(info) WHERE key = :value)"
VALUE_LIMITS: Final = {"min_value": f"{_VALUE} >= :min_value", "max_value": f"{_VALUE} <= :max_value"}
"""SQL of the limits for a value of episodes, see `limits` and `value_name`."""

_SQL: Final = {
    "stream": "stream_id IN (SELECT id FROM streams WHERE stream = :stream)",
    "env_index": "env_index = :env_index",
    "seed": "CAST(seed AS TEXT) = :seed",
    "terminated": "terminated = :terminated",
    "truncated": "truncated = :truncated",
    "min_return": "return >= :min_return",
    "max_return": "return <= :max_return",
    **VALUE_LIMITS,
}


class WantedEpisodes(NamedTuple):
    """The episodes that meet some conditions.

    Attributes:
        given: what each condition compares with, by the condition's name; an episode must meet all.
        value: the name of the value that ``min_value`` and ``max_value`` are for.
    """

    given: Mapping[str, Any]
    value: str

    @property
    def condition(self) -> str:
        """SQL of it, over the columns of ``episodes``."""
        return " AND ".join(_SQL[name] for name in self.given) or "TRUE"

    @property
    def values(self) -> dict[str, object]:
        """Of the parameters of ``condition``."""
        return {**self.given, "value": self.value}

    def among(self, episodes: EpisodeTable, streams: Collection[Stream]) -> NDArray[np.bool_]:
        """Which episodes of a table meet ``condition``, (n,).

        Args:
            episodes: the table.
            streams: of its episodes, in order.
        """
        places = {stream.stream: place for place, stream in enumerate(streams)}
        own = episodes.info.get(self.value, np.full(len(episodes), np.nan))
        holds: dict[str, Callable[[Any], NDArray[np.bool_]]] = {
            "stream": lambda stream: episodes.stream == places.get(stream, -1),
            "env_index": lambda index: episodes.env_index == index,
            "seed": lambda seed: _has_seed(episodes.seed, seed),
            "terminated": lambda flag: episodes.terminated == flag,
            "truncated": lambda flag: episodes.truncated == flag,
            "min_return": lambda least: episodes.return_ >= least,
            "max_return": lambda most: episodes.return_ <= most,
            "min_value": lambda least: own >= least,
            "max_value": lambda most: own <= most,
        }
        found = np.ones(len(episodes), np.bool_)
        for name, value in self.given.items():
            found &= holds[name](value)
        return found


def wanted_episodes(query: Query) -> WantedEpisodes:
    """The episodes that a request is for. Raises BadQuery."""
    asked = {
        "stream": query.hexadecimal("stream") or None,
        "env_index": query.integer("env_index", None, 0, 2**31),
        "seed": query.text("seed") or None,
        "terminated": query.boolean("terminated"),
        "truncated": query.boolean("truncated"),
        "min_return": query.number("min_return"),
        "max_return": query.number("max_return"),
        **limits(query),
    }
    return WantedEpisodes({name: value for name, value in asked.items() if value is not None}, value_name(query))


def limits(query: Query) -> dict[str, float]:
    """The limits for a value of episodes. Raises BadQuery."""
    asked = {name: query.number(name) for name in VALUE_LIMITS}
    return {name: limit for name, limit in asked.items() if limit is not None}


def value_name(query: Query) -> str:
    """The name of the value that `limits` are for. Raises BadQuery."""
    return query.text("value") or SUCCESS_VALUES[0]


def _has_seed(seeds: NDArray[np.object_], text: str) -> NDArray[np.bool_]:
    """Which of these seeds, whole numbers, texts or None, are written so."""
    wanted: list[object] = [text]
    if text.removeprefix("-").isdecimal() and text == str(number := int(text)):
        wanted.append(number)
    return np.isin(seeds, np.array(wanted, object))
