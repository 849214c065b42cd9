"""Video files: written so that a crash costs at most a frame, published whole, read back.

While it is written a file is a fragmented MP4 with a fragment for each frame; closing it hides the fragments
behind an ordinary index, so what is published is a plain MP4 that any browser plays and seeks.
"""

from __future__ import annotations

import errno
import itertools
import os
import struct
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO, cast

import av
import av.error

from offcam_proto.errors import EncodeError
from offcam_proto.limits import KIB
from offcamd.video import h264
from offcamd.video.picture_encoder import SpareEncoders, VideoFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from numbers import Rational
    from pathlib import Path

    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

    from offcamd.video.pixels import Pixels

MIN_FPS, MAX_FPS = Fraction(1, 1001), 1000

KEPT_PACKETS, KEPT_BYTES = 256, 128 * KIB
"""Most that is kept in memory of a video for its copy; a longer one is read back, which then matters little."""

_MOVFLAGS = "hybrid_fragmented+frag_every_frame+empty_moov+default_base_moof"
_NO_DECODING = {"skip_frame": "all"}  # or opening a file of 1920x1080 decodes a keyframe, for tens of milliseconds
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def libraries() -> str:
    """The libraries that make and read videos here, and their versions."""
    codec = ".".join(map(str, av.library_versions.get("libavcodec", ())))
    return f"PyAV {av.__version__}, libavcodec {codec or 'of an unknown version'}"


@contextmanager
def _as_encode_error(doing: str, path: Path) -> Iterator[None]:
    """Turn what av or the operating system raises into an EncodeError with its reason."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        code = error.errno
        if code in _NO_SPACE:
            message = f"no space left while {doing} {path}: free some, or record elsewhere ({error})"
            raise EncodeError(message, "disk_full") from error
        if isinstance(error, OSError):
            raise EncodeError(f"the operating system failed {doing} {path}: {error}", "io") from error
        raise EncodeError(f"the encoder failed {doing} {path}: {error}") from error
    except ValueError as error:
        raise EncodeError(f"the encoder refused {doing} {path}: {error}") from error


def _clear_way(path: Path) -> None:
    """Remove what has the name of a file to be made: av would write through a link, to wherever that leads."""
    with suppress(FileNotFoundError):
        path.unlink()


def _url(path: Path) -> str:
    """A path as av takes it; with the prefix no name is mistaken for another protocol."""
    text = os.fspath(path)
    if "\0" in text:
        raise EncodeError(f"a video's path cannot hold a NUL character: {text!r}", "io")
    return f"file:{text}"


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
        self._kept = _Kept()
        self._spares = SpareEncoders() if spares is None else spares
        self._container: OutputContainer | None = None
        url = _url(path)
        with _as_encode_error("creating", path):
            self._encoder = self._spares.take(VideoFormat(width, height, Fraction(fps), preset, crf, encoder))
            _clear_way(path)
            self._container = av.open(url, "w", format="mp4", options={"movflags": _MOVFLAGS, "flush_packets": "1"})
            try:
                self._stream = self._container.add_stream_from_template(self._encoder.stream, opaque=True)
                self._container.start_encoding()  # creates the file
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
        with _as_encode_error("encoding into", self._path):
            self._mux(self._encoder.encode(i420, 0 if self._last is None else pts))
        self._last = pts

    def _mux(self, packets: Iterable[Packet[VideoStream]]) -> None:
        assert self._container is not None  # noqa: S101 - its callers looked
        for packet in packets:
            packet.stream = self._stream
            packet.duration = 1  # or the last picture would be shown for no time
            self._container.mux_one(packet)
            self._kept.add(packet)

    def close(self) -> None:
        """Finish the file, so that it is a plain MP4. Closing twice is harmless.

        Raises:
            EncodeError: the last bytes could not be written. All is released even so, and the file can be
                played up to what reached the disk.
        """
        if self._container is None:
            return
        with _as_encode_error("finishing", self._path):
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
        if self._kept.packets is None:
            remux(self._path, target)
        else:
            with _as_encode_error("copying", self._path):
                # not by this file's own stream: it is closed, and then av 19 takes none for a template
                _copy(self._encoder.stream, self._kept.packets, target)

    def _release(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.close()


class _Kept:
    """The packets of a video that is not too long, so that it need not be read back."""

    def __init__(self) -> None:
        self.packets: list[Packet[VideoStream]] | None = []
        self._nbytes = 0

    def add(self, packet: Packet[VideoStream]) -> None:
        if self.packets is not None:
            self._nbytes += packet.size
            self.packets.append(packet)
            if len(self.packets) > KEPT_PACKETS or self._nbytes > KEPT_BYTES:
                self.packets = None


def publish(part: Path, final: Path) -> None:
    """Give a finished file its name, for good: its bytes and its name survive a power cut once this returns.

    Args:
        part: the file as it was written, in the same file system as ``final``.
        final: its name from now on. A file of that name is replaced in one step.

    Raises:
        EncodeError: the operating system refused; ``part`` is where it was, unless only the last sync failed.
    """
    supersede(part, final)
    with _as_encode_error("publishing", final):
        _sync(final.parent, data_only=False)


def supersede(source: Path, target: Path) -> None:
    """The first half of `publish`: after a crash the name may still be the older file's, but never a torn one's."""
    with _as_encode_error("publishing", target):
        _sync(source, data_only=True)
        source.replace(target)


def salvage(part: Path) -> VideoInfo:
    """Make a file that was never finished playable to its end: cut off what was written of a last frame.

    Needs no space on the disk. The file stays fragmented; `remux` makes a plain MP4 of it. A finished file is
    left as it is.

    Args:
        part: what a `VideoWriter` that failed or was killed left.

    Returns:
        What is in the file now; no frames if nothing of it can be used.

    Raises:
        EncodeError: the operating system failed.
    """
    cut_tail(part)
    return probe(part)


def cut_tail(part: Path) -> int:
    """The first half of `salvage`: cut off what was written of a last frame. Returns how many bytes that were."""
    with _as_encode_error("salvaging", part), open(part, "r+b", opener=_no_link) as file:
        size = file.seek(0, os.SEEK_END)
        whole = 0
        for kind, end in _boxes(file):
            whole = whole if kind == b"moof" else end
        if whole < size:
            file.truncate(whole)
        return size - whole


def _no_link(path: str, flags: int) -> int:
    """Open a file that is to be changed; a link's target, which may be anywhere, is not."""
    return os.open(path, flags | os.O_NOFOLLOW)


