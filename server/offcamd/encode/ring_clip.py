"""Encodes the frames of a ring, holds the last of them, and has videos made of them. Knows of no queue."""

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
    """A clip that has no file. Use it from one thread at a time, but for `save`. Nothing here raises.

    Args:
        spec: of it; its ``final`` is what it is called by.
        make_encoder: makes what encodes it.
        memory: what all rings may take.
        on_saved: called with each video that was made of it, and how that ended.
        health: is told of what nobody expected.
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
        self._asked: deque[SavedClip] = deque()  # behind frames that have not come yet
        self._open: list[SavedClip] = []
        self._told = False  # whether it was said that it is shorter than asked for
        memory.enter()

    def save(self, saved: SavedClip) -> None:
        """Have a video made of it. From any thread."""
        self._asked.append(saved)

    @property
    def nbytes(self) -> int:
        """Memory of what it holds, without its encoder's."""
        return self._ring.nbytes

    @property
    def held(self) -> bool:
        """Whether a video is not to be written yet. From any thread."""
        return any(saved.held for saved in [*self._asked, *self._open])

    def release(self) -> None:
        """Have no video wait for its row any more. From any thread."""
        for saved in [*self._asked, *self._open]:
            saved.held = False

    def encode(self, frame: Frame, on_read: Callable[[], None]) -> None:
        """Encode one picture, as `PictureTaker.encode`, behind those that videos are to end with or begin from."""
        self._reach(frame.index)
        super().encode(frame, on_read)
        self._end(frame.index + 1)

    @property
    def asked(self) -> int:
        """Videos that were asked for behind frames which may have to come."""
        return len(self._asked)

    def settle(self, here: int) -> None:
        """Go on with the videos that are made of it; of the first ``here`` of those `asked` for no frame is to come."""
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

    def finish(self, *, aborted: bool = False) -> EncodedResult:  # noqa: ARG002 - nothing of a ring is cut off
        """Let go of it, once the videos that are made of it have what there is."""
        self._begin_all()
        self.release()
        for saved in self._open:
            saved.complete = True
        self.settle(0)
        return self._let_go()

    def abandon(self, error: BaseException) -> EncodedResult:
        """What became of it where not even `finish` came to its end."""
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
        """A frame of this index comes: what was asked for before it begins with what there is."""
        while self._asked and index >= self._asked[0].index:
            self._begin()
        self._end(index)

    def _begin(self) -> None:
        """The next video that was asked for has its pictures so far."""
        saved = self._asked.popleft()
        saved.groups += self._ring.since(saved.index - saved.before)
        saved.complete = not saved.after
        self._open.append(saved)

    def _begin_all(self) -> None:
        while self._asked:
            self._begin()

    def _end(self, index: int) -> None:
        """No frame before this index will come."""
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
            problem = f"{spec.final}: less than the last seconds asked for is held, as they take more than {limit:,} B"
            log.warning(problem)
            self._health.note(problem)
