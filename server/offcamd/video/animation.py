"""Animated pictures, GIF and WebP, for where no video can be shown."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, cast

import av
import av.error
from av.filter import Graph
from av.video.frame import VideoFrame

from offcam_proto.limits import KIB
from offcamd.video.av_errors import as_encode_error, file_url

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import OutputContainer
    from av.video.stream import VideoStream

    from offcamd.video.pixels import Pixels
    from offcamd.video.probe import DecodedPicture

KINDS: Final = (".gif", ".webp")
"""The endings of the files that `animate` can make."""

GIF_FPS: Final = 50
"""Most pictures a second of a GIF: browsers show a picture for 0.1 s whose duration is shorter than 0.02 s."""

_TICK: Final = {".gif": Fraction(1, 100), ".webp": Fraction(1, 1000)}  # the units in which the formats count time
_CODERS: Final[dict[str, tuple[str, str, dict[str, str]]]] = {
    ".gif": ("gif", "pal8", {}),
    ".webp": ("libwebp_anim", "yuv420p", {"quality": "80"}),
}
_ANY: Final = Fraction(1, 25)  # the filters need a time base; their results do not depend on it
_MMAP_THRESHOLD = -3  # glibc's number for it, in malloc.h
_DITHER = "dither=none:diff_mode=rectangle"  # rendered pictures have few colours, and noise costs bytes


def animate(
    pictures: Callable[[], Iterator[DecodedPicture]],
    target: Path,
    fps: Fraction,
    *,
    width: int,
    height: int,
    frames: int,
) -> None:
    """Make an animation that repeats for ever.

    For a GIF the pictures are read twice, the first time to choose its colours. One decoded picture is in memory at a
    time; of a WebP also all encoded ones, up to the end. For that, how this process gets memory is changed for good.

    Args:
        pictures: returns an iterator over the pictures from the first on, whose ``at`` is 0; all of the same size.
        target: the file, made anew; its ending says the format, one of `KINDS`.
        fps: frames per second, the unit of the pictures' ``at``.
        width: of the pictures in pixels.
        height: of the pictures in pixels.
        frames: when the last picture ends, in frames from the start.

    Raises:
        EncodeError: the video cannot be decoded, or the file not be written.
    """
    kind = target.suffix.lower()
    with as_encode_error("making", target):
        target.unlink(missing_ok=True)  # av would write through a link, to wherever that leads
        if kind == ".gif":
            palette = _palette(pictures(), width, height)
            coloured: Iterator[tuple[int, VideoFrame]] = _in_colours(pictures(), palette, width, height)
        else:
            _return_large_blocks()
            coloured = ((each.at, VideoFrame.from_ndarray(each.rgb, format="rgb24")) for each in pictures())
        with av.open(file_url(target), "w", format=kind[1:], options={"loop": "0"}) as file:
            _encode(file, kind, coloured, fps, (width, height), frames)


def _return_large_blocks() -> None:
    """Have malloc take each large block from the system, and give it back there when it is freed.

    Once some were freed glibc takes them from its heap, where those of libwebp, of ever other sizes, leave gaps: 0.9 MB
    for each picture of 640x480.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none, or none that does this
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 128 * KIB)


def _encode(
    file: OutputContainer,
    kind: str,
    frames: Iterator[tuple[int, VideoFrame]],
    fps: Fraction,
    size: tuple[int, int],
    end: int,
) -> None:
    tick = _TICK[kind]
    name, layout, told = _CODERS[kind]
    stream = cast("VideoStream", file.add_stream(name, rate=1 / tick, options=told))
    stream.width, stream.height = size
    stream.pix_fmt = layout
    stream.codec_context.time_base = tick
    shown = -1
    for index, frame in frames:
        shown = max(round(index / fps / tick), shown + 1)
        frame.pts, frame.time_base = shown, tick
        for packet in stream.encode(frame):
            packet.duration = max(round(end / fps / tick) - shown, 1)  # the muxers use only that of the last packet
            file.mux_one(packet)
    file.mux(stream.encode(None))


def _palette(pictures: Iterator[DecodedPicture], width: int, height: int) -> VideoFrame:
    """The palette of 256 colours that fits all of the pictures together best."""
    graph = Graph()
    source, sink = _buffer(graph, "rgb24", width, height), graph.add("buffersink")
    made = graph.add("palettegen", "reserve_transparent=1")
    source.link_to(made)
    made.link_to(sink)
    graph.configure()
    for number, each in enumerate(pictures):
        source.push(_framed(each.rgb, number))
        for _ in _pulled(sink):  # yields none yet, but has the filter count the picture and free it
            pass
    source.push(None)
    return cast("VideoFrame", sink.pull())


def _in_colours(
    pictures: Iterator[DecodedPicture], palette: VideoFrame, width: int, height: int
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the pictures in the colours of a palette, each with its ``at``."""
    graph = Graph()
    source, sink = _buffer(graph, "rgb24", width, height), graph.add("buffersink")
    colours = _buffer(graph, palette.format.name, palette.width, palette.height)
    used = graph.add("paletteuse", _DITHER)
    source.link_to(used, 0, 0)
    colours.link_to(used, 0, 1)
    used.link_to(sink)
    graph.configure()
    palette.pts, palette.time_base = 0, _ANY
    colours.push(palette)
    colours.push(None)
    waiting: deque[int] = deque()
    for number, each in enumerate(pictures):
        waiting.append(each.at)
        source.push(_framed(each.rgb, number))
        yield from ((waiting.popleft(), frame) for frame in _pulled(sink))
    source.push(None)
    yield from ((waiting.popleft(), frame) for frame in _pulled(sink))


def _buffer(graph: Graph, layout: Any, width: int, height: int) -> Any:  # noqa: ANN401 - a filter of av's, whose stub wants no name of a layout
    return graph.add_buffer(width=width, height=height, format=layout, time_base=_ANY)


def _framed(rgb: Pixels, number: int) -> VideoFrame:
    frame = VideoFrame.from_ndarray(rgb, format="rgb24")
    frame.pts, frame.time_base = number, _ANY
    return frame


def _pulled(sink: Any) -> Iterator[VideoFrame]:  # noqa: ANN401 - a filter of av's
    with suppress(av.error.BlockingIOError, av.error.EOFError):  # the filter has no more pictures yet, or is at its end
        while True:
            yield sink.pull()
