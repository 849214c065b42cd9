"""Encodes the frames of a ring, holds the last of them, and has videos saved from them. Knows of no queue."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from offcam_runs.accounts import EncodedResult
from offcam_runs.format import FINAL
from offcamd.encode.clip_encoder import ClipSpec, PictureTaker
from offcamd.encode.packet_ring import EncodedPicture, PacketRing

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcamd.encode.frame import Frame
    from offcamd.encode.packet_ring import RingMemory
    from offcamd.encode.saved_clip import SavedClip
    from offcamd.process.health import Health
    from offcamd.video.pixels import Pixels
    from offcamd.video.writer import PacketEncoder, PacketEncoderFactory

log = logging.getLogger(__name__)


class RingClip(PictureTaker):
    """A ring: a clip that has no file. For one thread at a time, unless said otherwise.

    Args:
        spec: how it is encoded and how long it is; its ``final`` serves as its name in messages.
        make_encoder: makes its encoder.
        memory: the memory of all rings.
        on_saved: called with each video that was saved from it, and the result.
        health: is told of unexpected errors.
    """

    def __init__(
        self,
        spec: ClipSpec,
        make_encoder: PacketEncoderFactory,
        memory: RingMemory,
        on_saved: Callable[[SavedClip, EncodedResult], None],
        health: Health | None = None,
    ) -> None:
        super().__init__(spec, health)
        self._make_encoder = make_encoder
        self._memory = memory
        self._on_saved = on_saved
        self._ring = PacketRing(spec.ring_frames)
        self._encoder: PacketEncoder | None = None
        self._asked: deque[SavedClip] = deque()  # videos to be begun when the frames before them have come
        self._open: list[SavedClip] = []
        self._told = False  # whether a warning said that the ring is shorter than asked for
        memory.enter()

    def save(self, saved: SavedClip) -> None:
        """Have a video saved. From any thread."""
        self._asked.append(saved)

    @property
    def nbytes(self) -> int:
        """Bytes of memory, without its encoder's."""
        return self._ring.nbytes

    @property
    def held(self) -> bool:
        """Whether a video waits for its row in the index before it is written. From any thread."""
        return any(saved.held for saved in [*self._asked, *self._open])

    def release(self) -> None:
        """Let videos be written without their rows. From any thread."""
        for saved in [*self._asked, *self._open]:
            saved.held = False

    def encode(self, frame: Frame, on_read: Callable[[], None]) -> None:
        """As `PictureTaker.encode`; videos that begin or end at this frame do so."""
        self._reach(frame.index)
        super().encode(frame, on_read)
        self._end(frame.index + 1)

    @property
    def asked(self) -> int:
        """How many videos are to be begun when the frames before them have come."""
        return len(self._asked)

    def settle(self, here: int) -> None:
        """Begin the first ``here`` of the videos `asked` for, write into the open ones, and finish complete ones."""
        for _ in range(here):
            self._begin()
        still = []
        for saved in self._open:
            if not saved.held:
                saved.write(self._encoder, self._size())
            if saved.held or not saved.complete:
                still.append(saved)
                continue
            self._on_saved(saved, saved.finish(aborted=False))
        self._open = still

    def finish(self, *, aborted: bool = False) -> EncodedResult:  # noqa: ARG002 - a ring has no file to be cut off
        """End the ring, and before it the videos saved from it, with the pictures that there are."""
        self._begin_all()
        self.release()
        for saved in self._open:
            saved.complete = True
        self.settle(0)
        return self._let_go()

    def abandon(self, error: BaseException) -> EncodedResult:
        """As `ClipFile.abandon`, for the ring and the videos saved from it."""
        self._begin_all()
        for saved in self._open:
            self._on_saved(saved, saved.abandon(error))
        self._open.clear()
        self.error = self.error or self._unexpected("holding", error)
        return self._let_go()

    def _let_go(self) -> EncodedResult:
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            encoder.close()
        self._ring.clear()
        self._memory.leave()
        return EncodedResult(FINAL, None, encoded=0, duration=0.0, error=str(self.error or ""))

    def _reach(self, index: int) -> None:
        """Begin the videos that were asked for before this frame, and end those that do not show it."""
        while self._asked and index >= self._asked[0].index:
            self._begin()
        self._end(index)

    def _begin(self) -> None:
        saved = self._asked.popleft()
        saved.groups += self._ring.since(saved.index - saved.before)
        saved.complete = not saved.after
        self._open.append(saved)

    def _begin_all(self) -> None:
        while self._asked:
            self._begin()

    def _end(self, index: int) -> None:
        for saved in self._open:
            saved.complete = saved.complete or saved.reached(index)

    def _write(self, index: int, planes: Pixels) -> None:
        spec, limit = self.spec, self._memory.share
        if self._encoder is None:
            height, width = planes.shape[0] * 2 // 3, planes.shape[1]
            self._encoder = self._make_encoder(
                spec.final, width=width, height=height, fps=spec.fps, preset=spec.preset, crf=spec.crf
            )
        made = self._encoder.encode(planes, index, key=self._ring.wants_key(index, limit))
        for picture in (EncodedPicture(*each) for each in made):
            self._ring.add(picture, limit)
            if picture.key:
                for saved in self._open:
                    if not saved.complete:
                        saved.groups.append(self._ring.newest)
        self._last_index = index
        if self._ring.shortened and not self._told:
            self._told = True
            problem = (
                f"{spec.final}: less than the last seconds asked for is held, as they take more than {limit:,} bytes "
                "of memory: ask for fewer seconds, or record smaller frames"
            )
            log.warning(problem)
            self._health.note(problem)
