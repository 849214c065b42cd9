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
    """The facts of a video or an animation that was made.

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

    The video is as large as the largest scene, with smaller pictures in the middle, and has the highest rate of all
    scenes; each scene keeps its own pace. One picture is in memory at a time.

    Args:
        scenes: at least one.
        target: an MP4, made anew. A second file is beside it until it is whole.
        speed: how many times faster than recorded.
        width: most pixels of the video's width, to which it is scaled down; 0 for no limit.
        progress: see `Progress`.

    Raises:
        EncodeError: a video cannot be read, or the file not be written.
        ConfigError: the video would have more or fewer frames per second than a video can have.
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
    """Show scenes beside each other, all from their begin; a scene that is over keeps its last picture.

    One picture of each scene is in memory at a time.

    Args:
        scenes: 1 to `MOST_TILES`.
        labels: a line of text above each scene; where all are empty, there is no room for them.
        target: an MP4, made anew. A second file is beside it until it is whole.
        speed: how many times faster than recorded.
        width: most pixels of the video's width, to which it is scaled down; 0 for no limit.
        progress: see `Progress`.

    Raises:
        ConfigError: there are too many scenes, or more or fewer frames per second than a video can have.
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
            changed = [tile.go_on(tick) for tile in tiles]  # a list, so that all go on before `any` looks
            if any(changed) or tick == end - 1:
                reel.show([ground.picture for ground in grounds], tick)
            _tell(progress, tick + 1, end)
        return reel.finish(end)


class _Tile:
    """A scene of a grid, and its pictures that are still to be shown."""

    def __init__(self, pictures: Iterator[DecodedPicture], scene: Scene, fps: Fraction, ground: Ground) -> None:
        self._pictures, self._scene, self._fps, self._ground = pictures, scene, fps, ground
        self._next = next(pictures, None)

    def go_on(self, tick: int) -> bool:
        """Show the picture that is due at a tick (a frame of the grid); returns whether it is a new one."""
        shown = None
        while self._next is not None and _ticks(self._next.at, self._scene, self._fps) <= tick:
            shown, self._next = self._next, next(self._pictures, None)
        if shown is not None:
            self._ground.show(shown.rgb)
        return shown is not None


class _Reel:
    """A video that is being made: pictures first, then subtitles and chapters. Made by `_reel`."""

    def __init__(self, target: Path, fps: Fraction, converter: I420Converter) -> None:
        self._target, self._fps, self._converter = target, fps, converter
        self._pictures = target.with_name(f"{target.name}.part")
        self._writer: VideoWriter | None = None
        self._shown = -1

    def show(self, frames: Sequence[Pixels], tick: int) -> None:
        """Show these tiles from a tick (a frame of the video) on."""
        planes = self._converter.convert(frames)
        if self._writer is None:
            width, height = planes.shape[1], planes.shape[0] * 2 // 3
            self._writer = VideoWriter(
                self._pictures, width=width, height=height, fps=self._fps, preset=DEFAULT_PRESET, crf=_CRF
            )
        self._writer.write(planes, tick)
        self._shown = tick

    def hold(self, frames: Sequence[Pixels], tick: int) -> None:
        """Show the tiles again at a tick if nothing is shown from there on, so that the last picture lasts so long."""
        if self._shown < tick:
            self.show(frames, tick)

    def finish(self, frames: int, captions: Iterable[Span] = (), chapters: Sequence[Span] = ()) -> Made:
        """Write the target of what was shown, ``frames`` long, with subtitles and chapters."""
        if self._writer is None or (size := self._converter.size) is None:
            raise EncodeError(f"there was no picture to make {self._target} of")
        self._writer.close()
        add_tracks(self._pictures, self._target, self._fps, captions=captions, chapters=chapters)
        return Made(frames, *size, self._fps)

    def close(self) -> None:
        """Remove the second file; only the target stays."""
        if self._writer is not None:
            with suppress(EncodeError):  # an error was raised before, or all is written already
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
    """A frame's number in a scene, converted to frames of a higher rate."""
    return round(index * fps / scene.fps)


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
