"""Encodes one clip into one file and keeps count of every frame. Knows of no queue and no thread."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError, FrameError
from offcamd.encode.clip_file import ClipFile, ClipSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcamd.encode.frame import Frame
    from offcamd.process.health import Health
    from offcamd.video.i420 import I420Converter
    from offcamd.video.pixels import Pixels
    from offcamd.video.writer import Writer, WriterFactory

__all__ = ["ClipEncoder", "ClipSpec", "PictureTaker"]

log = logging.getLogger(__name__)


class PictureTaker(ClipFile):
    """Takes the frames of one clip, in order. Use it from one thread at a time."""

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
        return self._converter.convert([view(buffer, layout) for buffer, layout in frame.parts])


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

    def _write(self, index: int, planes: Pixels) -> None:
        spec = self.spec
        if self._pictures is None:
            self._created = True
            height, width = planes.shape[0] * 2 // 3, planes.shape[1]
            self._writer = self._pictures = self._make_writer(
                spec.part, width=width, height=height, fps=spec.fps, preset=spec.preset, crf=spec.crf
            )
        self._pictures.write(planes, index)
        self._encoded += 1
        self._last_index = index
