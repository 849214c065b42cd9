"""What the single and the vector RecordVideo share: all but when an episode begins and how its pictures are made."""

from __future__ import annotations

import gc
import math
from glob import glob
from typing import TYPE_CHECKING, Any, ClassVar

from offcam import logger
from offcam.recorder import frames, readings, settings
from offcam.recorder.clip_writer import ClipWriter, Encoding
from offcam.recorder.final_videos import FinalVideos
from offcam.recorder.losses import Losses
from offcam.recorder.once import WarnsOnce
from offcam.wrappers import arguments, shared_stream
from offcam.wrappers.box_keeper import BoxKeeper
from offcam.wrappers.judging import Judging
from offcam.wrappers.triggers import capped_cubic_video_schedule, each_episode, no_episode
from offcam_proto.errors import ConfigError, FrameError
from offcam_runs.discover import is_run
from offcam_runs.keep.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcam.recorder.clip_writer import Overflow
    from offcam.recorder.resuming import IfExists
    from offcam.replay.clip import ReplayClip
    from offcam.replay.recording import Replaying
    from offcam.wrappers.step_rows import StepRows


def nothing_to_collect(episode: int) -> bool:  # noqa: ARG001 - a trigger's signature
    """The default ``gc_trigger``: False, as no frames are held in this process that a collection could free.

    Gymnasium collects garbage after every video, which stalls the loop; a trigger of your own is obeyed.
    """
    return False


