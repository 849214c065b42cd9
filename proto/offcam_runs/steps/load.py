"""The steps of a run as its users ask for them: of an episode by its number, and of what a video shows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from offcam_proto.errors import ConfigError
from offcam_runs.database import open_to_read
from offcam_runs.sessions import ALL
from offcam_runs.steps.layout import STEPS
from offcam_runs.steps.places import streams_of
from offcam_runs.steps.reader import StepReader
from offcam_runs.steps.rows import decoded
from offcam_runs.streams import read_streams

if TYPE_CHECKING:
    import sqlite3

    from offcam_runs.clips import Clip
    from offcam_runs.sessions import Session
    from offcam_runs.steps.rows import Steps
    from offcam_runs.streams import Stream


def episode_steps(
    folder: str | os.PathLike[str],
    episode: int,
    *,
    env_index: int = 0,
    stream: str | None = None,
    session: Session = None,
) -> Steps:
    """The steps of an episode, as they are now.

    Args:
        folder: of the run.
        episode: its number in its sub-environment.
        env_index: the sub-environment, 0 for a single env.
        stream: id of its stream, where several of the session have such an episode.
        session: as of `offcam.load`.

    Raises:
        ConfigError: no steps of it were recorded, or of several streams; or Zstandard is not installed.
        RunFolderError: the index is damaged or cannot be read.
    """
    with open_to_read(folder, session=session) as database:
        streams = read_streams(database)
        if stream is not None and stream not in {each.stream for each in streams.values()}:
            raise ConfigError(f"{os.fspath(folder)} has no stream {stream!r}: see `Run.streams`")
        keys = streams_of(database, STEPS, env_index, episode)
        found = [key for key in keys if key in streams and stream in (None, streams[key].stream)]
        if len(found) != 1:
            raise ConfigError(_why(folder, episode, env_index, [streams[key] for key in found]))
        return decoded(StepReader(database, folder).episode(found[0], STEPS, env_index, episode))


def clip_steps(clip: Clip) -> Steps | None:
    """The rows that the frames of a video show, of the first sub-environment that it shows.

    That of a frame shown at the time t, in seconds, is the one at ``round(t * clip.fps)``. None where no steps were
    recorded. Raises as `episode_steps`.
    """
    if clip.first_row is None:
        return None
    count = max(clip.offered, round((clip.duration or 0.0) * clip.fps))
    with open_to_read(clip.folder, session=ALL) as database:
        keys = [key for key, stream in read_streams(database).items() if stream.stream == clip.stream_id]
        reader = StepReader(database, clip.folder)
        env_index = clip.envs[0] if clip.envs else 0
        return decoded(reader.rows(keys[0], STEPS, env_index, clip.first_row, clip.first_row + count))


def all_steps(
    database: sqlite3.Connection, folder: str | os.PathLike[str], streams: Mapping[int, Stream]
) -> Iterator[tuple[int, int, Steps]]:
    """All steps of an open index, one block of a sub-environment at a time.

    Yields:
        The key of the stream, the sub-environment, and the rows; those that cannot be read are in ``gaps``.
    """
    reader = StepReader(database, folder)
    for key, stream in streams.items():
        for env_index in range(stream.num_envs):
            for rows in reader.pieces(key, STEPS, env_index):
                yield key, env_index, decoded(rows)


def _why(folder: Any, episode: int, env_index: int, streams: Sequence[Stream]) -> str:  # noqa: ANN401 - a path
    what = f"episode {episode}" + (f" of sub-environment {env_index}" if env_index else "")
    if streams:
        ids = ", ".join(f"stream={stream.stream!r} ({stream.env_id})" for stream in streams)
        return f"{what} is of several streams of {os.fspath(folder)}: pass one of {ids}"
    return f"{os.fspath(folder)} has no steps of {what}: record them with `steps=True`"
