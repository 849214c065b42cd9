"""Pictures in, H.264 packets out, for one video after another: to open an encoder costs as much as several pictures."""

from __future__ import annotations

import io
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame

from offcam_proto.limits import MIB
from offcamd.video import h264

if TYPE_CHECKING:
    from fractions import Fraction

    from av.video.stream import VideoStream

    from offcamd.video.pixels import Pixels

SPARE_BYTES = 32 * MIB
"""Most memory of encoders that wait for their next video, in bytes."""

_KEYFRAME_SECONDS = 4
_KEYFRAME_FRAMES = (12, 250)  # bounds of the distance of keyframes: a seek decodes at most so many frames, at any rate
_BT709, _SRGB, _SMPTE170M, _LIMITED = 1, 13, 6, 1  # primaries, transfer, matrix (ITU-T H.273), range
_START_CODE, _SEI = b"\0\0\1", b"\6"  # of H.264's byte stream (ITU-T H.264, annex B and table 7-1)


@dataclass(frozen=True)
class VideoFormat:
    """What an encoder is opened for; the fields are as the arguments of `offcamd.video.mp4.VideoWriter`."""

    width: int
    height: int
    fps: Fraction
    preset: str
    crf: int
    encoder: str = h264.X264

    @property
    def nbytes(self) -> int:
        """Most memory that an encoder for this format takes, in bytes."""
        return h264.encoder_bytes(self.width, self.height, self.preset)

    @property
    def lasting(self) -> bool:
        """Whether an encoder can be used for a next video: with a constant quantiser it keeps no state of the last."""
        return self.encoder == h264.X264 and self.preset == h264.FLAT_PRESET


class PictureEncoder:
    """An open encoder. Use it from one thread at a time. Errors of av are not caught.

    Attributes:
        form: the format that it was opened for.
        stream: av's stream, a template for the containers of its packets.
        tick: the time base of its packets: the unit of their times, in seconds.
    """

    def __init__(self, form: VideoFormat) -> None:
        self.form = form
        # av sets up an encoder for MP4 only with a stream of some container, which also is the template for others.
        self._container = av.open(io.BytesIO(), "w", format="mp4")
        name = "libx264" if form.encoder == h264.X264 else form.encoder
        told = h264.options(form.encoder, form.preset, form.crf)
        self.stream = cast("VideoStream", self._container.add_stream(name, rate=form.fps, options=told))
        self.tick = 1 / form.fps
        self._configure()
        self._container.start_encoding()
        self._picture = _Picture()
        self._begun = False
        self._start = self._next = 0
        self._waiting = 0

    def _configure(self) -> None:
        context, form = self.stream.codec_context, self.form
        context.width, context.height, context.pix_fmt = form.width, form.height, "yuv420p"
        context.time_base = self.tick
        context.thread_count = 1  # one, as many clips are encoded in parallel
        shortest, longest = _KEYFRAME_FRAMES
        context.gop_size = min(max(round(form.fps * _KEYFRAME_SECONDS), shortest), longest)
        # Rendered pictures are sRGB (primaries of BT.709); matrix and range are those of BT.601, as `planes` converts.
        context.color_primaries, context.color_trc, context.colorspace = _BT709, _SRGB, _SMPTE170M
        context.color_range = _LIMITED

    def begin(self) -> None:
        """Begin a new video with the next picture."""
        self._start = self._next

    def encode(self, i420: Pixels, pts: int, *, key: bool = False) -> list[Packet[VideoStream]]:
        """Encode one picture.

        Args:
            i420: C-contiguous uint8 ``(height * 3 // 2, width)``, planes Y, U, V. Not kept after the return.
            pts: when it is shown, in frames since the video's start; larger than the last one.
            key: whether to make it a keyframe, as a video's first picture is.

        Returns:
            The packets that are ready, in order, with times in the video.
        """
        # x264 copies what it is sent; of hardware's some may hold on to it
        frame = (self._picture if self.form.encoder == h264.X264 else _Picture()).of(i420)
        frame.pict_type = PictureType.I if key or self._next == self._start else PictureType.NONE
        frame.pts = self._start + pts
        frame.time_base = self.tick
        self._next = frame.pts + 1
        self._waiting += 1
        return self._packets(frame)

    def finish(self) -> list[Packet[VideoStream]]:
        """The video's last packets. Only an encoder that is `free` can begin another video after this."""
        self._picture = _Picture()
        return [] if self.free else self._packets(None)

    @property
    def free(self) -> bool:
        """Whether it can go on with another video."""
        return self.form.lasting and not self._waiting

    def _packets(self, frame: VideoFrame | None) -> list[Packet[VideoStream]]:
        found: list[Packet[VideoStream]] = []
        for packet in self.stream.encode(frame):
            whole = packet if self._begun else _without_remarks(packet)
            self._begun = True
            self._waiting -= 1
            if self._start and whole.pts is not None and whole.dts is not None:
                whole.pts, whole.dts = whole.pts - self._start, whole.dts - self._start
            found.append(whole)
        return found


