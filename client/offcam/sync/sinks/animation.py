"""A video as an animated GIF of bounded size, for where videos cannot be shown."""

from __future__ import annotations

import importlib
import io
from typing import Any, Final, NamedTuple

LARGEST_SIDE: Final = 320
MOST_FRAMES: Final = 120
MOST_FPS: Final = 15.0

_SMALLEST_SIDE: Final = 40


class NotAnimated(Exception):
    """A video cannot be made a GIF; the message says why."""


class Gif(NamedTuple):
    """An animation, and its size in pixels."""

    data: bytes
    width: int
    height: int


def animation(path: str, fps: float, *, most_bytes: int) -> Gif:
    """Make a GIF of at most `MOST_FRAMES` frames of a video, spread evenly, at the video's own pace.

    Args:
        path: path of the video.
        fps: the video's frames per second.
        most_bytes: largest size of the GIF; pictures are made smaller until it fits.

    Raises:
        NotAnimated: a library is missing, or the file cannot be read.
    """
    av, image = _library("av"), _library("PIL.Image", "pillow")
    side = LARGEST_SIDE
    while True:
        pictures, seconds = _pictures(av, path, fps, side)
        data = _gif(pictures, seconds)
        if len(data) <= most_bytes or side <= _SMALLEST_SIDE:
            break
        side = max(int(side * min((most_bytes / len(data)) ** 0.5 * 0.9, 0.7)), _SMALLEST_SIDE)
    if len(data) > most_bytes:
        raise NotAnimated(f"even a small GIF of it takes {len(data):,} bytes")
    with image.open(io.BytesIO(data)) as made:
        return Gif(data, *made.size)


def _pictures(av: Any, path: str, fps: float, side: int) -> tuple[list[Any], float]:  # noqa: ANN401 - a module
    """Some of a video's pictures, no side longer than ``side`` pixels, and the seconds that each is shown."""
    found = []
    try:
        with av.open(f"file:{path}", format="mp4") as container:
            stream = container.streams.video[0]
            every = max(-(-max(stream.frames, 1) // MOST_FRAMES), round(fps / MOST_FPS), 1)
            scale = min(side / max(stream.width, stream.height), 1)
            size = [max(round(each * scale), 1) for each in (stream.width, stream.height)]
            for number, frame in enumerate(container.decode(stream)):
                if number % every == 0:
                    found.append(frame.to_image(width=size[0], height=size[1]))
    except (OSError, av.error.FFmpegError, IndexError) as error:
        raise NotAnimated(f"the video cannot be read: {error}") from error
    if not found:
        raise NotAnimated("it has no pictures")
    return found, every / fps


def _gif(pictures: list[Any], seconds: float) -> bytes:
    to = io.BytesIO()
    first, *others = [picture.quantize(128) for picture in pictures]
    hundredths = max(round(seconds * 100), 2)  # browsers show a shorter picture for a tenth of a second
    first.save(to, "GIF", save_all=True, append_images=others, duration=hundredths * 10, loop=0, optimize=False)
    return to.getvalue()


def _library(module: str, package: str = "") -> Any:  # noqa: ANN401 - a module
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotAnimated(f"pip install {package or module}, and it is shown as an animation") from error
