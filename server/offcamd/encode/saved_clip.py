"""A video that is saved from a ring: its pictures are encoded already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError
from offcamd.encode.clip_file import ClipFile, ClipSpec

if TYPE_CHECKING:
    from offcam_runs.accounts import EncodedResult
    from offcamd.encode.packet_ring import EncodedPicture, PictureGroup
    from offcamd.process.health import Health
    from offcamd.video.writer import PacketEncoder, PacketWriter


class NoQueue:
    """The queue of a saved video, always empty: frames wait in its ring's queue."""

    oldest: float | None = None

    def __len__(self) -> int:
        return 0


class SavedClip(ClipFile):
    """A video of a ring's pictures. Made on the service's thread, which calls `start`; the ring's worker does the rest.

    Args:
        spec: the video to make.
        index: that of the ring's next frame when the video was asked for.
        before: how many frames of time it shows before ``index``.
        after: how many frames of time it shows from ``index`` on.
        health: is told of unexpected errors.

    Attributes:
        queue: always empty.
        held: whether it must not be written yet, as its row is not in the index.
        groups: the ring's groups with pictures not written yet; the ring adds others until it is ``complete``.
        complete: whether no more pictures come.
        wake: has a worker look at the ring; called by `start`.
    """

    def __init__(self, spec: ClipSpec, index: int, before: int, after: int, health: Health | None = None) -> None:
        super().__init__(spec, health)
        self.index, self.before, self.after = index, before, after
        self.queue = NoQueue()
        self.held = True
        self.groups: list[PictureGroup] = []
        self.complete = False
        self.wake: Callable[[], None] = lambda: None
        self._taken = 0  # how many pictures of the first group were written
        self._first: int | None = None
        self._pictures: PacketWriter | None = None
        self._dimensions: tuple[int, int] | None = None

    def start(self) -> None:
        """Let it be written, as its row is in the index."""
        self.held = False
        self.wake()

    def end(self, *, aborted: bool = False) -> None:
        """Do nothing: the ring ends with its stream, and ends this video."""

    def want(self) -> None:
        """Do nothing: rings are encoded at once."""

    def reached(self, index: int) -> bool:
        """Whether all frames that it shows are before this index."""
        return index >= self.index + self.after

    def write(self, encoder: PacketEncoder | None, size: tuple[int, int] | None) -> None:
        """Write the pictures that were not written yet, of ``size`` (width, height) in pixels."""
        if self.error is not None or encoder is None:
            return
        self._dimensions = size
        try:
            with self._explained("saving"):
                for picture in self._next():
                    self._write(encoder, picture)
        except EncodeError as error:
            self.fail(error, lost=1)

    def _next(self) -> Iterator[EncodedPicture]:
        while self.groups:
            for picture in self.groups[0].pictures(self._taken):
                if self.reached(picture.pts):
                    return
                self._taken += 1
                yield picture
            if len(self.groups) == 1:  # the newest group may grow
                return
            self.groups.pop(0)
            self._taken = 0

    def _write(self, encoder: PacketEncoder, picture: EncodedPicture) -> None:
        if self._pictures is None:
            self._created = True
            self._writer = self._pictures = encoder.file(self.spec.part)
        if self._first is None:
            self._first = picture.pts
        time = picture.pts - self._first
        self._pictures.write(picture.data, time, key=picture.key)
        self._encoded += 1
        self._last_index = time

    def finish(self, *, aborted: bool = False) -> EncodedResult:
        """Complete the file and give it its name; without a picture there is none, which is an error."""
        self.groups.clear()
        if not self._encoded and self.error is None:
            self.error = EncodeError(f"{self.spec.final} has no frame: none had come when it was saved")
        return super().finish(aborted=aborted)

    def _size(self) -> tuple[int, int] | None:
        return self._dimensions
