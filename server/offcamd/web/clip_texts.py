"""Clips as JSON text: that of a clip is made once, and again where something that it says may have changed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from offcam_runs.clips import clips_at
from offcam_runs.objects.evicted import Evicted, read_evicted
from offcam_runs.pending import committed
from offcam_runs.pins import read_pins
from offcam_runs.streams import Stream, read_streams
from offcamd.web.encoding import encoded
from offcamd.web.lru import LruCache

if TYPE_CHECKING:
    import sqlite3

    from offcam_runs.clips import Clip
    from offcam_runs.pins import Pin
    from offcamd.web.reading import AskedRun

    Shown = Callable[[Sequence[Clip]], Sequence[Mapping[str, Any]]]

MOST_OF_RUN: Final = 4_000
MOST_KEPT: Final = 8_000
"""Most texts that are kept, of a run and of all, each of about 3 KB with what it was made of."""

_ROWS: Final = "SELECT rowid, * FROM main.clips WHERE rowid IN (SELECT value FROM json_each(:places))"
_LAST: Final = "SELECT ifnull(max(id), 0) FROM main.episodes"


class _Text(NamedTuple):
    """A clip's text and what it was made of.

    Attributes:
        row: of the clip in the index.
        key: of the clip.
        pin: of the clip.
        episodes: up to which episodes the index went, and its copy with what is pending; None where later ones change
            nothing, as the index has the one with which the clip begins.
        text: in JSON.
    """

    row: tuple[object, ...]
    key: str
    pin: Pin | None
    episodes: tuple[int, int] | None
    text: bytes

    def holds(self, row: tuple[object, ...], pins: Mapping[str, Pin], episodes: tuple[int, int]) -> bool:
        """Whether the text would be the same if it were made now."""
        return self.row == row and self.pin == pins.get(self.key) and self.episodes in (None, episodes)


@dataclass
class _Kept:
    """The texts of a run's clips by their ``place``, and what all of them were made of. ``lock`` guards all of it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    streams: dict[int, Stream] = field(default_factory=dict)
    evicted: Evicted = field(default_factory=Evicted)
    texts: dict[int, _Text] = field(default_factory=dict)


class ClipTexts:
    """Keeps the texts of the runs that were last asked for. Thread-safe."""

    def __init__(self) -> None:
        self._runs: LruCache[AskedRun, _Kept] = LruCache(MOST_KEPT, lambda kept: len(kept.texts))

    def of(
        self, asked: AskedRun, database: sqlite3.Connection, places: Sequence[int], shown: Shown
    ) -> list[msgspec.Raw]:
        """The texts of some clips, in the same order.

        Args:
            asked: the run.
            database: its index, in a read transaction.
            places: ``place`` of each of the clips, see `clips.read_clips`.
            shown: makes of clips what is to be told of each.
        """
        kept = self._runs.get(asked, _Kept)
        with kept.lock:
            found = _texts(kept, asked, database, places, shown)
        self._runs.trim()
        return [msgspec.Raw(found[place]) for place in places]


def _texts(
    kept: _Kept, asked: AskedRun, database: sqlite3.Connection, places: Sequence[int], shown: Shown
) -> dict[int, bytes]:
    streams, pins, evicted = read_streams(database), read_pins(asked.folder), read_evicted(asked.folder)
    if (streams, evicted) != (kept.streams, kept.evicted):
        kept.streams, kept.evicted, kept.texts = streams, evicted, {}
    texts, found = kept.texts, dict[int, bytes]()
    index = committed(database)
    (last,) = database.execute(_LAST).fetchone()
    rows = {place: tuple(row) for place, *row in database.execute(_ROWS, {"places": json.dumps(places)})}
    for place in places:
        before = texts.get(place)
        if before is not None and before.holds(rows[place], pins, (index, last)):
            found[place] = before.text
    new = [place for place in places if place not in found]
    clips = clips_at(database, asked.folder, new) if new else []
    for place, clip, told in zip(new, clips, shown(clips), strict=True):
        found[place] = encoded(told)
        texts.pop(place, None)
        if clip.place is None and evicted.url_of(clip.stream_id, clip.clip) is None:  # else it says if a file is here
            begun, key = told["number"], told["key"]
            episodes = None if begun is not None and begun < index else (index, last)
            texts[place] = _Text(row=rows[place], key=key, pin=pins.get(key), episodes=episodes, text=found[place])
    while len(texts) > MOST_OF_RUN:
        del texts[next(iter(texts))]
    return found