def as_given(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments for the env's spec, without those that have their default. As JSON the spec can hold no function.

    A rule is given as its text, unless it calls a function of the user's.
    """
    given = {key: value for key, value in options.items() if value is not nothing_to_collect}
    if isinstance(rule := given.get("keep"), Rule) and "when(" not in str(rule):
        given["keep"] = str(rule)
    return given


NO_PICTURES = (None, "human", "ansi")
"""Modes of ``render`` that yield no images."""


class VideoBase(BoxKeeper):
    """The recording half of a RecordVideo wrapper; its other base is a Gymnasium wrapper.

    Attributes:
        recorded_frames: always empty, since no frames are kept here; there for those who clear it.
        video_folder: absolute path of the folder of the videos. Over ``tcp://`` it is only their name: they are on the
            daemon's host, below its ``root``, in a folder named by this and a hash.
        frames_per_sec: frames per second of the videos.
        name_prefix: what the videos' names start with.
        video_length: most frames of a video, infinite for whole episodes.
        step_id: 0-based number of the last step over all episodes, -1 before the first.
        episode_id: 0-based number of the episode, -1 before the first.
    """

    _steps: StepRows | None = None  # the rows of its steps, where they are recorded
    _strict = False
    _replaying: Replaying | None = None  # set where its videos are made of replayed episodes
    _source: arguments.Source
    _chooses = False  # whether `_replaying` decides for each video if it is of frames or of a replay
    _judging: Judging | None = None  # judges its videos by a rule, if they have one
    _env_index: int | None = None  # the sub-environment that replayed videos of a vector env show
    _envs: tuple[int, ...] = ()  # the sub-environments that its videos show, the one that is counted first; () for all
    _not_copied: ClassVar[dict[str, Any]] = {
        "_clip": None,
        "_first": None,
        "_recording": False,
        "_left_out": False,
        "_box": None,
        "_seen": None,
        "_replaying": None,
    }
    env: Any
    metadata: dict[str, Any]

    def _set_up(
        self,
        video_folder: str,
        *,
        episode_trigger: Callable[[int], bool] | None,
        step_trigger: Callable[[int], bool] | None,
        video_length: float,
        name_prefix: str,
        fps: float | None,
        disable_logger: bool,
        gc_trigger: Callable[[int], bool] | None,
        overflow: Overflow,
        source: arguments.Source,
        if_exists: IfExists,
        strict: bool,
        every_nth_frame: int,
        max_size: list[int] | None,
        crf: int | None,
        preset: str | None,
        encode: arguments.Encode,
        on_video: Callable[[str], object] | None,
        keep: Rule | None = None,
        keep_bytes: int | None = None,
        steps: StepRows | None = None,
        steps_limit: int | None = None,
        last_seconds: float | None = None,
        seconds_after: float = 0.0,
    ) -> None:
        self._last_seconds, self._seconds_after = last_seconds, seconds_after
        self._set_source(source)
        self._judging = None if keep is None else Judging(keep, keep_bytes or 0)
        if episode_trigger is None and step_trigger is None:
            alone = capped_cubic_video_schedule if last_seconds is None else no_episode
            episode_trigger = alone if keep is None else each_episode
        if overflow not in ("drop", "block"):
            raise ConfigError(f"overflow must be 'drop' or 'block', got {overflow!r}.")
        self.episode_trigger = arguments.trigger("episode_trigger", episode_trigger)
        self.step_trigger = arguments.trigger("step_trigger", step_trigger)
        self.disable_logger = disable_logger
        self.gc_trigger = arguments.trigger("gc_trigger", gc_trigger)
        self.name_prefix = arguments.name("name_prefix", name_prefix, room=arguments.NUMBER_BYTES)
        self.frames_per_sec = arguments.fps(self.metadata.get("render_fps", 30) if fps is None else fps)
        self.video_length: float = video_length if video_length != 0 else math.inf
        self._overflow = overflow
        self._every = every_nth_frame if source != "replay" else 1  # in a replay, the renderer leaves frames out
        self._rendered_every = every_nth_frame
        width, height = max_size or (0, 0)
        self._encoding = Encoding(
            fps=0.0, max_width=width, max_height=height, preset=preset or "", crf=crf, urgent=encode == "now"
        )
        self._begin_counting()
        self._tells = on_video is not None
        self.video_folder = settings.absolute(video_folder)
        if settings.records_here():
            if glob("*.mp4", root_dir=self.video_folder) and not is_run(self.video_folder):  # those in an index stay
                logger.warn(
                    f"Overwriting existing videos at {self.video_folder} folder "
                    f"(try specifying a different `video_folder` for the `RecordVideo` wrapper if this is not desired)"
                )
            settings.make_run_folder(self.video_folder)
        if settings.enabled():
            strict = self._strict = strict or settings.required()
            stream = shared_stream.new_stream(
                self.env, self.video_folder, self.name_prefix, if_exists, strict=strict, steps_limit=steps_limit or 0
            )
            stream.videos.final = FinalVideos(on_video)
            self._stream = stream.acquire(self, strict=strict)
            self._count_on()
            if steps is not None:
                steps.attach(self._stream)
                self._steps = steps
            if self._replaying is not None:
                self._replaying.attach(self._stream, stream.videos.final.add)
            for wrapper in shared_stream.beneath(self.env):
                wrapper._adopt(self._stream)  # noqa: SLF001 - our own kind
            self._stream.open()

    def _set_source(self, source: arguments.Source) -> None:
        self._chooses = source == "auto"
        self._source = "render" if self._chooses else arguments.source(source, self.env)
        if self._source == "render":
            self._check_render_mode()

    def _begin_counting(self) -> None:
        self._warn = WarnsOnce()
        self._recording = False
        self._video_name: str | None = None
        self.recorded_frames: list[Any] = []
        self.render_history: list[Any] = []
        self.step_id = -1
        self.episode_id = -1
        self._observation: Any = None
        self._white = 1.0
        self._clip: ClipWriter | ReplayClip | None = None
        self._judged = False  # whether the rule is to judge the current video
        self._left_out = False  # whether the video has left out the last picture, which may have to be its end
        self._answers: dict[tuple[str, int], bool] = {}  # of triggers that were asked ahead of their turn
        self._over = True  # whether the next step is the first of an episode
        self._first: tuple[tuple[Any, ...], tuple[int, int]] | None = None  # the reset's frame, until there is a step

    def _count_on(self) -> None:
        """Count on from where the resumed session has come to."""
        before = self._stream.before if self._stream is not None else None
        if before is not None:
            self.episode_id = before.episodes.get(self._envs[0] if self._envs else 0, -1)
            self.step_id = before.steps - 1

    def _check_render_mode(self) -> None:
        mode = self.env.render_mode
        if mode in NO_PICTURES:
            raise ValueError(
                f"Render mode is {mode}, which is incompatible with RecordVideo. "
                "Initialize your environment with a render_mode that returns an image, such as rgb_array: "
                '`gym.make(..., render_mode="rgb_array")`, or record what the agent sees: `source="obs"`.'
            )

    @property
    def recording_source(self) -> arguments.Source:
        """What videos are made of: ``"render"``, ``"obs"`` or ``"replay"``; with ``source="auto"`` what is in use now.

        A video that ``"auto"`` compares is of frames even while this is ``"replay"``.
        """
        audits = None if self._replaying is None else self._replaying.audits
        return self._source if audits is None else audits.source

    @property
    def recording(self) -> bool:
        """Whether a video is being recorded. To set it to False ends the video, which is kept as far as it goes."""
        return self._records()

    @recording.setter
    def recording(self, wanted: bool) -> None:
        if wanted and not self.recording:
            self.start_recording(f"{self.name_prefix}-step-{self.step_id + 1}")
        elif self.recording and not wanted:
            self.stop_recording()

    def _records(self) -> bool:
        return self._recording

    def flush(self) -> bool:
        """As `StreamSharer.flush`; with replayed videos, also wait until each of these is made."""
        final = super().flush()
        if self._replaying is None:
            return final
        final = self._replaying.wait() and final
        self._tell_of_videos()
        return final

    def wait_video(self, timeout: float) -> str | None:
        """As `StreamSharer.wait_video`."""
        if self._replaying is not None:
            if self._judging is not None and self._stream is not None:
                self._stream.flush()
            if not self._replaying.wait(timeout):
                return None
        return super().wait_video(timeout)

    def start_recording(self, video_name: str) -> None:
        """Start a new video, ending the one being recorded if there is one.

        Args:
            video_name: the video's file name without ``.mp4``, in `video_folder`.

        Raises:
            ConfigError: ``video_name`` is no plain file name.
        """
        arguments.name("video_name", video_name)
        self._start_recording(video_name)

    def _start_recording(self, video_name: str, *, judged: bool = False) -> None:
        if self.recording:
            self.stop_recording()
        self._recording = True
        self._judged = judged
        self._video_name = video_name
        self._frames = 0
        self._first = None
        encoding = self._encoding._replace(fps=float(self.frames_per_sec))
        if self._judging is not None and judged:
            self._judging.begin(self.episode_id)
            encoding = encoding._replace(keep=self._judging.text, keep_bytes=self._judging.keep_bytes)
        replaying = self._replaying
        if self._chooses:
            replays = replaying is not None and replaying.replays_next()
            self._source, self._every = ("replay", 1) if replays else ("render", self._rendered_every)
        if self._stream is None:
            return
        begins: dict[str, Any] = {"encoding": encoding, "episode": max(self.episode_id, 0), "step": self.step_id}
        if self._source != "replay":
            filmed = ClipWriter if replaying is None else replaying.filmed
            self._clip = filmed(self._stream, video_name, overflow=self._overflow, envs=self._envs, **begins)
        elif replaying is not None:
            begins |= {"every": self._rendered_every, "env_index": self._env_index, "whole": self._whole}
            self._clip = replaying.clip(self._stream, video_name, **begins)

    def stop_recording(self) -> None:
        """End the video. Its file becomes final in the background; `flush` waits for it."""
        assert self.recording, "stop_recording was called, but no recording was started"  # noqa: S101 - as Gymnasium's
        self._take_left_out()
        if self._frames == 0 and self._stream is not None:
            logger.warn("Ignored saving a video as there were zero frames to save.")
        clip, self._clip, self._first, self._recording = self._clip, None, None, False
        self._end_clip(clip)
        if self.gc_trigger and self.gc_trigger(self.episode_id):
            gc.collect()

    def _failed(self, error: Exception) -> None:
        """Note the env's exception for the video, which may have no other step, and save what led to it."""
        self._unended_by(f"ended by an error: {readings.words_of(error)}")
        super()._failed(error)

    def _unended_by(self, why: str) -> None:
        """Say why the episode in the video comes to no end, unless it has come to one, or the reason is known."""
        if self._clip is not None and not self._clip.episode_over and not self._clip.unended:
            self._clip.unended = why

    def _end_clip(self, clip: ClipWriter | ReplayClip | None) -> None:
        """End a video, and tell the rule of its episode if there is one."""
        if clip is None:
            return
        clip.end()
        if self._judging is not None and self._judged and self._stream is not None and self._video_name is not None:
            clip.judged(self._judging.record(self._video_name))

    def _next_episode(self) -> None:
        """Count an episode: end the video of the last one, and start one if this episode is to have one."""
        self._over = False
        if self._looks_ahead:
            return
        self.episode_id += 1
        if self._replaying is not None:
            self._replaying.look()
        if self.recording and self._whole:
            if self._judging is not None:
                self._judging.over = True
            self._unended_by("reset before its end")
            self.stop_recording()
        if self._begins("episode_trigger", self.episode_id):
            self._start_recording(f"{self.name_prefix}-episode-{self.episode_id}", judged=self._judging is not None)

    def _ask_step_trigger(self) -> None:
        """Start a video at this step if it is to have one."""
        if self._begins("step_trigger", self.step_id):
            self._begin_at_step()

    def _begins(self, which: str, number: int) -> bool:
        """Whether a trigger wants a video to begin at a number; the trigger is asked once for each."""
        trigger = getattr(self, which)
        if not trigger or self._looks_ahead:
            return False
        before = self._answers.pop((which, number), None)
        return bool(trigger(number)) if before is None else before

    def _begins_next(self, which: str, number: int) -> bool:
        """As `_begins` for the next number, asked ahead of its turn."""
        begins = self._answers[which, number + 1] = self._begins(which, number + 1)
        return begins

    @property
    def _whole(self) -> bool:
        """Whether videos are of whole episodes."""
        return self.video_length == math.inf

    def _begin_at_step(self) -> None:
        self._show_first()  # the reset's frame belongs to the video that ends here, as a step was taken
        self.start_recording(f"{self.name_prefix}-step-{self.step_id}")

    def _end_if_full(self, *, resets: bool) -> bool:
        """End a video that has reached its ``video_length``; returns whether it did."""
        if self._frames < self.video_length or (resets and self._first is not None):
            return False
        self._show_first()
        self.stop_recording()
        return True

    def _leave_out(self, *, resets: bool, last: bool) -> bool:
        """Leave this step's picture out if the video is not to have it: it is then neither rendered nor copied."""
        if not self._leaves_out(resets=resets, last=last):
            return False
        self._frames += 1
        self._say_row()
        self._show_first()
        self._left_out = True
        return True

    def _leaves_out(self, *, resets: bool = False, last: bool = False) -> bool:
        if self._every == 1 or last or self._frames + 1 >= self.video_length:
            return False
        opens = resets and self._frames == (self._first is not None)
        return not opens and self._frames % self._every > 0

    def _picture_goes(self, *, begins: bool = False, resets: bool = False) -> None:
        """The env is about to change its picture: a video that ends before that takes the picture that it left out.

        Args:
            begins: whether a step trigger has another video begin there.
            resets: whether an episode begins there.
        """
        if self._left_out and (
            begins or (resets and (self._whole or self._begins_next("episode_trigger", self.episode_id)))
        ):
            self._take_left_out()
        self._left_out = False

    def _take_left_out(self) -> None:
        """End the video with the current picture, which it had left out. Never raises."""
        if not self._left_out:
            return
        self._left_out = False
        self._frames -= 1
        try:
            self._capture_frame(last=True)
        except Exception as error:  # noqa: BLE001 - a broken env must not keep its video from being ended
            logger.warn(f"{self._video_name!r} does not have its last picture, which could not be rendered: {error!r}")

    def _capture_frame(self, *, resets: bool = False, last: bool = False) -> None:
        raise NotImplementedError

    def _add_frame(
        self, rendered: object, aspect: tuple[int, int] = (1, 1), *, resets: bool = False
    ) -> tuple[int, int] | None:
        """Add what was rendered to the video; if it is not a picture, end the video.

        A video opens with its first step. Until then the frame of the reset is kept; without a step there is no video.
        Returns the rows and columns of the picture's tiles; None if there is no picture.
        """
        opens = resets and self._frames == (self._first is not None)
        self._frames += not (opens and self._first)
        self._say_row()
        self._left_out = False
        if not opens:
            self._show_first()
        try:
            shown = frames.frames_of(rendered)
            pictures, grid = self._pictures(shown, aspect, copied=opens)
        except FrameError as error:
            if self._clip is not None:
                self._clip.reject()
            self.stop_recording()
            self._warn("a frame", f"Recording stopped: {error}")
            return None
        if opens:
            self._first = pictures, grid
        elif self._clip is not None:
            self._clip.add(pictures, grid, self._frames - 1)
        return grid

    @staticmethod
    def _observed(observation: object) -> object:
        """The picture in an observation; if it has none, the observation, which `_add_frame` rejects."""
        try:
            return frames.observed(observation)
        except FrameError:
            return observation

    def _say_row(self) -> None:
        """Tell the video which row its first frame shows: from that row on there is one frame for each row."""
        if self._clip is not None and self._steps is not None:
            row = self._steps.row
            self._clip.first_row = None if row is None else row - (self._frames - 1)

    def _add_place(self, *, resets: bool) -> None:
        """Add a frame to a video that is rendered later: it has its place in time, and no picture yet."""
        opens = resets and self._frames == (self._first is not None)
        self._frames += not (opens and self._first)
        self._say_row()
        if opens:
            self._first = (), (1, 1)
            return
        self._show_first()
        if self._clip is not None:
            self._clip.add((), (1, 1), self._frames - 1)

    def _show_first(self) -> None:
        first, self._first = self._first, None
        if first is not None and self._clip is not None:
            self._clip.add(*first, 0)

    def _stepped(self, reward: object, *, over: bool) -> None:
        """Tell the current video of a step; one of a whole episode ends here, to be final while the agent learns."""
        if self._clip is None:
            return
        self._clip.step(reward)
        self._clip.episode_over = over
        if over and self._whole:  # `recording` stays true until the reset, as Gymnasium's
            clip, self._clip = self._clip, None
            self._end_clip(clip)

    def _close_recording(self) -> None:
        """End the video and wait for its file."""
        try:
            if self.recording:
                self._unended_by("closed before its end")
                self.stop_recording()
            if self._box is not None:
                self._box.close()
        finally:  # the user's ``gc_trigger`` may raise
            self._release_stream()
            if self._replaying is not None:
                self._finish_replaying(self._replaying)

    def _finish_replaying(self, replaying: Replaying) -> None:
        if self._judging is not None and self._stream is not None:
            self._stream.flush(quiet=self.disable_logger)  # others may have joined it; the index says what is kept
        not_made = replaying.finish()
        self._tell_of_videos()
        if self._strict:
            Losses(videos=not_made).raise_if_any(self.video_folder)
