"""The videos that follow the episodes of one sub-environment of a vector env."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gymnasium.vector import AutoresetMode

from offcam.recorder import readings
from offcam.wrappers.episode_values import values_at
from offcam.wrappers.judging import Judging
from offcam.wrappers.video_base import VideoBase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offcam.vector.screen import Screen


class Followed(VideoBase):
    """Videos that begin and end with the episodes of one sub-environment, by whose numbers triggers are asked.

    Attributes:
        autoreset_mode: that of the vector env.
        has_autoreset: whether the next step is this sub-environment's reset.
    """

    autoreset_mode: AutoresetMode
    has_autoreset: bool
    _screen: Screen
    _autoreset_waits = False  # whether a video that begins with an autoreset is opened by the step after it
    _reset_to_come = False  # whether the next result is a reset's, as a pool gives results when they are ready
    _taken: tuple[int, object, object, object] = (0, False, False, {})  # of the last step: its row, flags, all infos

    @property
    def _shown(self) -> Sequence[int]:
        """The sub-environments that the videos show, first the followed one."""
        return self._envs or range(self.env.num_envs)

    @property
    def _open_now(self) -> bool:
        """Whether a video is open that takes frames. That of a whole episode ends before the next episode begins."""
        return self.recording and (self._clip is not None or self._stream is None)

    def _takes(self, terminations: object, truncations: object) -> bool:
        """Whether a video is open and shows the picture of the step that was taken."""
        return self._open_now and not self._leaves_out(last=self._whole and self._is_over(terminations, truncations))

    def _is_over(self, terminations: object, truncations: object) -> bool:
        row = self._screen.row(self._shown[0])
        if row is None:
            return False
        return readings.over(readings.at(row, terminations), readings.at(row, truncations)) is True

    def _before_reset(self, mask: object) -> bool | None:
        """The sub-environments of a mask, or all, are about to be reset.

        Returns True where the followed one's episode begins, None where no shown sub-environment is reset.
        """
        self._looks_ahead = False
        reset = [mask is None or readings.flag(readings.at(index, mask)) is True for index in self._shown]
        if reset[0]:
            self._next_episode()
        return reset[0] or (False if any(reset) else None)

    def _after_reset(self, *, resets: bool | None) -> None:
        self.has_autoreset = False
        if resets is not None:
            self._left_out = False
        there = self._screen.row(self._shown[0]) is not None
        self._reset_to_come = resets is True and not there
        if self._open_now and resets is not None and there:
            self._capture_frame(resets=resets)
        elif self._open_now and self._steps is not None and self._frames:
            self._frames += 1  # a reset of others is a row of the steps, too: its place in time stays empty

    def _follow(self, rewards: object, terminations: object, truncations: object, infos: object) -> None:
        """Show a step that was taken, if the followed sub-environment has a result of it."""
        row = self._screen.row(self._shown[0])
        if row is None:
            self._ask_step_trigger()
        elif self._reset_to_come:
            self._reset_to_come = False
            self._ask_step_trigger()
            if self._open_now:
                self._capture_frame(resets=True)
        else:
            self._taken = row, readings.at(row, terminations), readings.at(row, truncations), infos
            self._show_step(readings.at(row, rewards), over=self._is_over(terminations, truncations))

    def _stepped(self, reward: object, *, over: bool) -> None:
        if self._judging is not None and self._clip is not None:
            row, terminated, truncated, infos = self._taken
            self._judging.step(reward, terminated, truncated, values_at(infos, row) if over else {})
        super()._stepped(reward, over=over)

    def _show_step(self, reward: object, *, over: bool) -> None:
        """End the video with its episode, start the next one, and add a frame."""
        terminal = self._screen.terminal
        counted = False
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            if self.has_autoreset:
                self._next_episode()
                counted = True  # a step that resets is no step of the new episode
            self.has_autoreset = over
        elif self.autoreset_mode is AutoresetMode.SAME_STEP and over:
            there = terminal is not None or self._source == "replay"
            if self._open_now and there and (self._whole or self._steps is None):  # with rows, each has one frame
                self._capture_frame(last=self._whole)
            self._stepped(reward, over=True)
            counted = True
            self._next_episode()
        if terminal is not None and over:
            terminal.forget(self._shown)
        self._ask_step_trigger()
        if self._open_now:
            waits = counted and self._autoreset_waits
            self._capture_frame(resets=waits, last=over and self._whole and not counted)
            if not counted:
                self._stepped(reward, over=over)


class OneOfMany(Followed):
    """The videos of one sub-environment, where each has its own; settings, stream and screen are shared by all.

    Args:
        of: the wrapper of the vector env.
        index: index of the sub-environment.

    Attributes:
        env_index: the sub-environment.
        begins_now: whether a video begins at this step, as the wrapper's ``step_trigger`` says.
    """

    def __init__(self, of: Followed, index: int) -> None:
        shared = vars(of)
        for name in (
            *("env", "_stream", "_steps", "_screen", "_source", "_overflow", "_every", "_encoding"),
            *("video_folder", "video_length", "frames_per_sec"),
            *("episode_trigger", "gc_trigger", "disable_logger", "autoreset_mode", "_rendered_every"),
        ):
            setattr(self, name, shared.get(name))
        self.name_prefix = f"{of.name_prefix}-env-{index}"
        self.has_autoreset = False
        self._autoreset_waits = of._autoreset_waits  # noqa: SLF001 - as below
        self.env_index = index
        self.begins_now = False
        self._envs = (index,)
        self._env_index = index
        self._replaying = of._replaying  # noqa: SLF001 - as below
        if of._judging is not None:  # noqa: SLF001 - the wrapper's own part
            self._judging = Judging(of._judging.rule, of._judging.keep_bytes)  # noqa: SLF001
        self._begin_counting()
        self._count_on()

    def _ask_step_trigger(self) -> None:
        if self.begins_now:
            self._begin_at_step()

    def _capture_frame(self, *, resets: bool = False, last: bool = False) -> None:
        if self._end_if_full(resets=resets) or self._leave_out(resets=resets, last=last):
            return
        if self._source == "replay":
            self._add_place(resets=resets)
            return
        shown: Any = self._screen.show(self._envs)
        if isinstance(shown, tuple):
            self._add_frame(shown, resets=resets)
            return
        self.stop_recording()
        self._warn(
            "a frame",
            f"Recording stopped: {self.env} renders one picture of all its sub-environments, which cannot be taken "
            "apart for a video of each. Leave `per_env` out.",
        )
