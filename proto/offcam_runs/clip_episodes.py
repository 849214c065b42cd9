"""Which clip shows which episode.

A clip says with which episode of its stream it began, and how many steps it shows. Of a vector environment that counts
for sub-environment 0; the others' episodes are shown if they ended while the clip was being recorded.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from offcam_runs import format as fmt

if TYPE_CHECKING:
    import sqlite3

    from offcamd.web.episode_cache import Chain, Columns, Places

_SHOWABLE = """
SELECT stream_id, clip, name, episode, step, ifnull(steps, 0), ifnull(started, 0)
FROM clips WHERE file IS NOT NULL AND state NOT IN (?, ?) ORDER BY stream_id, clip
"""


@dataclass(frozen=True, slots=True)
class ShownClip:
    """What there is to know of a clip with a file, columns as in ``clips``."""

    stream_id: int
    clip: int
    name: str
    episode: int
    step: int
    steps: int
    started: float

    @property
    def begins_within(self) -> bool:
        """Whether it began at a step, maybe within an episode."""
        return self.name.endswith(f"-step-{self.step}")


def showable(database: sqlite3.Connection) -> list[ShownClip]:
    """The clips of an index that can be watched."""
    return [ShownClip(*row) for row in database.execute(_SHOWABLE, (fmt.RECORDING, fmt.REPLACED))]


def shown(columns: Columns, clips: list[ShownClip]) -> Places:
    """For each episode the place among ``clips`` of the one that shows it, -1 for none.

    Where several do it is the one that began with it, else the first. Kept until an episode or a clip comes.
    """
    if columns.shown_before is None or columns.shown_before[0] != clips:
        columns.shown_before = clips, _shown(columns, clips)
    return columns.shown_before[1]


def _shown(columns: Columns, clips: list[ShownClip]) -> Places:
    found = np.full(len(columns), -1, np.intp)
    by_stream: dict[int, list[int]] = defaultdict(list)
    for place, clip in enumerate(clips):
        by_stream[clip.stream_id].append(place)
    for stream, places in by_stream.items():
        spans = [(place, _span(columns.chain(stream), clips[place])) for place in reversed(places)]
        if columns.others(stream).size:
            for place, span in spans:
                found[_beside(columns, clips[place], span)] = place
        chained = columns.chain(stream).places
        for place, (first, behind) in spans:
            found[chained[first:behind]] = place
        for place, (first, behind) in spans:
            found[chained[first : min(behind, first + 1)]] = place
    return found


def episodes_of(columns: Columns, clip: ShownClip) -> Places:
    """Where the finished episodes are that a clip shows, of sub-environment 0, in order."""
    chain = columns.chain(clip.stream_id)
    first, behind = _span(chain, clip)
    return chain.places[first:behind]


def _span(chain: Chain, clip: ShownClip) -> tuple[int, int]:
    """The first of a chain's episodes that a clip shows, and the one behind the last."""
    first = int(chain.numbers.searchsorted(clip.episode))
    if first == chain.numbers.size or chain.numbers[first] != clip.episode:
        return first, first  # it never ended
    before = float(chain.steps[first - 1]) if first else 0.0
    begin = min(max(before, clip.step), float(chain.steps[first]) - 1) if clip.begins_within else before
    last = int(chain.steps.searchsorted(begin + clip.steps))
    return first, min(max(first, last) + 1, chain.numbers.size)


def _beside(columns: Columns, clip: ShownClip, span: tuple[int, int]) -> Places:
    """Where the episodes of the other sub-environments are that ended during a clip."""
    others, chain = columns.others(clip.stream_id), columns.chain(clip.stream_id)
    first, behind = span
    if first == behind:
        return others[:0]
    end = chain.ended[behind - 1]
    begin, end = np.searchsorted(columns.ended[others], [clip.started, end], side="right")
    return others[begin:end]