class _Picture:
    """Pictures as av's frame: one for all, as to make one takes longer than to fill it."""

    def __init__(self) -> None:
        self._source: Pixels | None = None
        self._frame: VideoFrame | None = None
        self._planes: list[Pixels] = []

    def of(self, i420: Pixels) -> VideoFrame:
        """The frame with this picture, until the next call; not copied where its size allows that."""
        frame = self._frame
        if frame is None or (not self._planes and i420 is not self._source):
            frame = self._frame = self._made(i420)
        if self._planes:
            rows, width = i420.shape
            height = rows * 2 // 3
            blue, red = i420[height:].reshape(2, height // 2, width // 2)
            for plane, part in zip(self._planes, (i420[:height], blue, red), strict=True):
                plane[...] = part
        return frame

    def _made(self, i420: Pixels) -> VideoFrame:
        rows, width = i420.shape
        if rows % 6 == 0:
            self._source = i420
            return VideoFrame.from_numpy_buffer(i420, format="yuv420p")
        # `from_numpy_buffer` gets heights wrong that are no multiple of four, and `from_ndarray` takes ten times as
        # long as these copies.
        frame = VideoFrame(width, rows * 2 // 3, "yuv420p")
        self._planes = [
            np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]  # type: ignore[call-overload]  # its stub hides that it is a buffer
            for plane in frame.planes
        ]
        return frame


def _without_remarks(packet: Packet[VideoStream]) -> Packet[VideoStream]:
    """An encoder's first packet without the half kilobyte of text in which x264 says its options.

    The text is an SEI message of its own before the picture. It ends at the next start code, which it cannot contain.
    """
    data = bytes(packet)
    end = data.find(_START_CODE, 4)
    if not data.startswith((_START_CODE + _SEI, b"\0" + _START_CODE + _SEI)) or end < 0:
        return packet
    rest = cast("Packet[VideoStream]", Packet(data[end:]))
    rest.pts, rest.dts, rest.time_base, rest.is_keyframe = packet.pts, packet.dts, packet.time_base, packet.is_keyframe
    return rest


class SpareEncoders:
    """Keeps open encoders between two videos, up to `SPARE_BYTES` of memory. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spare: deque[PictureEncoder] = deque()
        self._nbytes = 0

    def take(self, form: VideoFormat) -> PictureEncoder:
        """A spare encoder, or a new one. Raises what av raises."""
        with self._lock:
            for encoder in reversed(self._spare):
                if encoder.form == form:
                    self._spare.remove(encoder)
                    self._nbytes -= form.nbytes
                    encoder.begin()
                    return encoder
        return PictureEncoder(form)

    def give(self, encoder: PictureEncoder) -> None:
        """Keep an encoder for its next video, if it can make one. The oldest spare ones are dropped."""
        if not encoder.free:
            return
        with self._lock:
            self._spare.append(encoder)
            self._nbytes += encoder.form.nbytes
            while self._nbytes > SPARE_BYTES:
                self._nbytes -= self._spare.popleft().form.nbytes
