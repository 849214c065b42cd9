"""``RecordVideo`` for a single env."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsFloat

import gymnasium as gym
from gymnasium.core import ActType, ObsType
from gymnasium.utils import RecordConstructorArgs

from offcam.recorder import readings, settings
from offcam.wrappers import arguments, shared_stream
from offcam.wrappers.replayed import replaying
from offcam.wrappers.step_rows import StepRows
from offcam.wrappers.video_base import VideoBase, as_given, nothing_to_collect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from offcam.recorder.clip_writer import Overflow
    from offcam.recorder.resuming import IfExists
    from offcam_runs.keep.rules import Rule


class RecordVideo(VideoBase, gym.Wrapper[ObsType, ActType, ObsType, ActType], RecordConstructorArgs):
    """Record videos of episodes, as `gymnasium.wrappers.RecordVideo` does, without slowing the loop.

    Frames are handed to the recorder daemon, which encodes them in its own process; one is started where none
    runs. ``close()`` returns when the files are final.

    Where it differs from Gymnasium's:

    - Every captured frame is in the file exactly once and in order, the terminal frame included.
    - ``video_length=N`` yields N frames (Gymnasium: N + 1).
    - ``render()`` never adds frames to the video; a ``RenderCollection`` beneath may keep its frames
      (``pop_frames=False``) without them being returned twice.
    - Grey ``(H, W)`` and ``(H, W, 1)``, RGBA, bool, and float frames in 0..1 or 0..255 are recorded, whether they are
    numpy's, torch's, JAX's or Pillow's; a batch, or a tuple or dict of cameras, as tiles. Any other frame, or one in a
    device's memory, ends the video with a warning that names the fix. A change of the frame's size begins a
      second file, ``<name>-part2.mp4``.
    - The default ``gc_trigger`` collects nothing, as no frames are kept in this process: ``recorded_frames`` is empty.
    - A wrapper that is dropped without ``close()`` loses nothing.
    - Two recordings with the same names in the same folder at once get a suffix instead of overwriting.

    Thread: that of the env.

    Args:
        env: the environment; its ``render_mode`` must yield images.
        video_folder: folder of the videos; it is also the run folder with the index. Over ``tcp://`` no folder is made
            here: the files are on the daemon's host, below its ``root``, in a folder with this one's name.
        episode_trigger: called with an episode's number: whether to start a video there. If neither trigger is given,
            `offcam.wrappers.triggers.capped_cubic_video_schedule`: episodes 0, 1, 8, 27, ... 729, 1000,
            2000, ...
        step_trigger: called with the number of a step over all episodes: whether to start a video there.
        video_length: frames of a video, which may then span episodes; 0 for whole episodes.
        name_prefix: what file names start with: ``<prefix>-episode-<n>.mp4``, ``<prefix>-step-<n>.mp4``.
        fps: frames per second; by default the env's ``render_fps``, else 30.
        disable_logger: whether ``close()`` shows no progress while it waits, unless that takes long on a terminal.
        gc_trigger: called with an episode's number: whether to collect garbage after its video.
        overflow: what a step does when the daemon is far behind: ``"drop"`` the frame, which is counted, and whose time
            in the video stays empty, or ``"block"`` until there is room, until a daemon that is there and has not
            answered yet does, or, with the first frame, until that can read the shared memory in which a frame survives
            it: at most `timeouts.BLOCK_SECONDS`.
        source: what a video shows. ``"render"``, or ``"frames"``: what the env renders. ``"obs"``: what the agent sees,
            which must be pictures; of a stack the last one is taken, and no ``render_mode`` is needed. ``"replay"``:
            nothing is rendered in the loop. Instead, the steps of each episode are recorded, with all that is needed to
            replay it. A process of its own, at idle priority, replays the episodes that a trigger asks for or that
            ``keep`` keeps, checks each step, and renders them; ``close()`` waits for that, 10 minutes at most. Any
            other episode can be rendered later by `offcam render`. The env must come from `gymnasium.make`, its class
            must be in a module, and its only source of chance must be its ``np_random``; an episode that differs when
            it is replayed has no video, and a warning says so. If the env cannot be made again but renders, frames are
            recorded, and a warning says why. ``"auto"``: videos are of frames until those of `replay.audits.PROOF`
            episodes were compared, picture by picture, with their replays, and then as with ``"replay"``. A few videos
            are still compared, and once one differs, frames are recorded for good, and a warning names the step.
            `recording_source` says which of these is in use.
        resume: go on with the last session of a folder that has a run; the same as ``if_exists="resume"``.
        if_exists: what to do if the folder has a run already: ``"new"`` begins another session of it, ``"resume"`` goes
            on with the last one (numbers of episodes and steps, and names, count on, and nothing is overwritten), and
            ``"error"`` raises. Over ``tcp://`` the daemon is asked how far the run came, for at most
            `timeouts.RESUME_SECONDS` once it is there; if it does not say, a warning does, and a new session is begun.
        strict: whether to raise rather than warn: the constructor if recording is not certain within
            `timeouts.CERTAIN_SECONDS`, and ``close()`` if something was lost. ``OFFCAM=require`` makes every wrapper
            so.
        every_nth_frame: take only each n-th frame of a video, beginning with the first, and always the last; the others
            are neither rendered nor counted as dropped, and the video plays at its right speed. ``video_length`` counts
            all frames. A process that ends without ``close()`` may leave a video without its last frame.
        max_size: ``(width, height)`` in pixels that a video must fit in: the daemon scales larger pictures, all tiles
            together, down. By default videos are as large as the frames.
        crf: quality of the videos, x264's constant rate factor, 0 (lossless) to 51; by default the daemon's (23).
        preset: how much CPU an encoder may spend on a small file: ``"flat"``, which is offcam's own, or x264's,
            ``"ultrafast"`` to ``"veryslow"``; by default the daemon's (``"flat"``, a faster one while it lags).
        encode: when videos are encoded. ``"idle"``: where no other program wants the cores, so that the training has
            them first; and at once when somebody waits, as ``close``, ``flush`` and ``wait_video`` do, or when room for
            frames that wait runs short. ``"now"``: as fast as they can be, beside the training; what is replayed is
            rendered at idle priority all the same.
        on_video: called with the path of each video that is final: on the env's thread, by ``step`` and ``reset``
            before they touch the env, and by ``flush``, ``wait_video`` and ``close``. What it raises passes through, as
            with a trigger. It is not called for videos that become final after ``close``, or if that is never called.
            It is not part of the env's spec, which as JSON can hold no function.
        keep: the rule by which videos are kept, decided once their episodes are over: ``offcam.keep.failures() |
            offcam.keep.worst(3)``, or such a rule's text; see `offcam.keep`. If no trigger is given, every episode has
            a video until then, so that on the disk are those that are kept and one that is being recorded. A ranking is
            over a session: over all envs in the folder that have this rule and this ``name_prefix``. A video whose
            episode's end is not known, as its process was killed, is kept, too; one that ``close()`` cuts short is not.
            With ``source="replay"`` only videos that are kept are rendered. If a kept episode differs when it is
            replayed, it has no video and keeps its place in the ranking.
        keep_bytes: most bytes of the videos that are kept; by default 4 GiB. The oldest are removed first, those in a
            ranking last.
        steps: whether to record the steps of every episode, with or without a video: reward, flags and action of each,
            and the numbers of `offcam.trace`.
        steps_limit: most bytes of steps that the run may have on the disk, and of records that may wait for a daemon;
            by default the daemon's bound, and 1 GiB.
        last_seconds: have the daemon hold so many seconds of video, across episodes, and write them when it matters: on
            `save_clip`, on an exception that comes out of ``step``, ``reset`` or ``render``, on a reward that is NaN
            (once an episode), and if this process vanishes. Such a video begins up to a fifth earlier, at a keyframe.
            Every step is rendered, or each n-th by ``every_nth_frame``. If neither a trigger nor ``keep`` is given, no
            other videos are recorded. What is held is lost with the daemon, on ``close()``, and when the frame's size
            changes; the daemon holds at most 64 MiB of it.
        seconds_after: how many seconds follow the event in such a video; by default none.

    Raises:
        TypeError: ``env`` is no single env.
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
        env: gym.Env[ObsType, ActType],
        video_folder: arguments.Folder,
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
        arguments.check_single(env, "RecordVideo")
        video_folder, source = arguments.folder(video_folder), arguments.shown(source)
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
        kept = arguments.to_keep(keep, keep_bytes, options) | arguments.to_hold(last_seconds, seconds_after)
        replays = arguments.replays(source, kept.get("keep"), last_seconds)
        rows = StepRows(env.action_space) if arguments.flag("steps", steps) or replays else None
        limit = arguments.steps_limit(steps_limit, steps=steps or replays)
        given = {**options, **kept, "steps": steps, "steps_limit": limit}
        RecordConstructorArgs.__init__(self, video_folder=video_folder, **as_given(given))
        if replays and settings.enabled():
            self._replaying = replaying(env, source)
            if self._replaying is None:
                arguments.of_frames(kept.get("keep"))
                options["source"] = "render"
            else:
                env, rows = self._replaying.env, StepRows(env.action_space, tape=self._replaying.tapes[0])
        gym.Wrapper.__init__(self, env)
        callback = arguments.on_video(on_video)
        self._set_up(video_folder, **options, **kept, on_video=callback, steps=rows, steps_limit=limit)
        self._num_envs = readings.number_of_envs(env)
        self._autoreset = shared_stream.autoreset_beneath(env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Reset the env, and start a video if this episode is to have one."""
        if self._tells:
            self._tell_of_videos()
        which = None if self._num_envs is None or self._over else readings.reset_mask(options, self._num_envs)
        if which is None or which[0]:
            self._picture_goes(resets=True)
        self._seen = None
        with self._saving():
            obs, info = super().reset(seed=seed, options=options)
        self._forget_renders()
        self._observation = obs
        self._looks_ahead = False
        if which is not None and not which[0]:
            return obs, info  # the first sub-environment was not reset, and episodes are counted by that
        self._next_episode()
        if self._steps is not None:
            self._steps.reset(self.episode_id)
        if self.recording:
            self._capture_frame(resets=True)
        if self._last_seconds is not None:
            self._watch()
        return obs, info

    def step(self, action: ActType) -> tuple[ObsType, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the env and add the frame if a video is being recorded."""
        resets = self._over and self._autoreset is not None and self._autoreset.autoreset
        if self._tells or self._left_out:
            self._before_step(resets=resets)
        steps = None if self._looks_ahead else self._steps
        given = action if steps is None or steps.plain else steps.given(action)
        self._seen = None
        try:
            obs, reward, terminated, truncated, info = self.env.step(action)
        except Exception as error:
            self._failed(error)
            raise
        self._observation = obs
        if self._over:  # the episode ended, and the env was not reset
            self._next_episode()
        if not resets:
            self.step_id += 1
            ends = terminated is not False or truncated is not False
            self._over = ends and readings.over(terminated, truncated) is True
            if self.step_trigger:
                self._ask_step_trigger()
        if steps is not None and not resets:
            steps.step(self.episode_id, given, reward, terminated, truncated)
        elif steps is not None:
            steps.reset(self.episode_id)
        if self._recording or self._last_seconds is not None:
            self._look(reward, terminated, truncated, info, resets=resets)
        return obs, reward, terminated, truncated, info

    def _before_step(self, *, resets: bool) -> None:
        if self._tells:
            self._tell_of_videos()
        if self._left_out:
            self._picture_goes(begins=not resets and self._begins_next("step_trigger", self.step_id), resets=resets)

    def _look(
        self, reward: SupportsFloat, terminated: bool, truncated: bool, info: dict[str, Any], *, resets: bool
    ) -> None:
        """Take notice of a step while a video is being recorded, or frames that may become one are."""
        if self.recording:
            self._capture_frame(resets=resets, last=self._over and self._whole)
            if not resets:
                self._took(reward, terminated, truncated, info)
        if self._last_seconds is not None:
            self._watch(None if resets else reward, nan=readings.is_nan(reward))

    def _took(self, reward: SupportsFloat, terminated: bool, truncated: bool, info: dict[str, Any]) -> None:
        """Add a step that was taken to the video, which shows it."""
        if self._judging is not None:
            self._judging.step(reward, terminated, truncated, info)
        self._stepped(reward, over=self._over)

    def render(self) -> Any:  # noqa: ANN401 - whatever the env renders
        """What the env renders; in a list mode together with the frames that recording has taken from it meanwhile."""
        with self._saving():
            rendered: Any = super().render()
        if not self.render_history or not isinstance(rendered, list):
            return rendered
        history, self.render_history = self.render_history, []
        if rendered and rendered[0] is history[0]:
            return rendered  # the RenderCollection beneath keeps its frames itself
        return history + rendered

    def close(self) -> None:
        """Close the env, end the video, and return when all files are final.

        Raises:
            RecordingLost: if strict, where something is not recorded.
        """
        try:
            self._take_left_out()
            super().close()
        finally:  # the env may raise
            self._close_recording()

    def _capture_frame(self, *, resets: bool = False, last: bool = False) -> None:
        assert self.recording, "Cannot capture a frame, recording wasn't started."  # noqa: S101 - as Gymnasium's
        if self._end_if_full(resets=resets) or self._leave_out(resets=resets, last=last):
            return
        if self._source == "replay":
            self._add_place(resets=resets)
            return
        frame = self._picture()
        if isinstance(frame, list) and not frame and self._source != "obs":
            self._warn(
                "no frame",
                "Trying to capture render frame but 'env.render()' has just been called. The frame cannot be captured.",
            )
            self._frames += self._steps is not None and self._frames > 0  # a row without a frame: its time stays empty
            return
        self._add_frame(frame, resets=resets)

    def _picture(self) -> Any:  # noqa: ANN401 - whatever the env renders
        if self._source == "obs":
            return self._observed(self._observation)
        if self._seen is not None:
            return self._seen
        with self._saving():
            frame: Any = self.env.render()
        if isinstance(frame, list) and len(frame) != self._num_envs:  # else it has a frame of each sub-environment
            if not frame:
                return frame
            self._remember_renders(frame)
            frame = frame[-1]
        if self._last_seconds is not None:
            self._seen = frame
        return frame

    def _remember_renders(self, frames: list[Any]) -> None:
        """Keep what recording took from a list-mode env, for the user's own ``render()``."""
        if self.render_history and frames[0] is self.render_history[0]:
            self.render_history = list(frames)
        else:
            self.render_history += frames

    def _forget_renders(self) -> None:
        """Drop these frames at a reset if the RenderCollection beneath would have, so that they do not pile up."""
        if self.render_history and self._collection_cleans():
            self.render_history = []

    def _collection_cleans(self) -> bool:
        try:
            return bool(self.env.get_wrapper_attr("reset_clean"))
        except AttributeError:
            return True
