"""A scene as an animated picture."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError
from offcamd.stories.film import Made
from offcamd.video.animation import GIF_FPS, animate
from offcamd.video.drawing import resized, written
from offcamd.video.probe import DecodedPicture

if TYPE_CHECKING:
    from pathlib import Path

    from offcamd.stories.film import Progress
    from offcamd.stories.scene import Scene

_PASSES = {".gif": 2, ".webp": 1}


def animated(
    scene: Scene,
    target: Path,
    *,
    speed: Fraction,
    width: int = 0,
    fps: Fraction | None = None,
    overlay: bool = False,
    progress: Progress | None = None,
) -> Made:
    """Make an endless GIF or WebP of a scene. One picture is in memory at a time.

    Args:
        scene: what is shown.
        target: the file, made anew; its ending says the format, one of `offcamd.video.animation.KINDS`.
        speed: how many times faster than it was recorded.
        width: of the pictures in pixels, to which they are scaled; 0 for their own.
        fps: most pictures per second; others are left out. By default the video's rate, for a GIF at most 50.
        overlay: whether the subtitles are written over the pictures.
        progress: see `offcamd.stories.film.Progress`.

    Raises:
        EncodeError: the video cannot be read, or the file not be written.
    """
    kind = target.suffix.lower()
    full = scene.fps * speed
    rate = min([full, *([Fraction(GIF_FPS)] if kind == ".gif" else []), *([fps] if fps else [])])
    every = full / rate  # how many frames of the video there are for one of the animation
    frames = _first(scene.frames - 1, every) + 1  # rounded up, so that the last picture is shown, too
    size = (width or scene.width), (round(scene.height * width / scene.width) or 1 if width else scene.height)
    words = scene.words() if overlay else []
    done = 0

    def pictures() -> Iterator[DecodedPicture]:
        nonlocal done
        before = done
        for at, each in _at_rate(scene.pictures(), every):
            rgb = resized(each.rgb, *size)
            yield DecodedPicture(at, written(rgb, words[each.at]) if words else rgb)
            done = before + at + 1
            if progress is not None:
                progress(done, frames * _PASSES[kind])

    animate(pictures, target, rate, width=size[0], height=size[1], frames=frames)
    if not done:
        raise EncodeError(f"{scene.path} holds no picture to make {target} of")
    return Made(frames, *size, rate)


def _at_rate(pictures: Iterator[DecodedPicture], every: Fraction) -> Iterator[tuple[int, DecodedPicture]]:
    """The pictures that are shown at each multiple of ``every`` frames, each once, with the number of that multiple."""
    shown = None
    for each in pictures:
        at = _first(each.at, every)
        if shown is not None and at > shown[0]:
            yield shown
        shown = at, each
    if shown is not None:
        yield shown


def _first(index: int, every: Fraction) -> int:
    """The first multiple of ``every`` frames that is not before a frame."""
    return int(-(-index // every))
