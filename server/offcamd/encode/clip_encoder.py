"""Encodes one clip into one file and keeps count of every frame. Knows of no queue and no thread."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError, FrameError
from offcam_runs.format import PLAIN_EXTENSION
from offcamd.encode.clip_file import ClipFile, ClipSpec
from offcamd.video.files import salvage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from offcamd.encode.frame import Frame
    from offcamd.process.health import Health
    from offcamd.video.i420 import I420Converter
    from offcamd.video.pixels import Pixels
    from offcamd.video.writer import Writer, WriterFactory

__all__ = ["ClipEncoder", "ClipSpec", "PictureTaker"]

log = logging.getLogger(__name__)


class PictureTaker(ClipFile):
    """Takes the frames of one clip, in order. Use it from one thread at a time.

    Attributes:
        together: how many frames it is best given at once.
    """

    together = 1

    def __init__(self, spec: ClipSpec, health: Health | None = None) -> None:
        super().__init__(spec, health)
        self._converter: I420Converter | None = None

    def _size(self) -> tuple[int, int] | None:
        return self._converter.size if self._converter else None

    def _write(self, index: int, planes: Pixels) -> None:
        """Encode a picture, or raise EncodeError."""
        raise NotImplementedError

    def encode(self, frame: Frame, on_read: Callable[[], None]) -> None:
        """Encode one picture, or count it as dropped.

        Args:
            frame: its pixels, and its index in units of ``1 / fps``.
            on_read: called once the pixels were converted, before they are encoded. ``frame.parts`` is not used later.
        """
        try:
            try:
                planes = self._convert(frame)
            finally:
                on_read()
            if planes is not None:
                self._write(frame.index, planes)
        except FrameError as error:
            if "frame" not in self._dropped:  # one warning for each clip
                log.warning("frame %d of %s was dropped: %s", frame.index, self.spec.final, error)
            self.drop(1, "frame")
        except EncodeError as error:
            self.fail(error, lost=1)
        except BaseException as error:  # noqa: BLE001 - does as `_explained`, which is too slow for each frame
            self.fail(self._unexpected("encoding", error), lost=1)

    def encode_all(
        self, frames: Sequence[Frame], on_read: Callable[[Frame], None], on_written: Callable[[Frame], None]
    ) -> None:
        """As `encode`, for some frames, each of which ``on_written`` is called with once the muxer has it."""
        for frame in frames:
            self.encode(frame, partial(on_read, frame))
            on_written(frame)

    def _convert(self, frame: Frame) -> Pixels | None:
        if self.error is not None:
            self.drop(1)
            return None
        if frame.index <= self._last_index:
            self.drop(1, "order")
            return None
        from offcamd.video.i420 import I420Converter  # noqa: PLC0415 - loads the pixel library
        from offcamd.video.pixels import view  # noqa: PLC0415 - as above

        spec = self.spec
        self._converter = self._converter or I420Converter(spec.rows, spec.cols, spec.max_width, spec.max_height)
        return self._converter.convert([view(buffer, layout) for buffer, layout in frame.pixels()])


class ClipEncoder(PictureTaker):
    """Encodes one clip. The file is created with the first picture, so a clip without one leaves none.

    Args:
        spec: the video to make.
        writer_factory: makes its writer.
        health: is told of unexpected errors.
    """

    def __init__(self, spec: ClipSpec, writer_factory: WriterFactory, health: Health | None = None) -> None:
        super().__init__(spec, health)
        self._make_writer = writer_factory
        self._pictures: Writer | None = None
        self._resumed_size: tuple[int, int] | None = None

    @property
    def encoded(self) -> int:
        """How many pictures are in the file."""
        return self._encoded

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of its pictures in pixels; None before the first one."""
        return self._size()

    @property
    def last_index(self) -> int:
        """Index of the last picture in the file; -1 before the first one."""
        return self._last_index

    def resume(self) -> None:
        """Go on with the file of an encoder that died. What is in it by then counts as encoded."""
        part = self.spec.part
        fresh = part.with_name(part.name + PLAIN_EXTENSION)
        try:
            with self._explained("going on with"):
                info = salvage(part) if part.exists() else None
                if info is not None and info.frames:
                    self._encoded, self._resumed_size = info.frames, (info.width, info.height)
                    self._last_index = self._open(fresh, info.width, info.height).go_on_from(part)
        except EncodeError as error:
            self.fail(error)
            with suppress(OSError):
                fresh.unlink(missing_ok=True)

    def _size(self) -> tuple[int, int] | None:
        return super()._size() or self._resumed_size

    def _open(self, path: Path, width: int, height: int) -> Writer:
        self._created, spec = True, self.spec
        self._writer = self._pictures = self._make_writer(
            path, width=width, height=height, fps=spec.fps, preset=spec.preset, crf=spec.crf
        )
        return self._pictures

    def _write(self, index: int, planes: Pixels) -> None:
        writer = self._pictures or self._open(self.spec.part, planes.shape[1], planes.shape[0] * 2 // 3)
        writer.write(planes, index)
        self._encoded += 1
        self._last_index = index