def is_fragmented(path: Path) -> bool:
    """Whether a file is what a `VideoWriter` leaves that was not closed: an empty index, then fragments."""
    with _as_encode_error("reading", path), path.open("rb") as file:
        kinds = (kind for kind, _ in _boxes(file) if kind != b"free")
        return tuple(itertools.islice(kinds, 3)) == (b"ftyp", b"moov", b"moof")


def count_fragments(path: Path) -> int:
    """Whole frames in a file that a `VideoWriter` did not close, by its boxes alone: whatever the library can do.

    Raises:
        EncodeError: the operating system failed.
    """
    with _as_encode_error("reading", path), path.open("rb") as file:
        kinds = [kind for kind, _ in _boxes(file)]
    return sum(pair == (b"moof", b"mdat") for pair in itertools.pairwise(kinds))


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Kind and end of each whole top-level box of an MP4."""
    size_of_file = file.seek(0, os.SEEK_END)
    start = 0
    while start + 8 <= size_of_file:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8).rjust(8, b"\0"))
        start += size
        if size < 8 or start > size_of_file:
            return
        yield kind, start


def remux(source: Path, target: Path) -> None:
    """Copy a video into a plain MP4 without encoding it again.

    Args:
        source: an MP4, such as one that `salvage` made playable. Untouched.
        target: the new file, made anew.

    Raises:
        EncodeError: either file failed. ``target`` may be left incomplete.
    """
    with (
        _as_encode_error("copying", source),
        av.open(_url(source), format="mp4", options=_NO_DECODING) as old,
    ):
        stream = decodable(old)
        # the empty packet that ends a stream has no time
        _copy(stream, (packet for packet in old.demux(stream) if packet.dts is not None), target)


def _copy(template: VideoStream, packets: Iterable[Packet[VideoStream]], target: Path) -> None:
    _clear_way(target)
    with av.open(_url(target), "w", format="mp4") as container:
        stream = container.add_stream_from_template(template, opaque=True)
        for packet in packets:
            packet.stream = stream
            container.mux_one(packet)


def _sync(path: Path, *, data_only: bool) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync = getattr(os, "fdatasync", os.fsync) if data_only else os.fsync  # macOS has no fdatasync
        sync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class VideoInfo:
    """What decoding a whole file found.

    Attributes:
        frames: pictures decoded.
        width: pixels, 0 if unknown.
        height: pixels, 0 if unknown.
        fps: the rate the video was made for, 0 if unknown. Gaps left by dropped frames do not lower it.
        pix_fmt: such as ``yuv420p``, empty if unknown.
        codec: such as ``h264``, empty if unknown.
        duration_seconds: from the start to the end of the last picture.
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
    """Decode a whole video and say what is in it. Never raises for a bad file; see `VideoInfo.error`."""
    facts: dict[str, object] = {}
    frames, increasing, last, error = 0, True, -1, None
    try:
        with av.open(_url(path), format="mp4") as container:
            stream = decodable(container)
            facts = _facts(stream)
            for frame in container.decode(stream):
                frames += 1
                increasing = increasing and frame.pts is not None and frame.pts > last
                last = last if frame.pts is None else frame.pts
    except (av.error.FFmpegError, EncodeError, OSError) as failure:
        error = f"{path} cannot be decoded past frame {frames}: {failure}"
    return VideoInfo(frames=frames, strictly_increasing=increasing, error=error, **facts)  # type: ignore[arg-type]  # facts' values have the fields' types


