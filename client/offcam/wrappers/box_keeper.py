"""The part of a RecordVideo that has the last seconds held, and saved where something goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from offcam import logger
from offcam.recorder import frames
from offcam.recorder.black_box import BlackBox
from offcam.wrappers.shared_stream import StreamSharer
from offcam_proto.errors import FrameError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offcam.recorder.clip_writer import Encoding, Overflow

ERROR, NAN = "error", "nan"
"""The reasons of videos that are saved by themselves: the env raised, or a reward was NaN."""


class BoxKeeper(StreamSharer):
    """A wrapper that may have a black box. Subclasses set the attributes below, and call `_watch` at each event."""

    _box: BlackBox | None = None
    _last_seconds: float | None = None
    _seconds_after = 0.0
    _nan_saved = False  # whether a NaN in this episode was saved already
    _seen: Any = None  # what was rendered in this reset or step, where both a video and the box show it
    _every: int
    _encoding: Encoding
    _overflow: Overflow
    _envs: tuple[int, ...]
    _white: float
    frames_per_sec: float
    name_prefix: str
    episode_id: int
    step_id: int

    def _picture(self) -> Any:  # noqa: ANN401 - whatever is rendered
        """What the env shows now; None or an empty list where it shows nothing. The env's exceptions come through."""
        raise NotImplementedError

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """Save what led to an exception of the env's, which comes through unchanged."""
        try:
            yield
        except Exception as error:
            self._failed(error)
            raise

    def _failed(self, error: Exception) -> None:  # noqa: ARG002 - its words are for videos
        """Save what led to an exception of the env."""
        if self._box is not None:
            self._box.failed(ERROR)

    def _open_box(self) -> BlackBox | None:
        if self._box is None and self._last_seconds is not None and self._stream is not None and not self._looks_ahead:
            self._box = self._stream.videos.box = BlackBox(
                self._stream,
                self.name_prefix,
                encoding=self._encoding._replace(fps=float(self.frames_per_sec), ring_seconds=self._last_seconds),
                after=self._seconds_after,
                overflow=self._overflow,
                envs=self._envs,
            )
        return self._box

    def _watch(self, reward: object = None, *, nan: bool = False, aspect: tuple[int, int] = (1, 1)) -> None:
        """Have the box take what the env shows after a step with a reward, or with None a reset; save it if ``nan``."""
        box = self._open_box()
        if box is None:
            return
        box.episode, box.step = self.episode_id, self.step_id
        if not box.broken and box.number % self._every == 0:
            self._hold(box, self._picture(), aspect)
        box.count(reward)
        if reward is None:
            self._nan_saved = False
        elif nan and not self._nan_saved:
            self._nan_saved = True
            box.failed(NAN)

    def _hold(self, box: BlackBox, rendered: object, aspect: tuple[int, int]) -> None:
        if rendered is None or (isinstance(rendered, list) and not rendered):
            return
        try:
            pictures, grid = self._pictures(frames.frames_of(rendered), aspect)
        except FrameError as error:
            box.broken = True
            logger.warn(f"the last seconds are not held any more: {error}")
            return
        box.add(pictures, grid)

    def _pictures(
        self, shown: tuple[NDArray[Any], ...], aspect: tuple[int, int], *, copied: bool = False
    ) -> frames.Tiles:
        """Frames as pictures, and the rows and columns of their grid. Raises FrameError where they are none."""
        self._white = max(self._white, *map(frames.white_of, shown))
        return frames.tiles(shown, self._white, aspect, copied=copied)
