"""A hub: one daemon for the statistics of many hosts, with one page.

How far a run came is in the hub's own index alone, and it says so whenever it is connected to. So a sender may be
killed at any moment, and nothing is there twice.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from msgspec.structs import replace

from offcam.connection.hub import Hub
from offcam.sync import index as run_index
from offcam.sync import pushed
from offcam.sync.sinks.sink import Sink
from offcam_proto.endpoints import parse_endpoint
from offcam_proto.errors import ConfigError
from offcam_proto.host import client_key
from offcam_proto.keys import KEYS_VARIABLE
from offcam_proto.limits import MAX_STRETCHES
from offcam_proto.pushing import ClipsGone
from offcam_runs.database import open_committed
from offcam_runs.objects.evicted import joined

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

    from offcam.sync.core import Batch
    from offcam.sync.index import RunFacts
    from offcam_proto.endpoints import Endpoint
    from offcam_proto.keys import KeyFile
    from offcam_proto.messages import OpenStream


STREAMS_A_SECOND: Final = 20
"""Of so many streams a push takes a second of the time until the next: what a message of each costs the hub, most of
which it would cost with many episodes in it, too, is bounded for all nodes together."""

LONGEST_PAUSE: Final = 10.0
"""Most seconds between two pushes, if there is something to push."""


class _OpenStream(NamedTuple):
    """A stream that is open at the hub: its handle, and the ``episodes.id`` up to which the hub has its episodes."""

    handle: int
    reached: int


class Tracker(Sink):
    """Pushes the statistics of a session of a run to a hub: its episodes, and what videos there are and where."""

    ends: ClassVar[bool] = True
    key: ClassVar[str] = "give it a key that the hub lets in"
    options: ClassVar[Mapping[str, str]] = {
        "url": "where the hub is, as tcp://head:8721",
        "key": f"file of the key for it, by default what {KEYS_VARIABLE} names",
    }

    @classmethod
    def check(cls, tracker: str, options: Mapping[str, str]) -> None:
        """Check that there is an address, and a key that can be used."""
        super().check(tracker, options)
        _address(options)

    def __init__(self, run: RunFacts, options: Mapping[str, str], saved: Mapping[str, Any]) -> None:
        super().__init__(run, options, saved)
        self._host = socket.gethostname()
        self._place = pushed.place_of_videos(Path(run.folder), self._host)
        endpoint, key = _address(options)
        self.where = endpoint.url
        self._streams: dict[int, _OpenStream] = {}  # by the stream's key
        self._next = 0.0  # when the next push may be
        self._reached = 0  # ``episodes.id`` up to which the hub has all
        # by stream, clips that the hub may have; of any other stream it may have all
        self._told: dict[int, set[int]] = {}
        self._looked: tuple[object, ...] = ()  # what the index was like when it was last looked for clips that are gone
        self._hub = Hub(endpoint, key, self._host)
        try:
            with open_committed(run.folder) as index:
                known = self._read_streams(index)
            self._open(known, known)
        except BaseException:
            self._hub.close()
            raise

    def send(self, batch: Batch) -> dict[str, Any]:
        """Have all episodes at the hub that there are by now, or tell it of the clip."""
        if batch.clip is not None:
            self._tell(batch.clip.stream, batch.clip.clip)
            self._tell_gone()
        elif batch.last_id > self._reached:
            time.sleep(max(self._next - time.monotonic(), 0))  # in that time more comes, which goes along
            self._push()
            self._next = time.monotonic() + min(len(self._streams) / STREAMS_A_SECOND, LONGEST_PAUSE)
        return {}

    def finish(self) -> None:
        """Have all at the hub, and say that nothing more comes."""
        self._push()
        self._tell_gone()
        self._hub.end([stream.handle for stream in self._streams.values()])
        self._streams.clear()

    def close(self) -> None:
        """See `Sink`."""
        self._hub.close()

    def _read_streams(self, index: sqlite3.Connection) -> dict[int, OpenStream]:
        return pushed.streams_of(index, os.path.basename(self.run.folder), self._host, self.run.session)

    def _open(self, known: Mapping[int, OpenStream], keys: Collection[int]) -> None:
        """Open streams, and find where each is to go on."""
        answers = self._hub.open(known[key] for key in keys)
        with open_committed(self.run.folder) as index:
            last = pushed.last_id(index)
            for key, (handle, count) in zip(keys, answers, strict=True):
                try:
                    first = pushed.first_unsent(index, key, count)
                except LookupError as error:
                    raise ConfigError(
                        f"{self.run.folder} cannot be pushed to {self.where}: {error}. The index was replaced by an "
                        "older one: remove the run's folder at the hub, and all of it is pushed anew"
                    ) from error
                self._streams[key] = _OpenStream(handle, last if first is None else first - 1)
        self._reached = min((each.reached for each in self._streams.values()), default=last)

    def _push(self) -> None:
        while True:
            with open_committed(self.run.folder) as index:
                known = self._read_streams(index)
                new = [key for key in known if key not in self._streams]
                rows, reached = pushed.episodes_behind(index, known, self._reached)
            if new:
                self._open(known, new)
                continue
            by_stream = dict[int, list[bytes]]()
            for key, number, body in rows:
                if number > self._streams[key].reached:
                    by_stream.setdefault(key, []).append(body)
            for key, bodies in by_stream.items():
                self._hub.send(self._streams[key].handle, bodies)
            self._hub.settle()
            self._reached = reached
            for key, stream in self._streams.items():
                self._streams[key] = stream._replace(reached=max(stream.reached, reached))
            if len(rows) < pushed.MOST_EPISODES:
                return

    def _tell(self, stream: str, number: int) -> None:
        with open_committed(self.run.folder) as index:
            known = self._read_streams(index)
            clip = pushed.clip_of(index, self.run.folder, stream, number, self._place)
        if clip is None:
            return
        key = next(key for key, each in known.items() if each.stream.hex() == stream)
        if key not in self._streams:
            self._open(known, [key])
        self._hub.tell(replace(clip, handle=self._streams[key].handle))
        if key in self._told:
            self._told[key].add(number)

    def _tell_gone(self) -> None:
        """Have the hub forget clips that their rule let go: at first all that are not there, then those that went."""
        now = run_index.signature(self.run.folder)
        if now == self._looked:
            return
        with open_committed(self.run.folder) as index:
            left = pushed.clips_left(index, self._streams)
        for key, numbers in left.items():
            if key in self._told:
                gone = joined((number, number) for number in self._told[key].difference(numbers))
            else:
                gone = tuple(pushed.between(numbers))
            for begin in range(0, len(gone), MAX_STRETCHES):
                ends = chain.from_iterable(gone[begin : begin + MAX_STRETCHES])
                self._hub.tell(ClipsGone(self._streams[key].handle, tuple(ends)))
            self._told[key] = set(numbers)
        self._looked = now


def _address(options: Mapping[str, str]) -> tuple[Endpoint, KeyFile | None]:
    """The hub's address and the key for it. Raises ConfigError where there is none, or it cannot be used."""
    url = options.get("url", "")
    if not url.startswith("tcp://"):
        raise ConfigError(f"a hub is given by its address, as tcp://head:8721, got {url!r}")
    endpoint = parse_endpoint(url, "the hub's address")
    own = {KEYS_VARIABLE: options["key"]} if "key" in options else {}
    return endpoint, client_key(endpoint, {**os.environ, **own})