def survey(path: Path) -> VideoInfo:
    """Say what is in a video as `probe` does, but without decoding it.

    Several times faster, and blind to a frame whose bytes are damaged. Never raises for a bad file.
    """
    facts: dict[str, object] = {}
    frames, increasing, last, end, error = 0, True, -1, 0, None
    try:
        with av.open(_url(path), format="mp4") as container:
            stream = decodable(container)
            facts = _facts(stream)
            for packet in container.demux(stream):
                if packet.pts is None:  # the empty packet that ends a stream
                    continue
                frames += 1
                increasing = increasing and packet.pts > last
                last, end = packet.pts, packet.pts + (packet.duration or 0)
            if not facts["duration_seconds"]:
                facts["duration_seconds"] = float(end * _fraction(stream.time_base))
    except (av.error.FFmpegError, EncodeError, OSError) as failure:
        error = f"{path} cannot be read past frame {frames}: {failure}"
    return VideoInfo(frames=frames, strictly_increasing=increasing, error=error, **facts)  # type: ignore[arg-type]  # as in probe


def decodable(container: InputContainer) -> VideoStream:
    """The video of an open file.

    Raises:
        EncodeError: it has none, or none that av has a decoder for: before av 18.1 asking for a picture of that
            ended the process, and a run folder may hold any file.
    """
    for stream in container.streams.video[:1]:
        if cast("object", stream.codec_context) is not None:  # its stub does not say so
            return stream
    raise EncodeError("it holds no video that can be decoded")


def _facts(stream: VideoStream) -> dict[str, object]:
    context = stream.codec_context
    form = context.format  # not `pix_fmt`: where a video has no picture, asking av 17 for that ends the process
    return {
        "width": context.width,
        "height": context.height,
        "fps": _fraction(context.framerate) or _fraction(stream.average_rate),
        "pix_fmt": form.name if form else "",
        "codec": context.name,
        "duration_seconds": float((stream.duration or 0) * _fraction(stream.time_base)),
    }


def _fraction(ratio: Rational | None) -> Fraction:
    """A ratio as av says it, which since av 19 is no `Fraction` and may have the denominator 0; 0 if unknown."""
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
    with _as_encode_error("reading", path), av.open(_url(path), format="mp4") as container:
        for frame in container.decode(decodable(container)):
            yield frame.to_ndarray(format="rgb24")
