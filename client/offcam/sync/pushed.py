"""Reads from a run's index what its hub is sent, as the messages of the wire."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from offcam_proto.codec import pack_record
from offcam_proto.limits import MAX_INT
from offcam_proto.messages import OpenStream
from offcam_proto.pushing import ClipElsewhere
from offcam_proto.records import EpisodeRecord
from offcam_runs import format as fmt
from offcam_runs.clips import read_clips
from offcam_runs.episodes import read_episodes
from offcam_runs.objects.layout import ObjectPlace, filled
from offcam_runs.streams import read_streams
from offcam_runs.sync.process import OBJECTS
from offcam_runs.sync.state import read_all

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from offcam_runs.clips import Clip

MOST_EPISODES: Final = 4096
"""Most episodes that are read at once."""

_RUN: Final = "SELECT value FROM meta WHERE key = :key"
_TRAININGS: Final = "SELECT id, training FROM streams"
_COUNT: Final = "SELECT count(*) FROM episodes WHERE stream_id = :key"
_NEXT: Final = "SELECT id FROM episodes WHERE stream_id = :key ORDER BY seq LIMIT 1 OFFSET :known"
_LETTING_GO: Final = """
SELECT id FROM streams WHERE replays != '' OR (session, prefix) IN (SELECT session, prefix FROM rules)
"""
_CLIPS: Final = f"SELECT clip FROM clips WHERE stream_id = :key AND state NOT IN {fmt.HIDDEN_STATES} ORDER BY clip"  # noqa: S608 - of our own words
_LAST: Final = "SELECT ifnull(max(id), 0) FROM episodes"


def streams_of(index: sqlite3.Connection, name: str, host: str, session: int) -> dict[int, OpenStream]:
    """How the streams of a session are opened at the hub, by their keys in the index, in their order; without handles.

    Args:
        index: from `open_committed`.
        name: of the run, for people.
        host: this host's name.
        session: its number.
    """
    (run,) = index.execute(_RUN, {"key": fmt.RUN_KEY}).fetchone() or ("-",)
    folder = f"/{run}/{name}-{host}".replace("//", "/")
    trainings = dict(index.execute(_TRAININGS))
    found = dict[int, OpenStream]()
    for key, stream in read_streams(index).items():
        if stream.session == session:
            found[key] = OpenStream(
                handle=0,
                stream=bytes.fromhex(stream.stream),
                folder=folder,
                prefix=stream.prefix,
                suffix=stream.suffix,
                video=False,
                env_id=stream.env_id,
                num_envs=stream.num_envs,
                vector=stream.vector,
                started=stream.started,
                training=bytes.fromhex(trainings[key]) or bytes(16),
                resumes=bool(found),  # the hub has the session's first stream by then: the others are beside it
                replays=bytes.fromhex(stream.replays) or bytes(16),
            )
    return found


def first_unsent(index: sqlite3.Connection, key: int, known: int) -> int | None:
    """``episodes.id`` of a stream's first episode behind those that the hub knows; None if there is none yet.

    Raises:
        LookupError: the hub knows more episodes than there are.
    """
    (there,) = index.execute(_COUNT, {"key": key}).fetchone()
    if known > there:
        raise LookupError(f"the hub has {known} episodes of a stream of which this index has {there}")
    row = index.execute(_NEXT, {"key": key, "known": known}).fetchone()
    return row and int(row[0])


def last_id(index: sqlite3.Connection) -> int:
    """``episodes.id`` of the last episode in the index, 0 for none."""
    return int(index.execute(_LAST).fetchone()[0])


def episodes_behind(
    index: sqlite3.Connection, keys: Collection[int], after: int
) -> tuple[list[tuple[int, int, bytes]], int]:
    """The next episodes of some streams, each with its stream's key and its ``episodes.id``, as packed records.

    Returns:
        At most `MOST_EPISODES` of them, and the id up to which they are all.
    """
    streams = sorted(keys)
    condition = f"id > :after AND stream_id IN ({', '.join(map(str, streams))})"
    table = read_episodes(index, streams, condition, {"after": after}, limit=MOST_EPISODES)
    found = [
        (
            streams[each.stream],
            each.number + 1,
            pack_record(
                EpisodeRecord(
                    env_index=each.env_index,
                    episode=each.episode,
                    return_=each.return_,
                    length=each.length,
                    duration=each.duration,
                    started=each.started,
                    terminated=each.terminated,
                    truncated=each.truncated,
                    seed=each.seed,
                    info=each.info,
                )
            ),
        )
        for each in table
    ]
    return found, found[-1][1] if len(found) == MOST_EPISODES else last_id(index)


def clip_of(index: sqlite3.Connection, folder: str, stream: str, number: int, place: str) -> ClipElsewhere | None:
    """What the hub is told of a clip; its handle is not set. None where the clip is gone, or not whole.

    Args:
        index: from `open_committed`.
        folder: of the run.
        stream: id of its stream, in hexadecimal digits.
        number: of the clip in it.
        place: where its file is.
    """
    clips = read_clips(index, folder, "stream = :stream AND clip = :clip", {"stream": stream, "clip": number})
    return _told(clips[0], place) if clips and clips[0].state != fmt.RECORDING else None


def _told(clip: Clip, place: str) -> ClipElsewhere | None:
    if clip.file is None:
        return None
    diverged = () if clip.diverged_at is None else (clip.diverged_at, clip.diverged_why or "")
    return ClipElsewhere(
        handle=0,
        clip=clip.clip,
        file=clip.file,
        place=place,
        state=clip.state,
        name=clip.name,
        part=clip.part,
        fps=clip.fps,
        width=clip.width or 0,
        height=clip.height or 0,
        duration=clip.duration or 0.0,
        file_bytes=clip.file_bytes or 0,
        episode=clip.episode,
        step=clip.step,
        steps=None if clip.complete is None else clip.length,
        rewards=clip.return_,
        complete=bool(clip.complete),
        offered=clip.offered,
        received=clip.received,
        encoded=clip.frames,
        dropped=clip.dropped,
        started=clip.started,
        ended=clip.ended or clip.started,
        envs=clip.envs,
        reason=clip.keep_reason or "",
        diverged=diverged,
    )


def clips_left(index: sqlite3.Connection, keys: Collection[int]) -> dict[int, list[int]]:
    """The numbers of the clips that are there, in order, of each of some streams by their keys.

    Streams whose clips no rule lets go are left out.
    """
    letting_go = {key for (key,) in index.execute(_LETTING_GO)}.intersection(keys)
    return {key: [clip for (clip,) in index.execute(_CLIPS, {"key": key})] for key in letting_go}


def between(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The stretches of numbers, from 0 on, that some numbers in order leave out."""
    return [(before + 1, after - 1) for before, after in pairwise((-1, *numbers, MAX_INT + 1)) if after - before > 1]


def place_of_videos(folder: Path, host: str) -> str:
    """Where the run's videos can be had: in object storage if the run is sent there, else in its folder."""
    sent: Iterable[str] = (
        each.state.options["url"]
        for each in read_all(folder)
        if each.state.tracker == OBJECTS and "url" in each.state.options
    )
    url = next(iter(sent), None)
    return f"{host}:{folder}" if url is None else ObjectPlace.parse(filled(url, folder.name, host)).url
