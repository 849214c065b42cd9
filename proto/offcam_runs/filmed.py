"""A run with its videos: which episodes have one, and in which clip."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from offcam_proto.errors import ConfigError
from offcam_runs import format as fmt
from offcam_runs.analysis import Stage, stages_among
from offcam_runs.clip_episodes import ClipEpisodes, read_spans
from offcam_runs.database import open_to_read
from offcam_runs.episodes import Episode
from offcam_runs.run import Run, run_of
from offcam_runs.steps.places import has_tape
from offcam_runs.streams import read_streams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offcam_runs.analysis import Pick
    from offcam_runs.clips import Clip
    from offcam_runs.long_run import Extent
    from offcam_runs.sessions import Session

PICKS: Final[tuple[Pick, ...]] = ("best", "median", "worst")
"""What of a part is shown beside each other."""

_SOME = 8


class Shot(NamedTuple):
    """An episode, and the clip that shows it.

    Attributes:
        episode: the episode; where it never ended, its number is -1 and the rest is what its clip knows of it.
        clip: the clip, whose file is there.
    """

    episode: Episode
    clip: Clip


@dataclass(frozen=True, eq=False)
class Filmed:
    """A run, and what can be watched of it.

    Attributes:
        run: the run.
        shown: says which clip shows which episode, of the clips whose files are there.
        replayable: whether episodes without a video can be rendered.
    """

    run: Run
    shown: ClipEpisodes
    replayable: bool

    @cached_property
    def filmed(self) -> NDArray[np.bool_]:
        """Of each episode whether a clip shows it, (episodes,)."""
        return self.shown.shown >= 0

    def stages(self, count: int) -> list[Stage]:
        """The run in ``count`` stages, see `stages_of`."""
        return stages_of(self.shown, count)

    @cached_property
    def _clips(self) -> dict[str, Clip]:
        return {_key(clip): clip for clip in self.run.clips}

    def at(self, place: int) -> Shot:
        """The episode at a place, which has a video."""
        span = self.shown.clips[self.shown.shown[place]]
        return Shot(self.run.episodes[place], self._clips[span.key])

    def find(self, episode: int, *, env_index: int = 0, stream: str = "") -> Shot:
        """The episode with this number, which must have a video; an episode that never ended counts if no other has it.

        Args:
            episode: its number in its sub-environment.
            env_index: the sub-environment, 0 for a single env.
            stream: id of its stream, where several have such an episode.

        Raises:
            ConfigError: there is no such episode, several streams have one, or it has no video.
        """
        run, table = self.run, self.run.episodes
        what = f"episode {episode}" + (f" of sub-environment {env_index}" if env_index else "")
        places = np.flatnonzero((table.episode == episode) & (table.env_index == env_index)).tolist()
        shots = [self.at(place) for place in places if self.filmed[place]] or self._cut_off(episode, env_index)
        found = [shot for shot in shots if stream in ("", run.streams[shot.episode.stream].stream)]
        if len(found) > 1:
            ids = ", ".join(dict.fromkeys(run.streams[shot.episode.stream].stream for shot in found))
            raise ConfigError(f"{what} is of several streams of {run.folder}: say which with --stream, of {ids}")
        if not found and not places:
            raise ConfigError(f"{run.folder} has no {what}: `offcam ls {run.folder} --all` has those that are there")
        if not found:
            made = f"`offcam render {run.folder} --episode {episode}` makes one" if self.replayable else self._others()
            raise ConfigError(f"{what} of {run.folder} has no video: {made}")
        return found[0]

    def _cut_off(self, episode: int, env_index: int) -> list[Shot]:
        """Episodes with this number that never ended, of which there is a video all the same."""
        return [
            Shot(_as_episode(clip, env_index), clip)
            for clip in self.run.clips
            if clip.partial and clip.episode == episode and (clip.envs or (0,))[0] == env_index and _is_there(clip)
        ]

    def _others(self) -> str:
        """Which episodes have a video, for people."""
        numbers = sorted(set(self.run.episodes.episode[self.filmed].tolist()))
        if not numbers:
            return "no episode has one"
        few = ", ".join(map(str, numbers[-_SOME:]))
        return f"those that have are {few}" if len(numbers) <= _SOME else f"{len(numbers):,} have, the last {few}"


def stages_of(shown: ClipEpisodes, count: int, extent: Extent | None = None) -> list[Stage]:
    """A run in stages, and the episodes of each whose videos to show, see `offcam_runs.analysis.stages`.

    Args:
        shown: says which clip shows which episode, of the clips that can be watched.
        count: of the stages; there are fewer where there are fewer episodes.
        extent: of a long run, which episodes it has: ``shown`` then has only those with a clip.

    Returns:
        Places are those in `shown.episodes`; but ``begin`` and ``end`` count all episodes.
    """
    there = np.flatnonzero(shown.shown >= 0)
    returns = shown.episodes.return_[there]
    if extent is None:
        return stages_among(there, returns, len(shown.episodes), count)
    arrived = shown.episodes.number[there] - extent.before
    known = arrived < extent.size  # others may yet get other numbers
    there, arrived, returns = there[known], arrived[known], returns[known]
    places = dict(zip(arrived.tolist(), there.tolist(), strict=True))
    return [
        Stage(begin, end, *(None if pick is None else places[pick] for pick in picks))
        for begin, end, *picks in stages_among(arrived, returns, extent.size, count)
    ]


def read_filmed(folder: str | os.PathLike[str], session: Session = None) -> Filmed:
    """Read a run with its videos, as it is at one moment. Raises what `read_run` raises."""
    with open_to_read(folder, session=session) as database:
        run = run_of(database, folder)
        spans = read_spans(database, read_streams(database))
        replayable = has_tape(database)
    there = {_key(clip) for clip in run.clips if _is_there(clip)}
    return Filmed(run, ClipEpisodes(run.episodes, [span for span in spans if span.key in there]), replayable)


def _key(clip: Clip) -> str:
    """The clip's key, as `ClipSpan.key`."""
    return f"{clip.stream_id}-{clip.clip}"


def _is_there(clip: Clip) -> bool:
    """Whether the clip's file is there, or is evicted, which `Clip.fetch` brings."""
    if clip.path is None or clip.state == fmt.RECORDING:
        return False
    return os.path.exists(clip.path) or clip.evicted is not None


def _as_episode(clip: Clip, env_index: int) -> Episode:
    """What a clip knows of the episode that it began with, and that never ended."""
    return Episode(
        number=-1,
        stream=clip.stream,
        env_index=env_index,
        episode=clip.episode,
        return_=clip.return_,
        length=clip.length or 0,
        duration=math.nan,
        started=clip.started,
        terminated=False,
        truncated=False,
        seed=None,
        info={},
    )
