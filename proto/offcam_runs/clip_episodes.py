"""Which clip shows which episode.

A clip says with which episode of its stream it began, and how many steps it shows. Of a vector environment that counts
for the first sub-environment in it; the others' episodes are shown if they ended while the clip was being recorded.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from offcam_runs import format as fmt

if TYPE_CHECKING:
    import sqlite3

    from offcam_runs.clips import Clip
    from offcam_runs.episodes import EpisodeTable
    from offcam_runs.streams import Stream

Places = NDArray[np.intp]

_SPANS = """
SELECT stream_id, clip, name, episode, step, ifnull(steps, max(encoded - 1, 0)), ifnull(started, 0), keep_reason, envs
FROM clips WHERE file IS NOT NULL AND state NOT IN (:recording, :replaced, :evicted) AND diverged_at IS NULL
    AND (complete OR stream_id NOT IN (SELECT id FROM main.streams WHERE replays != '')) ORDER BY stream_id, clip
"""
_STATES = {"recording": fmt.RECORDING, "replaced": fmt.REPLACED, "evicted": fmt.EVICTED}


SAME_STEP_SECONDS = 2e-5
"""An episode that began at most so long before a clip began with it: the clocks are read one after the other."""


class ClipSpan(NamedTuple):
    """Which part of a stream a clip shows. Fields are as in `clips.Clip`, except ``steps``: how many the clip shows."""

    stream: int
    stream_id: str
    clip: int
    name: str
    episode: int
    step: int
    steps: int
    started: float
    envs: tuple[int, ...] = ()
    keep_reason: str | None = None

    @property
    def counted(self) -> int:
        """The sub-environment whose episodes the clip's numbers count."""
        return self.envs[0] if self.envs else 0

    @property
    def key(self) -> str:
        """The clip's name in URLs."""
        return f"{self.stream_id}-{self.clip}"

    @property
    def begins_within(self) -> bool:
        """Whether the clip began at a step, so maybe in the midst of an episode."""
        return self.name.endswith(f"-step-{self.step}")


def read_spans(database: sqlite3.Connection, streams: Mapping[int, Stream]) -> list[ClipSpan]:
    """What each clip of an open index shows that can be watched. Fast: it reads no episodes.

    A clip that was rendered afterwards and did not match to its end shows no episode.

    One that was rendered afterwards, and not checked to its end, shows no episode.
    """
    return Spans().read(database, streams)


class Spans:
    """`read_spans` again and again: what it made is returned as long as its rows are the same. For one thread."""

    def __init__(self) -> None:
        self._of: tuple[object, object] = None, None
        self._made: list[ClipSpan] = []

    def read(self, database: sqlite3.Connection, streams: Mapping[int, Stream]) -> list[ClipSpan]:
        """The clips; not to be changed by the caller, who may get the same list again."""
        shown = places_shown(list(streams.values()))
        places = {key: (shown[place], stream.stream) for place, (key, stream) in enumerate(streams.items())}
        rows = database.execute(_SPANS, _STATES).fetchall()
        if self._of != (rows, places):
            self._of = rows, places
            self._made = [ClipSpan._make((*places[key], *of, _envs(envs), why)) for key, *of, why, envs in rows]
        return self._made


@lru_cache(1024)  # thousands of clips show the same sub-environments
def _envs(text: str) -> tuple[int, ...]:
    return tuple(json.loads(text))


def places_shown(streams: Sequence[Stream]) -> list[int]:
    """For each stream, the place among them of the stream whose episodes its clips show: itself, unless it replays."""
    places = {stream.stream: place for place, stream in enumerate(streams)}
    return [places.get(stream.replays, place) for place, stream in enumerate(streams)]


def span_of(clip: Clip, streams: Sequence[Stream]) -> ClipSpan:
    """What a clip shows; ``streams`` has the clip's own at the place that the clip names."""
    named = (places_shown(streams)[clip.stream], clip.stream_id, clip.clip, clip.name)
    steps = max(clip.frames - 1, 0) if clip.length is None else clip.length
    return ClipSpan(*named, clip.episode, clip.step, steps, clip.started, clip.envs, clip.keep_reason)


class _Part(NamedTuple):
    """The part of a chain that a clip shows: episodes ``[first, behind)`` of it, from the chain's step ``begin`` on."""

    first: int
    behind: int
    begin: float


