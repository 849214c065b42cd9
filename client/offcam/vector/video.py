"""``RecordVideo`` for a vector env."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import logger
from gymnasium.core import ActType, ObsType
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from offcam.recorder import readings
from offcam.vector.terminal_frames import TerminalFrames
from offcam.vector.vector_wrapper import VectorWrapper
from offcam.wrappers import arguments
from offcam.wrappers.video_base import Source, VideoBase, as_given, nothing_to_collect
from offcam_proto.layout import CHANNELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from offcam.recorder.clip_writer import Overflow
    from offcam.recorder.resuming import IfExists


class RecordVideo(VideoBase, VectorWrapper[ObsType, ActType, ObsType, ActType, np.ndarray], RecordConstructorArgs):
    """Record videos of a vector env, as `gymnasium.wrappers.vector.RecordVideo` does, without slowing the loop.

    All sub-environments are shown in one picture, side by side in a grid; the daemon puts it together, the
    agent's thread does not. Episodes are counted, and triggers asked, by sub-environment 0.

    Where it differs from Gymnasium's, besides what `offcam.RecordVideo` says:

    - Any number of sub-environments makes a grid close to the aspect asked for, with black tiles at the end
      where it does not fill (Gymnasium: only exact divisions, so that 7 become a strip).
    - Under SAME_STEP autoreset the terminal frame is in the video where the sub-environments live in this
      process (`SyncVectorEnv`). Elsewhere it cannot be reached; the warning of Gymnasium then stands. Of the
      other sub-environments, one that ends in a step shows its terminal frame there, not its first new one.
    - A vector env whose render mode is a list shows each sub-environment's last frame (Gymnasium: fails).

    Thread: that of the env.

    Args:
        env: the vector environment; its ``render_mode`` must yield images.
        video_folder: folder of the videos; it is also the run folder with the index. Over ``tcp://`` nothing is made
            here: the files are on the daemon's host, below its ``root``, in a folder with this one's name.
        video_aspect_ratio: ``(width, height)`` of the whole picture that the grid comes close to.
        record_first_only: whether to show sub-environment 0 alone.
        episode_trigger, step_trigger, video_length, name_prefix, fps, disable_logger, gc_trigger, overflow, source,
            if_exists, strict: as in `offcam.RecordVideo`. ``source="obs"`` is for vector envs that cannot render.

    Raises:
        TypeError: ``env`` is no vector env, or ``video_folder`` no path.
        ValueError: ``render_mode`` yields no images.
        ConfigError: another argument or an environment variable is wrong.
        KeyRefused: over ``tcp://``, the daemon does not take this client's key, or is not the one that it is for.
        FolderNotWritable: the folder cannot be made or written.
        DaemonNotInstalled: no daemon runs and the ``server`` extra is not installed.
        DaemonUnavailable, VersionMismatch: only if strict.
    """

    def __init__(
        self,
        env: VectorEnv[ObsType, ActType, np.ndarray],
        video_folder: arguments.Folder,
        video_aspect_ratio: tuple[int, int] = (1, 1),
        record_first_only: bool = False,
        episode_trigger: Callable[[int], bool] | None = None,
        step_trigger: Callable[[int], bool] | None = None,
        video_length: arguments.Number = 0,
        name_prefix: str = "rl-video",
        fps: arguments.Number | None = None,
        disable_logger: bool = True,
        gc_trigger: Callable[[int], bool] | None = nothing_to_collect,
        *,
        overflow: Overflow = "drop",
        source: Source = "render",
        if_exists: IfExists = "new",
        strict: bool = False,
    ) -> None:
        arguments.check_vector(env, "RecordVideo")
        video_folder = arguments.folder(video_folder)
        options: dict[str, Any] = {
            "episode_trigger": episode_trigger,
            "step_trigger": step_trigger,
            "video_length": arguments.video_length(video_length),
            "name_prefix": name_prefix,
            "fps": fps if fps is None else arguments.fps(fps),
            "disable_logger": disable_logger,
            "gc_trigger": gc_trigger,
            "overflow": overflow,
            "source": source,
            "if_exists": if_exists,
            "strict": strict,
        }
        VectorWrapper.__init__(self, env)
        RecordConstructorArgs.__init__(
            self,
            video_folder=video_folder,
            video_aspect_ratio=video_aspect_ratio,
            record_first_only=record_first_only,
            **as_given(options),
        )
        if source == "render":
            self._check_render_mode()
        self.record_first_only = record_first_only
        self.video_aspect_ratio = arguments.aspect_ratio(video_aspect_ratio)
        self.frame_rows = -1
        self.frame_cols = -1
        self.has_autoreset = False
        self.autoreset_mode = self._find_autoreset_mode()
        self._set_up(video_folder, **options)
        self._render_ids = self._find_render_ids()
        self._terminal = self._find_terminal_frames()  # last: a construction that fails leaves the env as it was

    def _find_autoreset_mode(self) -> AutoresetMode:
        mode = self.env.metadata.get("autoreset_mode")
        if mode is None:
            logger.warn(
                f"{self.env} metadata doesn't specify its autoreset mode ({self.env.metadata!r}), "
                "therefore, defaulting to next step."
            )
            return AutoresetMode.NEXT_STEP
        return AutoresetMode(mode)

    def _find_terminal_frames(self) -> TerminalFrames | None:
        if self.autoreset_mode is not AutoresetMode.SAME_STEP or self._source == "obs":
            return None
        base = self.env.unwrapped
        if isinstance(base, SyncVectorEnv):
            return TerminalFrames(base)
        logger.warn(
            "Vector environment's autoreset mode is same-step (https://farama.org/Vector-Autoreset-Mode). "
            "Recorded episodes will not contain the last frame of the episode."
        )
        return None

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Reset the sub-environments, and start a video if this episode is to have one."""
        first = (
            options is None
            or "reset_mask" not in options
            or readings.flag(readings.first(options["reset_mask"])) is True
        )
        self._looks_ahead = False
        if first:
            self._next_episode()
        obs, info = super().reset(seed=seed, options=options)  # type: ignore[arg-type]  # vector envs take a list, too
        self._observation = obs
        if self.recording and (first or not self.record_first_only):
            self._capture_frame(resets=first)
        self.has_autoreset = False
        return obs, info

    def step(self, actions: ActType) -> tuple[ObsType, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Step the sub-environments and add a picture of them all if a video is being recorded."""
        if self._terminal is not None:
            self._terminal.arm(wanted=self.recording)
        obs, rewards, terminations, truncations, info = self.env.step(actions)
        self._observation = obs
        self.step_id += 1
        over = readings.over(readings.first(terminations), readings.first(truncations)) is True
        reward = readings.first(rewards)
        counted = False
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            if self.has_autoreset:
                self._next_episode()
                counted = True  # the step that resets takes no step of the new episode
            self.has_autoreset = over
        elif self.autoreset_mode is AutoresetMode.SAME_STEP and over:
            if self.recording and self._terminal is not None:
                self._capture_frame()
            self._stepped(reward, over=True)
            counted = True
            self._next_episode()
        if self._terminal is not None and over:
            self._terminal.forget()
        self._ask_step_trigger()
        if self.recording:
            self._capture_frame()
            if not counted:
                self._stepped(reward, over=over)
        return obs, rewards, terminations, truncations, info

    def close(self, **kwargs: Any) -> None:  # noqa: ANN401 - as Gymnasium's
        """Close the env, end the video, and return when all files are final.

        Raises:
            RecordingLost: if strict, where something is not recorded.
        """
        try:
            super().close(**kwargs)
        finally:  # the env may raise
            self._close_recording()

    def _capture_frame(self, *, resets: bool = False) -> None:
        assert self.recording, "Cannot capture a frame, recording wasn't started."  # noqa: S101 - as Gymnasium's
        if self._end_if_full(resets=resets):
            return
        shown = self._observed_of_each() if self._source == "obs" else self._rendered_of_each()
        if isinstance(shown, tuple) and self._terminal is not None and len(shown) == self.num_envs:
            shown = self._terminal.show(shown)
        if isinstance(shown, tuple) and self.record_first_only:
            shown = shown[:1]
        grid = self._add_frame(shown, self.video_aspect_ratio, resets=resets)
        if grid is not None:
            self.frame_rows, self.frame_cols = grid

    def _rendered_of_each(self) -> Any:  # noqa: ANN401 - whatever the env renders
        """A frame of each sub-environment in a tuple, or the one picture that the env renders of them all."""
        rendered: Any = self.env.render() if self._render_ids is None else self.env.unwrapped.render(self._render_ids)
        if isinstance(rendered, (list, tuple)):
            return tuple(frame[-1] if isinstance(frame, list) and frame else frame for frame in rendered)
        shape = readings.shape_of(rendered)
        batch = len(shape) == 4 or (len(shape) == 3 and shape[2] not in CHANNELS and shape[0] == self.num_envs)
        return tuple(rendered) if batch and isinstance(rendered, np.ndarray) else rendered

    def _observed_of_each(self) -> Any:  # noqa: ANN401 - whatever the env observes
        """The picture in each sub-environment's observation in a tuple; what has none as it is."""
        batch = self._observation
        try:
            if isinstance(batch, dict):
                batch = next(part for part in batch.values() if len(readings.shape_of(part)) >= 3)
            return batch if readings.on_device(batch) else tuple(map(self._observed, batch))
        except (StopIteration, *readings.UNREADABLE):
            return batch

    def _find_render_ids(self) -> Any:  # noqa: ANN401 - whatever the env takes
        """What to ask EnvPool's render for, which shows its first sub-environment else; None for other envs."""
        try:
            takes = inspect.signature(self.env.unwrapped.render).parameters
        except (TypeError, ValueError):
            return None
        count = 1 if self.record_first_only else self.num_envs
        return np.arange(count, dtype=np.int32) if "env_ids" in takes else None
