"""``RecordVideo`` for a vector env."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.core import ActType, ObsType
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from offcam import logger
from offcam.recorder import readings, settings
from offcam.vector.autoreset import autoreset_mode
from offcam.vector.followed import Followed, OneOfMany
from offcam.vector.screen import Screen
from offcam.vector.step_rows import VectorStepRows
from offcam.vector.terminal_frames import TerminalFrames
from offcam.vector.vector_wrapper import VectorWrapper
from offcam.wrappers import arguments
from offcam.wrappers.replayed import replaying_of
from offcam.wrappers.video_base import as_given, nothing_to_collect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from offcam.recorder.clip_writer import Overflow
    from offcam.recorder.resuming import IfExists
    from offcam.replay.tape_log import TapeLog
    from offcam_runs.keep.rules import Rule


class RecordVideo(Followed, VectorWrapper[ObsType, ActType, ObsType, ActType, np.ndarray], RecordConstructorArgs):
    """Record videos of a vector env, as `gymnasium.wrappers.vector.RecordVideo` does, without slowing the loop.

    All sub-environments, or those of ``record_envs``, are shown in one picture, side by side in a grid, which the
    daemon puts together off the agent's thread. Episodes are those of the first sub-environment shown; triggers are
    asked about these. With ``per_env`` each sub-environment has files of its own, ``<prefix>-env-<i>-episode-<n>.mp4``,
    of its own episodes. In Gymnasium's vector envs and EnvPool only sub-environments that an open video shows are
    rendered; other vector envs render all.

    Where it differs from Gymnasium's, besides what `offcam.RecordVideo` says:

    - Any number of sub-environments makes a grid close to the requested aspect, with black tiles at the end if it is
    not full (Gymnasium: only exact divisions, so that 7 become a strip).
    - Under SAME_STEP autoreset the terminal frame is in the video where the sub-environments live in this
      process (`SyncVectorEnv`). Elsewhere it cannot be reached, nor can one before it that ``every_nth_frame`` has
      left out; the warning of Gymnasium then stands. Of the
      other sub-environments, one that ends in a step shows its terminal frame there, not its first new one.
    - In a pool that returns some sub-environments at a time (EnvPool with a ``batch_size``), a video has a frame for
    each step of the first that it shows; the others appear as of their last result.
    - A vector env whose render mode is a list shows each sub-environment's last frame (Gymnasium: fails).

    Thread: that of the env.

    Args:
        env: the vector environment; its ``render_mode`` must yield images.
        video_folder: folder of the videos; it is also the run folder with the index. Over ``tcp://`` no folder is made
            here: the files are on the daemon's host, below its ``root``, in a folder with this one's name.
        video_aspect_ratio: ``(width, height)``, the ratio that the whole grid is to come close to.
        record_first_only: whether to show sub-environment 0 alone.
        episode_trigger, step_trigger, video_length, name_prefix, fps, disable_logger, gc_trigger, overflow, source,
            resume, if_exists, strict, every_nth_frame, max_size, crf, preset, encode, on_video, keep, keep_bytes,
            steps, steps_limit: as in `offcam.RecordVideo`, and last_seconds, seconds_after, for one picture of all, not
            with ``per_env``. ``source="obs"`` is for envs that cannot render; ``source="replay"`` for the single ones
            of a `SyncVectorEnv`, at most 256, and with ``"auto"`` frames are recorded. A rule judges the episodes of
            the first sub-environment that a video shows, and so with ``per_env`` those of all, in one ranking. A row of
            the steps tells of all sub-environments.
        record_envs: the sub-environments to show, by index, or how many of the first ones; by default all.
        per_env: whether each of them has videos of its own; a ``step_trigger`` is then asked once for all of them.

    Raises:
        TypeError: ``env`` is no vector env.
        ValueError: ``render_mode`` yields no images.
        ConfigError: another argument or an environment variable is wrong.
        KeyRefused: over ``tcp://``, the daemon does not take this client's key, or is not the one that it is for.
        FolderNotWritable: the folder cannot be made or written.
        RunFolderError: the index of a run that is to be resumed cannot be read.
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
        source: arguments.Source = "render",
        resume: bool = False,
        if_exists: IfExists = "new",
        strict: bool = False,
        record_envs: int | Sequence[int] | None = None,
        per_env: bool = False,
        every_nth_frame: arguments.Whole = 1,
        max_size: Sequence[arguments.Whole] | None = None,
        crf: arguments.Whole | None = None,
        preset: str | None = None,
        encode: arguments.Encode = "idle",
        on_video: Callable[[str], object] | None = None,
        keep: Rule | str | None = None,
        keep_bytes: arguments.Whole | None = None,
        steps: bool = False,
        steps_limit: arguments.Whole | None = None,
        last_seconds: arguments.Number | None = None,
        seconds_after: arguments.Number = 0,
    ) -> None:
        arguments.check_vector(env, "RecordVideo")
        video_folder, source = arguments.folder(video_folder), arguments.shown(source)
        self._envs = arguments.record_envs(record_envs, env.num_envs, first_only=record_first_only, per_env=per_env)
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
            "if_exists": arguments.where_a_run_is(resume, if_exists),
            "strict": arguments.flag("strict", strict),
            **arguments.to_record_less(every_nth_frame, max_size, crf, preset),
            "encode": arguments.encode(encode),
        }
        held = arguments.to_hold(last_seconds, seconds_after, per_env=per_env)
        kept = arguments.to_keep(keep, keep_bytes, options) | held
        replays = arguments.replays(source, kept.get("keep"), last_seconds)
        limit = arguments.steps_limit(steps_limit, steps=steps or replays)
        tapes: Sequence[TapeLog] = ()
        if replays and settings.enabled():
            self._replaying = replaying_of(env, source, self._envs, per_env=per_env)
            options["source"] = "render" if self._replaying is None else source
            tapes = () if self._replaying is None else self._replaying.tapes
        self._env_index = self._envs[0] if self._envs else 0
        VectorWrapper.__init__(self, env)
        RecordConstructorArgs.__init__(
            self,
            video_folder=video_folder,
            video_aspect_ratio=video_aspect_ratio,
            record_first_only=record_first_only,
            record_envs=list(self._envs) if record_envs is not None else None,
            per_env=per_env,
            **as_given({**options, "source": source, **kept, "steps": steps, "steps_limit": limit}),
        )
        if options["source"] == "render":
            self._check_render_mode()
        self.record_first_only = record_first_only
        self.video_aspect_ratio = arguments.aspect_ratio(video_aspect_ratio)
        self.frame_rows = -1
        self.frame_cols = -1
        self.has_autoreset = False
        self.autoreset_mode = self._find_autoreset_mode()
        if per_env:
            longest = len(f"-env-{self.num_envs}")
            arguments.name("name_prefix", name_prefix, room=arguments.NUMBER_BYTES + longest)
        rows = None
        if arguments.flag("steps", steps) or replays:
            rows = VectorStepRows(env.single_action_space, env.num_envs, self.autoreset_mode, tapes)
        callback = arguments.on_video(on_video)
        self._set_up(video_folder, **options, **kept, on_video=callback, steps=rows, steps_limit=limit)
        if rows is not None and self._stream is not None and self._stream.before is not None:
            rows.go_on_from(self._stream.before.episodes)
        self._rows = rows if self._stream is not None else None
        self._screen = Screen(self.env, self._observed if source == "obs" else None)
        self._each = tuple([OneOfMany(self, index) for index in self._envs]) if per_env else ()
        self._screen.terminal = self._find_terminal_frames()  # last, so that a failed construction leaves the env as is

    def _find_autoreset_mode(self) -> AutoresetMode:
        mode = autoreset_mode(self.env)
        if mode is None:
            logger.warn(
                f"{self.env} metadata doesn't specify its autoreset mode ({self.env.metadata!r}), "
                "therefore, defaulting to next step."
            )
            return AutoresetMode.NEXT_STEP
        return AutoresetMode(mode)

    def _find_terminal_frames(self) -> TerminalFrames | None:
        if self.autoreset_mode is not AutoresetMode.SAME_STEP or self._source != "render":
            return None
        base = self.env.unwrapped
        if isinstance(base, SyncVectorEnv):
            return TerminalFrames(base.envs)
        logger.warn(
            "Vector environment's autoreset mode is same-step (https://farama.org/Vector-Autoreset-Mode). "
            "Recorded episodes will not contain the last frame of the episode."
        )
        return None

    @property
    def _videos(self) -> Sequence[Followed]:
        """The objects that record videos: this one, or with ``per_env`` one for each sub-environment."""
        return self._each or (self,)

    def _records(self) -> bool:
        return any(video.recording for video in self._each) if self._each else super()._records()

    def start_recording(self, video_name: str) -> None:
        """Start a new video, or one of each sub-environment, ending those that are being recorded.

        Args:
            video_name: the video's file name without ``.mp4``, in `video_folder`; with ``per_env`` the names are
                ``<video_name>-env-<i>``.

        Raises:
            ConfigError: ``video_name`` is no plain file name.
        """
        for video in self._each:
            video.start_recording(f"{video_name}-env-{video.env_index}")
        if not self._each:
            super().start_recording(video_name)

    def stop_recording(self) -> None:
        """End what is being recorded. Its files become final in the background; `flush` waits for them."""
        for video in self._each:
            if video.recording:
                video.stop_recording()
        if not self._each:
            super().stop_recording()

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Reset the sub-environments, and start a video if this episode is to have one."""
        if self._tells:
            self._tell_of_videos()
        mask = None if options is None else options.get("reset_mask")  # read before the env beneath takes it out
        mask = readings.reset_mask(options, self.num_envs) if mask is None else mask
        self._looks_ahead = False
        begun = [video._before_reset(mask) for video in self._videos]  # noqa: SLF001 - our own kind, as below
        with self._saving():
            obs, info = super().reset(seed=seed, options=options)  # type: ignore[arg-type]  # vector envs take a list, too
        self._screen.stepped(obs, info)
        if self._rows is not None:
            self._rows.reset_some(mask)
        for video, resets in zip(self._videos, begun, strict=True):
            video._after_reset(resets=resets)  # noqa: SLF001
        self.episode_id = self._videos[0].episode_id
        if begun[0] is not None:
            self._watch_some(None)
        return obs, info

    def step(self, actions: ActType) -> tuple[ObsType, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Step the sub-environments and add a picture of those that are shown if a video is being recorded."""
        if self._tells:
            self._tell_of_videos()
        if any(video._left_out for video in self._videos):  # noqa: SLF001
            begins = self._begins_next("step_trigger", self.step_id)
            for video in self._videos:
                video._picture_goes(begins=begins, resets=video.has_autoreset)  # noqa: SLF001
        if self._screen.terminal is not None:
            self._screen.terminal.arm(self._on_show())
        rows = None if self._looks_ahead else self._rows
        given = None if rows is None else rows.given(actions)
        with self._saving():
            obs, rewards, terminations, truncations, info = self.env.step(actions)
        self._screen.stepped(obs, info)
        if rows is not None:
            rows.step_all(given, rewards, terminations, truncations, info)
        self.step_id += 1
        resets = self.has_autoreset and self.autoreset_mode is AutoresetMode.NEXT_STEP
        self._watch_some(None if resets else rewards)  # before terminal frames are let go
        self._show_some(terminations, truncations)
        if self._each:
            begins = self._begins("step_trigger", self.step_id)
            for video in self._each:
                video.step_id, video.begins_now = self.step_id, begins
        for each in self._videos:
            each._follow(rewards, terminations, truncations, info)  # noqa: SLF001
        self.episode_id = self._videos[0].episode_id
        return obs, rewards, terminations, truncations, info

    def _unended_by(self, why: str) -> None:
        for video in self._each:
            video._unended_by(why)  # noqa: SLF001 - our own kind
        super()._unended_by(why)

    def _show_some(self, terminations: object, truncations: object) -> None:
        """Render together the sub-environments that open videos show in this step."""
        if self._source == "replay":
            return
        if self._each:
            self._screen.prepare([video.env_index for video in self._each if video._takes(terminations, truncations)])  # noqa: SLF001 - our own kind
        elif self._screen.of_some:
            self._screen.prepare(self._on_show())

    def _watch_some(self, rewards: object) -> None:
        """Have the last seconds' ring take what is shown, if the first sub-environment shown has a result."""
        row = None if self._last_seconds is None else self._screen.row(self._shown[0])
        if row is not None:
            reward = None if rewards is None else readings.at(row, rewards)
            self._watch(reward, nan=readings.is_nan(rewards), aspect=self.video_aspect_ratio)

    def _picture(self) -> Any:  # noqa: ANN401 - whatever the env renders
        with self._saving():
            return self._screen.show(self._shown)

    def _on_show(self) -> list[int]:
        """The sub-environments that an open video shows."""
        return [index for video in self._videos if video._open_now for index in video._shown]  # noqa: SLF001

    def close(self, **kwargs: Any) -> None:  # noqa: ANN401 - as Gymnasium's
        """Close the env, end the video, and return when all files are final.

        Raises:
            RecordingLost: if strict, where something is not recorded.
        """
        try:
            for video in self._videos:
                video._take_left_out()  # noqa: SLF001
            super().close(**kwargs)
        finally:  # the env may raise
            self._close_recording()

    def _capture_frame(self, *, resets: bool = False, last: bool = False) -> None:
        assert self.recording, "Cannot capture a frame, recording wasn't started."  # noqa: S101 - as Gymnasium's
        if self._end_if_full(resets=resets) or self._leave_out(resets=resets, last=last):
            return
        if self._source == "replay":
            self._add_place(resets=resets)
            return
        grid = self._add_frame(self._screen.show(self._shown), self.video_aspect_ratio, resets=resets)
        if grid is not None:
            self.frame_rows, self.frame_cols = grid
