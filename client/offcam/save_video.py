"""``offcam.save_video``: videos of frames that exist already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym

from offcam.recorder import settings
from offcam.wrappers import arguments
from offcam.wrappers.triggers import capped_cubic_video_schedule, no_episode
from offcam.wrappers.video import RecordVideo
from offcam_proto.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_projectors: dict[tuple[str, str], Projector] = {}
"""This process's projectors, by folder and prefix: calls with the same ones are one recording, with its own names."""


def save_video(
    frames: Sequence[Any],
    video_folder: arguments.Folder,
    episode_trigger: Callable[[int], bool] | None = None,
    step_trigger: Callable[[int], bool] | None = None,
    video_length: int | None = None,
    name_prefix: str = "rl-video",
    episode_index: int = 0,
    step_starting_index: int = 0,
    save_logger: str | None = None,  # noqa: ARG001 - Gymnasium's; there is no progress to show
    *,
    fps: arguments.Number = 30,
    wait: bool = True,
) -> None:
    """Save videos of frames, as `gymnasium.utils.save_video.save_video` does, in a run folder with an index.

    Names, triggers and what each video shows are as there: ``<prefix>-episode-<n>.mp4`` has all frames, and
    ``<prefix>-step-<n>.mp4`` those from that step on.

    Thread: any, one call at a time.

    Args:
        frames: what ``env.render()`` returns with ``render_mode="rgb_array_list"``; the first frame is that of the
            reset.
        video_folder: folder of the videos; it is also the run folder with the index.
        episode_trigger: called with ``episode_index``: whether to save the episode. Without either trigger, episodes
            0, 1, 8, 27, ... 729, 1000, 2000, ... are saved.
        step_trigger: called with the number of each step: whether to save a video from there on.
        video_length: most frames of a video; by default all.
        name_prefix: what file names start with.
        episode_index: number of the episode.
        step_starting_index: number of the episode's first step, counted over all episodes.
        save_logger: ignored.
        fps: frames per second.
        wait: whether to return only when the files are final, as Gymnasium's does; else they become final in the
            background.

    Raises:
        ConfigError: an argument is wrong.
        OffcamError: as `RecordVideo`.
    """
    if not isinstance(frames, (list, tuple)):
        raise ConfigError(
            f"frames must be a list, got {type(frames)}. Pass what `env.render()` returns with "
            'render_mode="rgb_array_list".'
        )
    episode_trigger = arguments.trigger("episode_trigger", episode_trigger)
    step_trigger = arguments.trigger("step_trigger", step_trigger)
    if episode_trigger is None and step_trigger is None:
        episode_trigger = capped_cubic_video_schedule
    length = len(frames) if video_length is None else int(arguments.video_length(video_length))
    projector = projector_of(video_folder, name_prefix)
    rate = arguments.fps(fps)
    if episode_trigger is not None and episode_trigger(episode_index):
        name = f"{name_prefix}-episode-{episode_index}"
        projector.show(frames[:length], name, fps=rate, episode=episode_index, step=step_starting_index)
    if step_trigger is not None:
        for place, step in enumerate(range(step_starting_index, step_starting_index + len(frames) - 1), start=1):
            if step_trigger(step):
                shown = frames[place : place + length]
                projector.show(shown, f"{name_prefix}-step-{step}", fps=rate, episode=episode_index, step=step)
    if wait:
        projector.close()


def projector_of(folder: arguments.Folder, prefix: str) -> Projector:
    """This process's projector for a folder and a prefix."""
    key = settings.absolute(arguments.folder(folder)), prefix
    if key not in _projectors:
        _projectors[key] = Projector(*key)
    return _projectors[key]


class Projector:
    """Shows frames to a RecordVideo, as an env would. It can be used again after `close`.

    Args:
        folder: the run folder.
        prefix: what file names begin with.

    Attributes:
        video: the RecordVideo.
    """

    def __init__(self, folder: str, prefix: str) -> None:
        self._reel = _Reel()
        self.video: RecordVideo[Any, Any] = RecordVideo(
            self._reel, folder, step_trigger=no_episode, video_length=2**53, name_prefix=prefix, overflow="block"
        )

    def show(self, frames: Sequence[Any], name: str, *, fps: float, episode: int = 0, step: int = 0) -> None:
        """Have a video made of frames; it becomes final in the background.

        Args:
            frames: as of ``render()``; without any there is no video.
            name: its file name without ``.mp4``.
            fps: frames per second.
            episode: number of the episode that it shows.
            step: number of the step with which it begins.

        Raises:
            ConfigError: ``name`` is no plain file name.
        """
        if not len(frames):
            return
        video = self.video
        video.frames_per_sec, video.episode_id, video.step_id = fps, episode, step - 1
        video.start_recording(name)
        for place, frame in enumerate(frames):
            self._reel.frame = frame
            if place or len(frames) == 1:  # a reset alone makes no video
                video.step(0)
            else:
                video.reset()
        self._reel.frame = None
        if video.recording:
            video.stop_recording()

    def close(self) -> None:
        """Return when all files are final."""
        self.video.close()


class _Reel(gym.Env[Any, Any]):
    """An env whose picture is whatever was put there. Nothing is known of its rewards."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - as Gymnasium has it
    render_mode = "rgb_array"
    observation_space = gym.spaces.Discrete(1)
    action_space = gym.spaces.Discrete(1)
    frame: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:  # noqa: ARG002
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:  # noqa: ARG002
        return 0, float("nan"), False, False, {}

    def render(self) -> Any:  # noqa: ANN401 - whatever it is
        return self.frame