class _Chain:
    """The episodes of a stream: those of one sub-environment in order of their numbers, and those of the others.

    Attributes:
        places: (n,) where the one sub-environment's episodes are among all.
        numbers: (n,) their numbers.
        steps: (n,) steps of the chain up to the end of each.
        before: (n,) steps up to its beginning.
        ended: (n,) when each ended, in seconds since the epoch.
        lasted: (n,) how long each lasted, in seconds.
        others: (m,) where those of the other sub-environments are, in order of their ends.
    """

    def __init__(self, episodes: EpisodeTable, ended: NDArray[np.float64], stream: int, env_index: int) -> None:
        of_stream = np.flatnonzero(episodes.stream == stream)
        counted = episodes.env_index[of_stream] == env_index
        places, others = of_stream[counted], of_stream[~counted]
        self.places: Places = places[np.argsort(episodes.episode[places], kind="stable")]
        self.numbers = episodes.episode[self.places]
        self.steps = np.cumsum(episodes.length[self.places], dtype=np.float64)
        self.before = np.concatenate([[0.0], self.steps[:-1]])[: self.steps.size]
        self.ended = ended[self.places]
        self.lasted = episodes.duration[self.places]
        self.others: Places = others[np.argsort(ended[others], kind="stable")]

    def span(self, clip: ClipSpan, steps_before: float | None = None) -> _Part:
        """Which part of the chain a clip shows.

        Args:
            clip: the clip.
            steps_before: steps of all episodes before the chain's first; by default of those that are here.
        """
        first = int(self.numbers.searchsorted(clip.episode))
        if first == self.numbers.size or self.numbers[first] != clip.episode:
            return _Part(first, first, 0.0)  # it never ended
        begin = float(self.before[first])
        if clip.begins_within:
            step = clip.step - (begin if steps_before is None else steps_before)
            begin += min(max(step, 0.0), float(self.steps[first]) - begin - 1)
        last = int(self.steps.searchsorted(begin + clip.steps))
        return _Part(first, min(max(first, last) + 1, self.numbers.size), begin)

    def end(self, part: _Part, clip: ClipSpan) -> float:
        """When a clip ended that shows such a part, of an episode at least: with the last, or about when within it."""
        last = part.behind - 1
        missing = float(self.steps[last]) - (part.begin + clip.steps)
        share = missing / max(float(self.steps[last] - self.before[last]), 1.0)
        early = float(self.lasted[last]) * min(max(share, 0.0), 1.0)
        return float(self.ended[last]) - (early if math.isfinite(early) else 0.0)

    def whole(self, part: _Part, clip: ClipSpan) -> NDArray[np.bool_]:
        """Which episodes of such a part the clip has every step of, (behind - first,)."""
        of = slice(part.first, part.behind)
        return (self.before[of] >= part.begin) & (self.steps[of] <= part.begin + clip.steps)


class ClipEpisodes:
    """Says which clip shows an episode, and which episodes a clip shows. Read-only; any thread may use it.

    Args:
        episodes: all of the run, in order of arrival, or of a long run those that the clips show; an attribute, too.
        clips: those that can be watched; an attribute, too.
        steps_before: by a clip's key, the steps of its chain before the chain's first episode, where not all are here.
    """

    def __init__(
        self, episodes: EpisodeTable, clips: list[ClipSpan], steps_before: Mapping[str, float] = MappingProxyType({})
    ) -> None:
        self.episodes = episodes
        self.clips = clips
        self._steps_before = steps_before
        self._chains: dict[tuple[int, int], _Chain] = {}

    def without(self, keys: Collection[str]) -> ClipEpisodes:
        """The same where some clips, by their keys, cannot be watched after all."""
        return ClipEpisodes(self.episodes, [clip for clip in self.clips if clip.key not in keys], self._steps_before)

    @cached_property
    def _ended(self) -> NDArray[np.float64]:
        return self.episodes.ended

    @cached_property
    def shown(self) -> Places:
        """For each episode the place among ``clips`` of the one that shows it, -1 for none.

        Where several clips show it, that is the one that began with the episode, else the first.
        """
        found = np.full(len(self.episodes), -1, np.intp)
        by_chain: dict[_Chain, list[int]] = defaultdict(list)
        for place, clip in enumerate(self.clips):
            by_chain[self._chain(clip)].append(place)
        for chain, places in by_chain.items():
            spans = [(place, self._span(chain, self.clips[place])) for place in reversed(places)]
            for place, span in spans if chain.others.size else ():
                found[self._beside(chain, self.clips[place], span)] = place
            for place, (first, behind, _) in spans:
                found[chain.places[first:behind]] = place
            for place, (first, behind, _) in spans:
                found[chain.places[first : min(behind, first + 1)]] = place
        return found

    def shows(self, place: int) -> ClipSpan | None:
        """The clip that shows the episode at a place."""
        return self.clips[found] if (found := self.shown[place]) >= 0 else None

    def episodes_of(self, clip: ClipSpan) -> Places:
        """The places of the finished episodes that a clip shows, of the sub-environment that it counts, in order."""
        chain = self._chain(clip)
        first, behind, _ = self._span(chain, clip)
        return chain.places[first:behind]

    def beside(self, clip: ClipSpan) -> Places:
        """The places of other sub-environments' episodes that ended during a clip, in order of their ends."""
        chain = self._chain(clip)
        return self._beside(chain, clip, self._span(chain, clip))

    def whole(self, clip: ClipSpan, place: int) -> bool:
        """Whether a clip has each step of the episode at a place, which is one of those that it shows.

        For a sub-environment that the clip does not count, that is so if the episode began with the clip or later.
        """
        chain = self._chain(clip)
        part = self._span(chain, clip)
        at = np.flatnonzero(chain.places[part.first : part.behind] == place)
        if at.size:
            return bool(chain.whole(part, clip)[at[0]])
        if part.first == part.behind or not clip.steps:
            return False
        first = chain.places[part.first]
        began = clip.started if part.begin > chain.before[part.first] else float(self.episodes.started[first])
        return bool(self.episodes.started[place] >= began - SAME_STEP_SECONDS)

    def _span(self, chain: _Chain, clip: ClipSpan) -> _Part:
        return chain.span(clip, self._steps_before.get(clip.key))

    def _chain(self, clip: ClipSpan) -> _Chain:
        key = clip.stream, clip.counted
        if key not in self._chains:
            self._chains[key] = _Chain(self.episodes, self._ended, *key)
        return self._chains[key]

    def _beside(self, chain: _Chain, clip: ClipSpan, span: _Part) -> Places:
        """The places of the other sub-environments' episodes that ended during a clip."""
        first, behind, _ = span
        if first == behind:
            return chain.others[:0]
        bounds = [clip.started, chain.end(span, clip) + SAME_STEP_SECONDS]
        begin, end = np.searchsorted(self._ended[chain.others], bounds, side="right")
        found = chain.others[begin:end]
        return found[np.isin(self.episodes.env_index[found], clip.envs)] if clip.envs else found
