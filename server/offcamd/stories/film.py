"""Videos made of scenes: one after the other, or side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from offcam_proto.errors import ConfigError, EncodeError
from offcamd.video.drawing import Ground
from offcamd.video.h264 import DEFAULT_PRESET
from offcamd.video.i420 import I420Converter
from offcamd.video.mp4 import MAX_FPS, MIN_FPS, VideoWriter
from offcamd.video.tracks import Span, add_tracks

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    from offcamd.stories.scene import Scene
    from offcamd.video.pixels import Pixels
    from offcamd.video.probe import DecodedPicture

MOST_TILES: Final = 9
"""Most scenes that are shown side by side."""

_CRF = 18  # encoding a second time then costs hardly any visible quality

Progress = Callable[[int, int], None]
"""Called with how many frames are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was made.

    Attributes:
        frames: its length in frames.
        width: in pixels.
        height: in pixels.
        fps: frames per second.
    """

    frames: int
    width: int
    height: int
    fps: Fraction

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return float(self.frames / self.fps)


def joined(
    scenes: Sequence[Scene], target: Path, *, speed: Fraction, width: int = 0, progress: Progress | None = None
) -> Made:
    """Show scenes one behind the other, with subtitles, and with a chapter for each where there are several.

    Pictures are as large as the largest of them, smaller ones in the middle; the rate is the highest of them, at which
    each scene goes on at its own pace. One picture is in memory at a time.

    Args:
        scenes: at least one.
        target: an MP4, made anew. A second file lies beside it until it is whole.
        speed: how much faster than they were recorded.
        width: of the pictures at most, to which they are scaled down; 0 for any.
        progress: see `Progress`.

    Raises:
        EncodeError: a video cannot be read, or the file not be written.
        ConfigError: so many pictures a second cannot be shown.
    """
    fps = max(each.fps for each in scenes)
    size = max(each.width for each in scenes), max(each.height for each in scenes)
    begins = [0]
    for each in scenes:
        begins.append(begins[-1] + _ticks(each.frames, each, fps))
    placed = list(zip(scenes, begins, begins[1:], strict=False))
    with _reel(target, _faster(fps, speed), I420Converter(1, 1, max_width=width)) as reel:
        for each, begin, end in placed:
            ground = Ground(*size)
            with closing(each.pictures()) as given:
                for picture in given:
                    tick = begin + _ticks(picture.at, each, fps)
                    reel.show([ground.show(picture.rgb)], tick)
                    _tell(progress, tick + 1, begins[-1])
            reel.hold([ground.picture], end - 1)
            _tell(progress, end, begins[-1])
        captions = (
            Span(begin + _ticks(span.begin, each, fps), begin + _ticks(span.end, each, fps), span.text)
            for each, begin, _ in placed
            for span in each.captions()
        )
        chapters = [Span(begin, end, each.title) for each, begin, end in placed]
        return reel.finish(begins[-1], captions, chapters if len(chapters) > 1 else ())


def side_by_side(
    scenes: Sequence[Scene],
    labels: Sequence[str],
    target: Path,
    *,
    speed: Fraction,
    width: int = 0,
    progress: Progress | None = None,
) -> Made:
    """Show scenes beside each other, all from their begin; of one that is over the last picture stays.

    One picture of each is in memory at a time.

    Args:
        scenes: 1 to `MOST_TILES`.
        labels: a line above each; none at all where all are empty.
        target: an MP4, made anew. A second file lies beside it until it is whole.
        speed: how much faster than they were recorded.
        width: of the picture at most, to which it is scaled down; 0 for any.
        progress: see `Progress`.

    Raises:
        ConfigError: there are too many scenes, or so many pictures a second cannot be shown.
        EncodeError: a video cannot be read, or the file not be written.
        FrameError: the picture is larger than H.264 allows.
    """
    if len(scenes) > MOST_TILES:
        raise ConfigError(f"a grid has at most {MOST_TILES} videos, got {len(scenes)}: leave some out")
    fps = max(each.fps for each in scenes)
    size = max(each.width for each in scenes), max(each.height for each in scenes)
    columns = math.ceil(math.sqrt(len(scenes)))
    converter = I420Converter(math.ceil(len(scenes) / columns), columns, max_width=width)
    end = max(_ticks(each.frames, each, fps) for each in scenes)
    with ExitStack() as stack:
        reel = stack.enter_context(_reel(target, _faster(fps, speed), converter))
        grounds = [Ground(*size, label) for label in labels]
        tiles = [
            _Tile(stack.enter_context(closing(each.pictures())), each, fps, ground)
            for each, ground in zip(scenes, grounds, strict=True)
        ]
        for tick in range(end):
            changed = [tile.go_on(tick) for tile in tiles]  # all of them, before they are looked at
            if any(changed) or tick == end - 1:
                reel.show([ground.picture for ground in grounds], tick)
            _tell(progress, tick + 1, end)
        return reel.finish(end)


class _Tile:
    """A scene of a grid, as far as it was shown."""

    def __init__(self, pictures: Iterator[DecodedPicture], scene: Scene, fps: Fraction, ground: Ground) -> None:
        self._pictures, self._scene, self._fps, self._ground = pictures, scene, fps, ground
        self._next = next(pictures, None)

    def go_on(self, tick: int) -> bool:
        """Show what is shown at a time; returns whether that is another picture than before."""
        shown = None
        while self._next is not None and _ticks(self._next.at, self._scene, self._fps) <= tick:
            shown, self._next = self._next, next(self._pictures, None)
        if shown is not None:
            self._ground.show(shown.rgb)
        return shown is not None


class _Reel:
    """A video that is being made, from its first picture to its last track; `_reel` makes one."""

    def __init__(self, target: Path, fps: Fraction, converter: I420Converter) -> None:
        self._target, self._fps, self._converter = target, fps, converter
        self._pictures = target.with_name(f"{target.name}.part")
        self._writer: VideoWriter | None = None
        self._shown = -1

    def show(self, frames: Sequence[Pixels], tick: int) -> None:
        """Show tiles from a time on."""
        planes = self._converter.convert(frames)
        if self._writer is None:
            width, height = planes.shape[1], planes.shape[0] * 2 // 3
            self._writer = VideoWriter(
                self._pictures, width=width, height=height, fps=self._fps, preset=DEFAULT_PRESET, crf=_CRF
            )
        self._writer.write(planes, tick)
        self._shown = tick

    def hold(self, frames: Sequence[Pixels], tick: int) -> None:
        """Show them once more at a time, unless they were shown then, so that they are until it is over."""
        if self._shown < tick:
            self.show(frames, tick)

    def finish(self, frames: int, captions: Iterable[Span] = (), chapters: Sequence[Span] = ()) -> Made:
        """Make the target of what was shown."""
        if self._writer is None or (size := self._converter.size) is None:
            raise EncodeError(f"there was no picture to make {self._target} of")
        self._writer.close()
        add_tracks(self._pictures, self._target, self._fps, captions=captions, chapters=chapters)
        return Made(frames, *size, self._fps)

    def close(self) -> None:
        """Leave nothing behind but the target."""
        if self._writer is not None:
            with suppress(EncodeError):  # it was said already, or does not matter any more
                self._writer.close()
        self._pictures.unlink(missing_ok=True)


@contextmanager
def _reel(target: Path, fps: Fraction, converter: I420Converter) -> Generator[_Reel]:
    reel = _Reel(target, fps, converter)
    try:
        yield reel
    finally:
        reel.close()


def _faster(fps: Fraction, speed: Fraction) -> Fraction:
    found = fps * speed
    if not MIN_FPS <= found <= MAX_FPS:
        raise ConfigError(
            f"at {float(speed):g} times its speed this video has {float(found):.6g} frames a second, and there can be "
            f"{float(MIN_FPS):.3f} to {MAX_FPS}: give another --speed"
        )
    return found


def _ticks(index: int, scene: Scene, fps: Fraction) -> int:
    """Frames of a higher rate until a frame of a scene."""
    return round(index * fps / scene.fps)


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
