"""The streams of a run: who recorded into it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from offcam_runs.format import real_from_sql

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True)
class Stream:
    """One environment, or one vector environment, of one client process.

    Attributes:
        stream: its id, 32 hexadecimal digits.
        env_id: environment id, such as ``CartPole-v1``.
        num_envs: sub-environments, 1 for a single one.
        vector: whether it is a vector environment.
        prefix: name prefix of its videos, empty without video.
        suffix: number in the names of its videos, 0 for none.
        host: host name of the process that recorded it.
        pid: id of that process.
        client: what that process says it is, for people.
        started: when the stream was opened first, in seconds since the epoch.
        ended: when the stream was closed or lost, in seconds since the epoch; None while it is live.
        state: ``live``, ``closed`` or ``lost``.
        session: number of its session in the run, from 1: there is one for each training, a process with its children.
        replays: id of the stream whose episodes its clips show, replayed; empty where they show its own.
    """

    stream: str
    env_id: str
    num_envs: int
    vector: bool
    prefix: str
    suffix: int
    host: str
    pid: int
    client: str
    started: float
    ended: float | None
    state: str
    session: int
    replays: str = ""


_NAMES: Final = tuple(field.name for field in fields(Stream))
_SELECT: Final = f"SELECT id, {', '.join(_NAMES)} FROM streams ORDER BY id"  # noqa: S608 - of our own words


def read_streams(database: sqlite3.Connection) -> dict[int, Stream]:
    """All streams of an open index in order of opening, by their keys, which the index's other tables have."""
    found = {}
    for key, *row in database.execute(_SELECT):
        named = dict(zip(_NAMES, row, strict=True))
        found[key] = Stream(**{**named, "vector": bool(named["vector"]), "started": real_from_sql(named["started"])})
    return found


def number_of_envs(streams: Iterable[Stream]) -> int:
    """How many environments the streams of a session are of; of several sessions, of the one that has most.

    A stream goes on with the environment of an earlier one that has the same video names; a stream without videos, with
    one that was over when it began.
    """
    envs = defaultdict(list)
    for stream in streams:
        envs[stream.session, stream.env_id, stream.prefix, stream.suffix].append(stream)
    found: Counter[int] = Counter()
    for (session, _, prefix, _), those in envs.items():
        found[session] += max(stream.num_envs for stream in those) if prefix else _at_once(those)
    return max(found.values(), default=0)


def _at_once(streams: Iterable[Stream]) -> int:
    """The most environments that there were at the same time."""
    changes = []
    for stream in streams:
        begin = stream.started if math.isfinite(stream.started) else 0.0
        end = math.inf if stream.ended is None else max(stream.ended, math.nextafter(begin, math.inf))
        changes += [(begin, stream.num_envs), (end, -stream.num_envs)]  # at the same time, ends come first
    return max(accumulate(count for _, count in sorted(changes)))


def began(streams: Iterable[Stream]) -> float:
    """When the first of a run's streams began, in seconds since the epoch. NaN where nobody knows."""
    return min((stream.started for stream in streams if math.isfinite(stream.started)), default=math.nan)
