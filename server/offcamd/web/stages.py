"""The stages of a run, and the clips to show of each; ``offcam timelapse`` shows the same."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from offcam_proto.errors import NotARunFolder
from offcam_runs import format as fmt
from offcam_runs.analysis import STAGES
from offcam_runs.filmed import PICKS, stages_of
from offcam_runs.long_run import long_extent
from offcam_runs.streams import read_streams
from offcamd.web.reading import reading

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from offcam_runs.clip_episodes import ClipEpisodes
    from offcam_runs.long_run import Extent
    from offcam_runs.streams import Stream
    from offcamd.web.episode_cache import EpisodeCache
    from offcamd.web.params import Query
    from offcamd.web.reading import AskedRun

MOST_STAGES = 100

_FILES = f"""
SELECT stream, clip, file FROM clips JOIN streams ON streams.id = stream_id
WHERE file IS NOT NULL AND clips.state != '{fmt.RECORDING}'
"""  # noqa: S608 - of our own words


def stages(asked: AskedRun, query: Query, cache: EpisodeCache) -> dict[str, Any]:
    """A run's parts and their clips, see ``GET /api/runs/{id}/stages``. Raises BadQuery and what `reading` does."""
    count = query.whole("count", STAGES, 1, MOST_STAGES)
    with reading(asked.folder, asked.session) as database:
        streams = read_streams(database)
        clips = cache.clips(asked.folder, database, streams)
        extent = long_extent(database)
        gone = _gone(database, asked.folder)
    shown = clips.without(gone) if gone else clips
    of = list(streams.values())
    return {
        "episodes": len(shown.episodes) if extent is None else extent.size,
        "stages": [
            {
                "begin": stage.begin,
                "end": stage.end,
                "first": _number(shown, extent, stage.begin),
                "last": _number(shown, extent, stage.end - 1),
                **{pick: _picked(shown, of, stage.picked(pick)) for pick in PICKS},
            }
            for stage in stages_of(shown, count, extent)
        ],
    }


def _number(shown: ClipEpisodes, extent: Extent | None, place: int) -> int:
    """An episode's order of arrival, by its place in the run or session."""
    return int(shown.episodes.number[place]) if extent is None else extent.before + place


def _gone(database: sqlite3.Connection, folder: Path) -> set[str]:
    """The keys of clips whose files were removed."""
    try:
        there = set(os.listdir(folder))  # noqa: PTH208 - only names are needed, of maybe thousands of files
    except OSError as error:
        raise NotARunFolder(f"{folder} cannot be listed ({error.strerror}): was it moved or removed?") from error
    return {f"{stream}-{clip}" for stream, clip, file in database.execute(_FILES) if file not in there}


def _picked(shown: ClipEpisodes, streams: Sequence[Stream], place: int | None) -> dict[str, Any] | None:
    """An episode that has a clip, as the API shows it."""
    if place is None:
        return None
    episode, clip = shown.episodes[place], shown.shows(place)
    assert clip is not None  # noqa: S101 - only episodes that have a clip are picked
    return {
        "clip": clip.key,
        "number": episode.number,
        "num_envs": streams[episode.stream].num_envs,
        "env_index": episode.env_index,
        "episode": episode.episode,
        "return": fmt.json_number(episode.return_),
        "length": episode.length,
    }
