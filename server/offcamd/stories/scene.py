"""Scenes: parts of videos, and the subtitles for their frames."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from offcam_proto.errors import ConfigError, EncodeError
from offcamd.video.probe import DecodedPicture, pictures, survey
from offcamd.video.tracks import Span

if TYPE_CHECKING:
    from fractions import Fraction

    from numpy.typing import NDArray

    from offcam_runs.clips import Clip
    from offcam_runs.episodes import Episode
    from offcam_runs.filmed import Shot
    from offcam_runs.run import Run
    from offcam_runs.steps.rows import Steps


@dataclass(frozen=True, eq=False)
class Told:
    """What is known of an episode's steps.

    Attributes:
        step: (n,) their numbers, from 0 for the reset.
        reward: (n,) the reward of each.
        sum: (n,) the sum of the rewards up to each; NaN from where a reward is not known.
    """

    step: NDArray[np.int64]
    reward: NDArray[np.float64]
    sum: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scene:
    """A part of a video that shows an episode.

    Attributes:
        path: of the video.
        fps: its frames per second.
        width: of its pictures, in pixels.
        height: of its pictures, in pixels.
        begin: the first of its frames that belongs to the scene.
        end: the last of its frames that does + 1.
        episode: the episode that it shows.
        run: the folder of its run.
        reset: the frame that shows the episode's reset, negative if that is before the video's begin; None where
            it is not known.
        told: what is known of the episode's steps; None where these were not recorded.
    """

    path: Path
    fps: Fraction
    width: int
    height: int
    begin: int
    end: int
    episode: Episode
    run: str
    reset: int | None = None
    told: Told | None = field(default=None, repr=False)

    @property
    def frames(self) -> int:
        """Its length in frames."""
        return self.end - self.begin

    @property
    def title(self) -> str:
        """What the scene shows, in a few words."""
        said = [f"episode {self.episode.episode}"]
        said += [f"env {self.episode.env_index}"] if self.episode.env_index else []
        said += [] if math.isnan(self.episode.return_) else [f"return {self.episode.return_:.6g}"]
        return ", ".join(said if self.episode.number >= 0 else [*said, "cut off"])

    def pictures(self) -> Generator[DecodedPicture]:
        """Yield its pictures, with ``at`` in frames from the scene's begin; the first is at 0. Raises EncodeError."""
        for each in pictures(self.path, self.fps, self.begin, self.end):
            yield DecodedPicture(each.at - self.begin, each.rgb)

    def captions(self) -> Iterator[Span]:
        """Yield its subtitles, in frames from the scene's begin: one for each step, or one where no step is known."""
        if self.told is None or self.reset is None:
            yield Span(0, self.frames, self.title)
            return
        columns = (self.told.step.tolist(), self.told.reward.tolist(), self.told.sum.tolist())
        for step, reward, total in zip(*columns, strict=True):
            frame = self.reset + step - self.begin
            if 0 <= frame < self.frames:
                said = [f"episode {self.episode.episode}", f"step {step}"]
                said += [] if step == 0 else [f"reward {reward:.6g}"]
                said += [] if math.isnan(total) else [f"return {total:.6g}"]
                yield Span(frame, frame + 1, ", ".join(said))

    def words(self) -> list[str]:
        """The subtitle of each of its frames; empty where it has none."""
        found = [""] * self.frames
        for begin, end, text in self.captions():
            found[begin:end] = [text] * (end - begin)
        return found

    def between(self, begin: float | None, end: float | None) -> Scene:
        """The part of the scene between two seconds of the video.

        Raises:
            ConfigError: there is nothing between them.
        """
        first = self.begin if begin is None else math.floor(begin * self.fps + 1e-6)
        behind = self.end if end is None else math.ceil(end * self.fps - 1e-6)
        there = [f"{float(each / self.fps):.6g}" for each in (self.begin, self.end)]
        return self._part(first, behind, f"it is shown from {there[0]} to {there[1]} s of its video")

    def steps(self, begin: int | None, end: int | None) -> Scene:
        """The part of the scene from one step of the episode to before another one, as Python slices.

        Raises:
            ConfigError: there is nothing between them, or it is not known which frame shows which step.
        """
        if self.reset is None:
            raise ConfigError(
                f"which frame of {self.path} shows which step is not known, as it shows more than episode "
                f"{self.episode.episode} and no steps were recorded: give seconds, --from and --to"
            )
        first = self.begin if begin is None else self.reset + begin
        behind = self.end if end is None else self.reset + end
        there = f"its video has the steps {self.begin - self.reset} to {self.end - self.reset - 1}"
        return self._part(first, behind, there)

    def _part(self, begin: int, end: int, there: str) -> Scene:
        first, behind = max(begin, self.begin), min(end, self.end)
        if first >= behind:
            raise ConfigError(f"nothing of episode {self.episode.episode} of {self.run} is in that part: {there}")
        return replace(self, begin=first, end=behind)


def scene(run: Run, shot: Shot) -> Scene:
    """The scene of an episode: the part of its video that shows it.

    Raises:
        EncodeError: the video cannot be read.
        RunFolderError: the run's steps cannot be read.
    """
    episode, clip = shot
    path = Path(clip.fetch() or "")
    found = survey(path)
    if found.error or not (found.frames and found.fps):
        raise EncodeError(found.error or f"{path} holds no picture")
    frames = round(found.duration_seconds * found.fps)
    steps = _steps(run, episode)
    reset = _reset(clip, episode, steps)
    begin = 0 if reset is None else max(reset, 0)
    end = frames if reset is None or episode.number < 0 else min(reset + episode.length + 1, frames)
    if begin >= end:  # the index and the file do not agree: show the whole file
        begin, end, reset = 0, frames, None
    told = _told(steps) if steps is not None else None
    return Scene(
        path=path,
        fps=found.fps,
        width=found.width,
        height=found.height,
        begin=begin,
        end=end,
        episode=episode,
        run=run.folder,
        reset=reset,
        told=told,
    )


def _steps(run: Run, episode: Episode) -> Steps | None:
    """The steps of an episode; None where none were recorded, or Zstandard is not installed to read them."""
    if not run.step_totals.rows:
        return None
    stream = run.streams[episode.stream].stream
    try:
        return run.steps(episode.episode, env_index=episode.env_index, stream=stream)
    except ConfigError:
        return None


def _reset(clip: Clip, episode: Episode, steps: Steps | None) -> int | None:
    """The frame of a clip that shows an episode's reset, by the rows of steps, or as the clip begins with it."""
    if steps is not None and steps.rows and clip.first_row is not None:
        return int(steps.row[0]) - int(steps["step"][0]) - clip.first_row
    counted = clip.envs[0] if clip.envs else 0
    begins = clip.name.endswith(f"-episode-{episode.episode}") and clip.part == 1 and counted == episode.env_index
    return 0 if begins else None


def _told(steps: Steps) -> Told | None:
    if not steps.rows:
        return None
    step, reward = (np.asarray(steps[name]) for name in ("step", "reward"))
    known = np.arange(step.size) == step  # false from the first step on that is missing
    with np.errstate(all="ignore"):
        sums: NDArray[Any] = np.cumsum(np.where(step == 0, 0.0, reward))
    return Told(step.astype(np.int64), reward, np.where(np.logical_and.accumulate(known), sums, np.nan))
