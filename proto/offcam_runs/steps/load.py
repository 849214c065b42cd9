"""Steps as users ask for them: those of an episode by its number, and those that a video shows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from offcam_proto.errors import ConfigError
from offcam_runs.database import open_to_read
from offcam_runs.sessions import ALL
from offcam_runs.steps.layout import STEPS
from offcam_runs.steps.reader import StepReader
from offcam_runs.steps.rows import Steps, decoded
from offcam_runs.streams import read_streams

if TYPE_CHECKING:
    import sqlite3

    from offcam_runs.sessions import Session
    from offcam_runs.streams import Stream


def episode_steps(
    folder: str | os.PathLike[str],
    episode: int,
    *,
    env_index: int = 0,
    stream: str | None = None,
    session: Session = None,
) -> Steps:
    """The steps of an episode, as far as they are in the run by now.

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
    found: dict[Stream, Steps] = {}
    with open_to_read(folder, session=session) as database:
        reader = StepReader(database, folder)
        for key, each in read_streams(database).items():
            if stream in (None, each.stream):
                steps = reader.episode(key, STEPS, env_index, episode)
                if steps.rows or steps.gaps:
                    found[each] = steps
    several = [each for each, steps in found.items() if steps.rows] or list(found)
    what = f"episode {episode}" + (f" of sub-environment {env_index}" if env_index else "")
    if not several:
        raise ConfigError(f"{os.fspath(folder)} has no steps of {what}: record them with `steps=True`")
    if len(several) > 1:
        ids = ", ".join(f"stream={each.stream!r} ({each.env_id})" for each in several)
        raise ConfigError(f"{what} is of several streams of {os.fspath(folder)}: pass one of {ids}")
    return decoded(found[several[0]])


def steps_of_rows(
    folder: str | os.PathLike[str], stream: str, env_index: int, first_row: int, behind: int
) -> Steps | None:
    """The steps of a stream, or of the stream that it replays, from ``first_row`` up to, not including, ``behind``.

    None where there is no such stream. Raises as `episode_steps`.
    """
    with open_to_read(folder, session=ALL) as database:
        streams = read_streams(database)
        replays = {each.stream: each.replays for each in streams.values()}
        shown = replays.get(stream) or stream
        keys = [key for key, each in streams.items() if each.stream == shown]
        if not keys:
            return None
        return decoded(StepReader(database, folder).rows(keys[0], STEPS, env_index, first_row, behind))


def all_steps(
    database: sqlite3.Connection, folder: str | os.PathLike[str], streams: Mapping[int, Stream]
) -> Iterator[tuple[int, int, Steps]]:
    """All steps of an open index, one block in memory at a time; the rows of each sub-environment are in order.

    Yields:
        The key of the stream, the sub-environment, and the rows; those that cannot be read are in ``gaps``.
    """
    reader = StepReader(database, folder)
    for key in streams:
        for env_index, steps in reader.pieces(key, STEPS):
            yield key, env_index, decoded(steps)
