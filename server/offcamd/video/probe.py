"""Reads video files: their facts, their pictures, and which frames they have."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

import av
import av.error
import numpy as np

from offcam_proto.errors import EncodeError
from offcamd.video.av_errors import as_encode_error, file_url

if TYPE_CHECKING:
    from numbers import Rational
    from pathlib import Path

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from offcamd.video.pixels import Pixels


@dataclass(frozen=True)
class VideoInfo:
    """What was found in a file.

    Attributes:
        frames: how many pictures were decoded, or read.
        width: pixels, 0 if unknown.
        height: pixels, 0 if unknown.
        fps: frames per second that the video was made for, 0 if unknown. Gaps left by dropped frames do not lower it.
        pix_fmt: such as ``yuv420p``, empty if unknown.
        codec: such as ``h264``, empty if unknown.
        duration_seconds: from the video's start to the end of its last picture, in seconds.
        strictly_increasing: whether each picture is shown later than the one before.
        error: why decoding stopped early, or None.
    """

    frames: int = 0
    width: int = 0
    height: int = 0
    fps: Fraction = Fraction(0)
    pix_fmt: str = ""
    codec: str = ""
    duration_seconds: float = 0.0
    strictly_increasing: bool = True
    error: str | None = None


def probe(path: Path) -> VideoInfo:
    """Decode a whole video, and return what is in it. Never raises for a bad file; see `VideoInfo.error`."""
    return _info(path, decode=True)


def survey(path: Path) -> VideoInfo:
    """Return what is in a video as `probe` does, but without decoding it.

    Several times faster, but does not notice damaged frames. Never raises for a bad file.
    """
    return _info(path, decode=False)


def _info(path: Path, *, decode: bool) -> VideoInfo:
    """What is in a video, from the times and durations of its frames (``decode``) or else of its packets."""
    facts: dict[str, object] = {}
    frames, increasing, last, end, error = 0, True, -1, 0, None
    try:
        with av.open(file_url(path), format="mp4") as video:
            stream = decodable(video)
            facts = _facts(stream)
            pictures: Iterator[VideoFrame | Packet[VideoStream]]
            pictures = video.decode(stream) if decode else video.demux(stream)
            for picture in pictures:
                pts = picture.pts
                if pts is None and not decode:  # the empty packet that ends a stream
                    continue
                frames += 1
                increasing = increasing and pts is not None and pts > last
                last = last if pts is None else pts
                end = last + (picture.duration or 0)
            facts["duration_seconds"] = facts["duration_seconds"] or float(end * _fraction(stream.time_base))
    except (av.error.FFmpegError, EncodeError, OSError) as failure:
        error = f"{path} cannot be {'decoded' if decode else 'read'} past frame {frames}: {failure}"
    return VideoInfo(frames=frames, strictly_increasing=increasing, error=error, **facts)  # type: ignore[arg-type]  # facts' values have the fields' types


class DecodedPicture(NamedTuple):
    """One picture of a video.

    Attributes:
        at: when it is shown, in frames from the video's start; frames that were dropped leave a gap.
        rgb: uint8 ``(height, width, 3)``.
    """

    at: int
    rgb: Pixels


def pictures(path: Path, fps: Fraction, begin: int = 0, end: int | None = None) -> Generator[DecodedPicture]:
    """Decode a part of a video, beginning at the keyframe before it.

    Args:
        path: an MP4.
        fps: its frames per second.
        begin: the first frame of the part. Where that one was dropped, the picture before it is shown then.
        end: the last frame of the part + 1; None for the video's end.

    Yields:
        The pictures that are shown, the first at ``begin``, each with an array of its own.

    Raises:
        EncodeError: the file cannot be read or decoded.
    """
    with as_encode_error("reading", path), av.open(file_url(path), format="mp4") as video:
        stream = decodable(video)
        rate = fps * _fraction(stream.time_base)
        start = stream.start_time or 0
        if begin:
            video.seek(start + int(begin / rate), stream=stream)  # to the keyframe before it
        first: VideoFrame | None = None
        for frame in video.decode(stream):
            index = round(((frame.pts or 0) - start) * rate)
            if end is not None and index >= end:
                break
            if index <= begin:
                first = frame
                continue
            if first is not None:
                yield DecodedPicture(begin, _rgb(first))
                first = None
            yield DecodedPicture(index, _rgb(frame))
        if first is not None:
            yield DecodedPicture(begin, _rgb(first))


def _rgb(frame: VideoFrame) -> Pixels:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def decodable(container: InputContainer) -> VideoStream:
    """The video stream of an open file.

    Raises:
        EncodeError: the file has no video, or none that av has a decoder for. (Before av 18.1, decoding such a one
            ended the process, and a run folder may hold any file.)
    """
    for stream in container.streams.video[:1]:
        if cast("object", stream.codec_context) is not None:  # av's stub does not say that it may be None
            return stream
    raise EncodeError("it holds no video that can be decoded")


def _facts(stream: VideoStream) -> dict[str, object]:
    context = stream.codec_context
    form = context.format  # not `pix_fmt`, which ends the process in av 17 for a video without a picture
    return {
        "width": context.width,
        "height": context.height,
        "fps": _fraction(context.framerate) or _fraction(stream.average_rate),
        "pix_fmt": form.name if form else "",
        "codec": context.name,
        "duration_seconds": float((stream.duration or 0) * _fraction(stream.time_base)),
    }


def _fraction(ratio: Rational | None) -> Fraction:
    """A ratio of av's as a Fraction, 0 if unknown. In av 19 it has a type of its own, whose denominator may be 0."""
    return Fraction(int(ratio.numerator), int(ratio.denominator)) if ratio and ratio.denominator else Fraction(0)


def iter_frames(path: Path) -> Iterator[Pixels]:
    """Decode a video, frame by frame.

    Args:
        path: an MP4.

    Yields:
        uint8 ``(height, width, 3)`` RGB arrays, each its own.

    Raises:
        EncodeError: the file cannot be read or decoded.
    """
    with as_encode_error("reading", path), av.open(file_url(path), format="mp4") as container:
        for frame in container.decode(decodable(container)):
            yield frame.to_ndarray(format="rgb24")


def frames_shown(file: BinaryIO, name: str, fps: float) -> list[int]:
    """The numbers of the frames that a video has, from the times at which they are shown; dropped ones are missing.

    Args:
        file: open for reading; it stays open, but its position changes.
        name: of the file, for the error.
        fps: frames per second that the video was made for.

    Raises:
        EncodeError: the file cannot be read.
    """
    try:
        with av.open(file, format="mp4") as video:
            stream = decodable(video)
            base = _fraction(stream.time_base)
            return sorted(
                round(float(packet.pts * base) * fps) for packet in video.demux(stream) if packet.pts is not None
            )
    except (av.error.FFmpegError, EncodeError, OSError, ValueError) as error:
        raise EncodeError(f"{name} cannot be read: {error}") from error
