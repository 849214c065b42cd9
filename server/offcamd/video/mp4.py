"""Videos as they are written: so that a crash costs at most a frame.

While it is written a file is a fragmented MP4 with a fragment for each frame; closing it hides the fragments
behind an ordinary index, so what is published is a plain MP4 that any browser plays and seeks.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

import av

from offcam_proto.errors import EncodeError
from offcam_proto.limits import KIB
from offcamd.video import h264
from offcamd.video.av_errors import as_encode_error, file_url
from offcamd.video.picture_encoder import SpareEncoders, VideoFormat
from offcamd.video.remux import copy_packets, remux

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

    from offcamd.video.pixels import Pixels

MIN_FPS, MAX_FPS = Fraction(1, 1001), 1000

KEPT_PACKETS, KEPT_BYTES = 256, 128 * KIB
"""Most that is kept in memory of a video for its copy; a longer one is read back, which then matters little."""

_MOVFLAGS = "hybrid_fragmented+frag_every_frame+empty_moov+default_base_moof"


class VideoWriter:
    """One H.264 MP4 that is being written. Use it from one thread at a time.

    Each frame is handed to the operating system when the next one is written, so a process killed at any
    moment loses at most the frame it wrote last. After an EncodeError the writer is of no more use, but call
    `close` all the same; what the file holds by then can be played.

    Args:
        path: the file, made anew; its folder exists. By custom it ends in ``.part``.
        width: of the pictures in pixels, even.
        height: of the pictures in pixels, even.
        fps: pictures a second, `MIN_FPS` to `MAX_FPS`; need not be whole.
        preset: x264's speed, ``ultrafast`` to ``placebo``, or ``flat``; see `offcamd.video.h264`.
        crf: x264's quality, 0 (lossless) to 51.
        encoder: ``x264``, or another of `offcamd.video.h264.HARDWARE`.
        spares: encoders that earlier videos left, where the one of this video is left, too.

    Raises:
        EncodeError: the file cannot be created, or no encoder takes these settings.
    """

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        height: int,
        fps: Fraction,
        preset: str,
        crf: int,
        encoder: str = h264.X264,
        spares: SpareEncoders | None = None,
    ) -> None:
        if not MIN_FPS <= fps <= MAX_FPS:
            raise EncodeError(f"a video has {MIN_FPS} to {MAX_FPS} frames a second, not {fps}: check render_fps")
        self._path = path
        self._shape = (height * 3 // 2, width)
        self._last: int | None = None
        self._kept: list[Packet[VideoStream]] | None = []
        self._kept_bytes = 0
        self._spares = SpareEncoders() if spares is None else spares
        self._container: OutputContainer | None = None
        url = file_url(path)
        with as_encode_error("creating", path):
            self._encoder = self._spares.take(VideoFormat(width, height, Fraction(fps), preset, crf, encoder))
            path.unlink(missing_ok=True)  # av would write through a link, to wherever that leads
            self._container = av.open(url, "w", format="mp4", options={"movflags": _MOVFLAGS, "flush_packets": "1"})
            try:
                self._stream = self._container.add_stream_from_template(self._encoder.stream, opaque=True)
                self._container.start_encoding()  # creates the file
                self._file = path.lstat()
            except BaseException:
                self._release()
                raise

    def write(self, i420: Pixels, pts: int) -> None:
        """Encode one picture.

        Args:
            i420: C-contiguous uint8 ``(height * 3 // 2, width)``, planes Y, U, V. Free again on return.
            pts: when to show it, in frames since the start (units of ``1 / fps``), larger than the last one.
                Gaps lengthen the picture before them; the first one is shown from the start in any case.

        Raises:
            EncodeError: the encoder or the disk failed, or the picture has another size than the video.
        """
        if i420.shape != self._shape:  # av would rescale it without a word
            raise EncodeError(f"{self._path} holds pictures of shape {self._shape}, got {i420.shape}")
        if self._last is not None and pts <= self._last:
            raise EncodeError(f"pts must grow, but {pts} came after {self._last} in {self._path}")
        if self._container is None:
            raise EncodeError(f"{self._path} is closed already")
        with as_encode_error("encoding into", self._path):
            self._require_file()
            self._mux(self._encoder.encode(i420, 0 if self._last is None else pts))
        self._last = pts

    def _require_file(self) -> None:
        if not os.path.samestat(os.lstat(self._path), self._file):
            raise FileNotFoundError(errno.ENOENT, "another file was put in its place")

    def _mux(self, packets: Iterable[Packet[VideoStream]]) -> None:
        assert self._container is not None  # noqa: S101 - its callers looked
        for packet in packets:
            packet.stream = self._stream
            packet.duration = 1  # or the last picture would be shown for no time
            self._container.mux_one(packet)
            if self._kept is not None:
                self._kept.append(packet)
                self._kept_bytes += packet.size
                if len(self._kept) > KEPT_PACKETS or self._kept_bytes > KEPT_BYTES:
                    self._kept = None

    def close(self) -> None:
        """Finish the file, so that it is a plain MP4. Closing twice is harmless.

        Raises:
            EncodeError: the last bytes could not be written. All is released even so, and the file can be
                played up to what reached the disk.
        """
        if self._container is None:
            return
        with as_encode_error("finishing", self._path):
            try:
                if self._last is not None:
                    self._mux(self._encoder.finish())
            finally:
                self._release()
        self._spares.give(self._encoder)

    def copy_to(self, target: Path) -> None:
        """Write the finished video once more, as `remux` does, at a fraction of the cost where it is a short one.

        Raises:
            EncodeError: either file failed. ``target`` may be left incomplete.
        """
        if self._kept is None:
            remux(self._path, target)
        else:
            with as_encode_error("copying", self._path):
                # not by this file's own stream: it is closed, and then av 19 takes none for a template
                copy_packets(self._encoder.stream, self._kept, target)

    def _release(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.close()
