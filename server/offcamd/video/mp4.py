"""Writing videos such that a crash costs at most one frame.

While a file is written it is a fragmented MP4 with a fragment for each frame; closing it hides the fragments
behind an ordinary index, so what is published is a plain MP4 that any browser plays and seeks.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError
from offcamd.video import h264
from offcamd.video.av_errors import as_encode_error
from offcamd.video.packet_file import PacketFile
from offcamd.video.picture_encoder import SpareEncoders, VideoFormat

if TYPE_CHECKING:
    from pathlib import Path

    from offcamd.video.pixels import Pixels

MIN_FPS, MAX_FPS = Fraction(1, 1001), 1000


class VideoWriter:
    """One H.264 MP4 that is being written. Use it from one thread at a time.

    Each frame is handed to the operating system when the next one is written, so a process killed at any
    moment loses at most the frame it wrote last. After an EncodeError only `close` may be called, and has to be;
    what the file holds by then can be played.

    Args:
        path: the file, made anew; its folder exists. By custom it ends in ``.part``.
        width: of the pictures in pixels, even.
        height: of the pictures in pixels, even.
        fps: pictures a second, `MIN_FPS` to `MAX_FPS`; need not be whole.
        preset: x264's speed, ``ultrafast`` to ``placebo``, or ``flat``; see `offcamd.video.h264`.
        crf: x264's quality, 0 (lossless) to 51.
        encoder: ``x264``, or another of `offcamd.video.h264.HARDWARE`.
        spares: where an open encoder of an earlier video is taken from, and this video's is left; None to open one.

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
        self._spares = SpareEncoders() if spares is None else spares
        with as_encode_error("creating", path):
            self._encoder = self._spares.take(
                VideoFormat(width=width, height=height, fps=Fraction(fps), preset=preset, crf=crf, encoder=encoder)
            )
            self._file = PacketFile(path, self._encoder.stream)

    def write(self, i420: Pixels, pts: int) -> None:
        """Encode one picture.

        Args:
            i420: C-contiguous uint8 ``(height * 3 // 2, width)``, planes Y, U, V. Not kept after the return.
            pts: when to show it, in frames since the start (units of ``1 / fps``), larger than the last one.
                A gap lengthens the picture before it; the first picture is shown from the start in any case.

        Raises:
            EncodeError: the encoder or the disk failed, or the picture has another size than the video.
        """
        if i420.shape != self._shape:  # av would rescale the picture silently
            raise EncodeError(f"{self._path} holds pictures of shape {self._shape}, got {i420.shape}")
        if self._last is not None and pts <= self._last:
            raise EncodeError(f"pts must grow, but {pts} came after {self._last} in {self._path}")
        if self._file.closed:
            raise EncodeError(f"{self._path} is closed already")
        with as_encode_error("encoding into", self._path):
            self._file.require()
            self._file.write(self._encoder.encode(i420, 0 if self._last is None else pts))
        self._last = pts

    def go_on_from(self, unfinished: Path) -> int:
        """Take over the pictures of an unfinished file of the same settings, before any is written, and its path.

        Args:
            unfinished: a file that another `VideoWriter` left, salvaged, in the same file system.

        Returns:
            The pts of its last picture.

        Raises:
            EncodeError: a file failed, or this encoder's pictures do not go with those. The file is as it was.
        """
        with as_encode_error("going on with", unfinished):
            self._last = self._file.take_over(unfinished, self._encoder.tick)
        self._path = unfinished
        return self._last

    def close(self) -> None:
        """Finish the file, so that it is a plain MP4. A second call does nothing.

        Raises:
            EncodeError: the last bytes could not be written. Encoder and file are released even so, and the file
                can be played up to what reached the disk.
        """
        if self._file.closed:
            return
        with as_encode_error("finishing", self._path):
            try:
                if self._last is not None:
                    self._file.write(self._encoder.finish())
            finally:
                self._file.close()
        self._spares.give(self._encoder)

    def copy_to(self, target: Path) -> None:
        """Write the finished video once more, as `remux` does, but at a fraction of the cost if it is short.

        Raises:
            EncodeError: either file failed. ``target`` may be left incomplete.
        """
        with as_encode_error("copying", self._path):
            self._file.copy_to(target)
