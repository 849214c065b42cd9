"""A video that is made of a ring: of pictures that are encoded already, while it goes on."""

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
    """What waits for a video whose pictures are in a ring: nothing of its own."""

    oldest: float | None = None

    def __len__(self) -> int:
        return 0


class SavedClip(ClipFile):
    """A video of a ring's pictures. It is made by the service's thread and belongs to the ring's worker from then on.

    Args:
        spec: the video to make.
        index: of the ring's next frame when it was asked for.
        before: so many frames of time before that are wanted.
        after: so many from that one on.
        health: is told of what nobody expected.

    Attributes:
        index, before, after: as given.
        queue: what waits for it.
        held: whether it only collects, until `start`: its row is not in the index yet.
        groups: the ring's, that have its pictures; others come to them as long as it is not `complete`.
        complete: whether no more pictures come.
        wake: called by `start`.
    """

    def __init__(self, spec: ClipSpec, index: int, before: int, after: int, health: Health | None = None) -> None:
        super().__init__(spec, health)
        self.index, self.before, self.after = index, before, after
        self.queue = NoQueue()
        self.held = True
        self.groups: list[PictureGroup] = []
        self.complete = False
        self.wake: Callable[[], None] = lambda: None
        self._taken = 0  # pictures of the first group
        self._first: int | None = None
        self._pictures: PacketWriter | None = None
        self._dimensions: tuple[int, int] | None = None

    def start(self) -> None:
        """Its row is in the index: it may be written."""
        self.held = False
        self.wake()

    def end(self, *, aborted: bool = False) -> None:
        """Its stream ends: the ring does, too, and ends it."""

    def reached(self, index: int) -> bool:
        """Whether the frames that are wanted end before this index."""
        return index >= self.index + self.after

    def write(self, encoder: PacketEncoder | None, size: tuple[int, int] | None) -> None:
        """Write what it has not written yet."""
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
            if len(self.groups) == 1:  # it may grow
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
            self.error = EncodeError(f"{self.spec.final} has no frame: none had come by then")
        return super().finish(aborted=aborted)

    def _size(self) -> tuple[int, int] | None:
        return self._dimensions
