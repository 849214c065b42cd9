"""Thumbnails: one picture of a video, to show what it is about, and a JPEG of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import av
import av.error
import cv2
import numpy as np

from offcam_proto.errors import EncodeError
from offcam_proto.limits import MAX_FRAME_SIDE
from offcamd.video.probe import decodable

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from offcamd.video.pixels import Pixels

MOST_PIXELS = 48_000_000
"""Most pixels that are decoded for one thumbnail: 200 frames of 600x400, about the distance of two keyframes."""


def middle_picture(file: BinaryIO, name: str) -> Pixels:
    """The picture in the middle of a video, or one before it where decoding up to there would take too long.

    Args:
        file: open for reading; it stays open, but its position changes.
        name: of the file, for the error.

    Returns:
        uint8 ``(height, width, 3)`` RGB.

    Raises:
        EncodeError: there is no picture that can be decoded.
    """
    try:
        with av.open(file, format="mp4") as video:
            frame = _middle_frame(video)
            if frame is not None:
                return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except (av.error.FFmpegError, EncodeError, OSError, ValueError) as error:
        raise EncodeError(f"{Path(name)} cannot be read: {error}") from error
    raise EncodeError(f"{name} holds no picture of a size that H.264 has")


def _middle_frame(video: InputContainer) -> VideoFrame | None:
    stream = decodable(video)
    if max(stream.width, stream.height) > MAX_FRAME_SIDE:
        return None
    middle = (stream.start_time or 0) + (stream.duration or 0) // 2
    video.seek(middle, stream=stream)  # to the keyframe before it
    return _last_until(middle, video, stream)


def _last_until(moment: int, video: InputContainer, stream: VideoStream) -> VideoFrame | None:
    """The first picture at or behind a moment, or the last one that could be decoded before it."""
    found, left = None, MOST_PIXELS
    try:
        for frame in video.decode(stream):
            found, left = frame, left - frame.width * frame.height
            if left <= 0 or frame.pts is None or frame.pts >= moment:
                break
    except av.error.FFmpegError:  # the rest of the file is damaged
        if found is None:
            raise
    return found


def jpeg(picture: Pixels, longest: int) -> bytes:
    """A picture, uint8 ``(height, width, 3)`` RGB, as the bytes of a JPEG whose sides are at most ``longest`` pixels.

    Raises:
        EncodeError: cv2 cannot encode it.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, longest / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = picture if scale == 1.0 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    if not done:
        raise EncodeError(f"no JPEG can be made of a picture of shape {picture.shape}")
    return bytes(encoded)
