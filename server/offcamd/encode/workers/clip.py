"""A clip that an encoder process makes: as `offcamd.encode.clip_encoder.ClipEncoder`, but not in the daemon."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError
from offcam_runs.folder_lock import held_for_helper
from offcamd.encode.clip_file import ClipFile, ClipSpec
from offcamd.encode.workers.process import WorkerLost
from offcamd.encode.workers.wire import Encode, Fail, Finish, Opened, Pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from offcam_proto.messages import Buffer
    from offcam_runs.accounts import EncodedResult
    from offcamd.encode.frame import Frame
    from offcamd.encode.workers.process import Worker
    from offcamd.encode.workers.wire import WorkerAnswer
    from offcamd.process.health import Health
    from offcamd.video.writer import VideoFile

log = logging.getLogger(__name__)

MOST_TRIES = 3
"""How many processes that follow one another may die at the same frames before a clip is given up."""


class RemoteClip(ClipFile):
    """A clip that an encoder process makes. Use it from one thread at a time.

    If the process dies, the next one goes on with the file. If `MOST_TRIES` have died before they encoded a frame, the
    clip is finished here, with what is in its file.

    Args:
        spec: the video to make.
        number: of the clip, which no other of the process has.
        worker: the process.
        health: is told of unexpected errors.

    Attributes:
        together: how many frames it is best given at once, as each request takes two changes of the process.
    """

    together = 8

    def __init__(self, spec: ClipSpec, number: int, worker: Worker, health: Health | None = None) -> None:
        super().__init__(spec, health)
        self._number = number
        self._worker = worker
        self._life = 0  # of the process that has the clip; 0 before the first
        self._over = False  # whether no process has it any more
        self._resumed_at = -1  # how many frames were encoded when a process last went on with the file of another
        self._tries = 0  # how many processes have tried that since a frame was encoded
        self._files: set[int] = set()
        self._pixels: tuple[int, int] | None = None

    def _size(self) -> tuple[int, int] | None:
        return self._pixels

    def encode_all(
        self,
        frames: Sequence[Frame],
        _on_read: Callable[[Frame], None],
        on_written: Callable[[Frame], None],
    ) -> None:
        """Encode pictures, in order, or count them as dropped; see `PictureTaker.encode_all`.

        Their pixels are needed until they are written, as another process may have to encode them.
        """
        if self.error is None:
            self._encode(frames)
        else:
            self.drop(len(frames))
        for frame in frames:
            on_written(frame)

    def _encode(self, frames: Sequence[Frame]) -> None:
        while self.error is None:
            try:
                if self._send(frames):
                    return
            except WorkerLost as lost:  # noqa: PERF203 - what the loop is for
                self._note_loss(str(lost))
            except EncodeError as error:
                self.fail(error, lost=len(frames))
            except OSError as error:
                self._give_up(f"no process can be started: {error}", len(frames))
            else:
                self._give_up("each process that tries to dies at the same frames", len(frames))

    def _send(self, frames: Sequence[Frame]) -> bool:
        """Have frames encoded. Returns False if that was tried in vain before.

        Raises:
            WorkerLost: the process died before it had said what it encoded.
            EncodeError: frames could not be read.
            OSError: no process can be started.
        """
        self._worker.start()
        life = self._worker.life
        resumes = self._life not in (0, life)
        if resumes:
            self._tries = 1 if self._encoded > self._resumed_at else self._tries + 1
            if self._tries > MOST_TRIES:
                return False
            self._resumed_at = self._encoded
            self._files.clear()
        packed = _Packed(self._files)
        for frame in frames:
            packed.add(frame)
        spec = None if self._life == life else self.spec
        self._life = life
        with ExitStack() as closing:
            held = closing.enter_context(held_for_helper(spec.part.parent)) if spec else []
            request = Encode(self._number, packed.frames, packed.opened, spec, held=bool(held), resumes=resumes)
            answer = self._worker.ask(request, (*packed.descriptors, *held), packed.pixels)
        if resumes:
            self.drop(max(self._encoded + answer.had - answer.resumed, 0), "encoder")
        self._note(answer)
        return True

    def _note(self, answer: WorkerAnswer) -> None:
        self._encoded, self._last_index, self._pixels = answer.encoded, answer.last_index, answer.size
        if answer.error is not None and self.error is None:
            self.error = EncodeError(*answer.error)

    def _note_loss(self, how: str) -> None:
        problem = f"a process that encoded {self.spec.final} is gone: {how}. Another goes on with what is in the file"
        log.warning("%s", problem)
        self._health.note(problem)

    def _give_up(self, why: str, lost: int) -> None:
        """End the clip with what is in its file, of which no process can tell how much that is."""
        self._let_go()
        if self._life:
            self._encoded += lost  # some of these are in the file, whose frames are counted next
        else:
            self.drop(lost, "encoder")
        self.fail(EncodeError(f"{self.spec.final} cannot be encoded to its end: {why}"))

    def _let_go(self) -> None:
        """Have the rest done here, as no process has the clip any more."""
        if self._life and not self._over:
            self._over, self._writer = True, _Gone()

    def fail(self, error: EncodeError, *, lost: int = 0) -> None:
        """As `ClipFile.fail`."""
        if not self._here:
            self._let_go()
            super().fail(error, lost=lost)
            return
        self.drop(lost, error.reason)
        try:
            self._note(self._worker.ask(Fail(self._number, str(error), error.reason)))
        except (WorkerLost, OSError) as gone:
            self._give_up(str(gone), 0)

    def finish(self, *, aborted: bool = False) -> EncodedResult:
        """As `ClipFile.finish`."""
        while self._life and not self._over:
            if not self._here:
                self._encode(())
                if not self._here:
                    self._let_go()
            if not self._over and (result := self._finished(aborted=aborted)) is not None:
                return result
        return super().finish(aborted=aborted)

    def _finished(self, *, aborted: bool) -> EncodedResult | None:
        """Have the process finish the clip. None if it died at that."""
        try:
            result = self._worker.ask(Finish(self._number, aborted)).result
        except (WorkerLost, OSError) as lost:
            self._note_loss(str(lost))
            self._over = self._published
            return None
        assert result is not None  # noqa: S101 - what the process answers
        self._over = True
        return dataclasses.replace(result, dropped=dict(Counter(result.dropped) + self._dropped))

    def _publish(self, writer: VideoFile | None, *, aborted: bool) -> bool:
        return self._published or super()._publish(writer, aborted=aborted)

    @property
    def _published(self) -> bool:
        """Whether a process died after it had given the file its final name."""
        return bool(self._encoded) and not self.spec.part.exists() and self.spec.final.exists()

    @property
    def _here(self) -> bool:
        """Whether the process that runs has the clip."""
        return not self._over and self._life == self._worker.life and self._worker.pid is not None


class _Packed:
    """Frames as the process finds them, and the files that it has not seen yet.

    Args:
        files: numbers of the files that it has seen; new ones are added.
    """

    def __init__(self, files: set[int]) -> None:
        self.frames: list[Pixels] = []
        self.opened: list[Opened] = []
        self.descriptors: list[int] = []
        self.pixels: list[Buffer] = []  # those that lie in no file
        self._files = files
        self._at = 0  # bytes of these

    def add(self, frame: Frame) -> None:
        """Add a frame. Raises EncodeError if it cannot be read."""
        if frame.place is None:
            buffers, layouts = zip(*frame.pixels(), strict=True)
            sizes = [memoryview(buffer).nbytes for buffer in buffers]
            self.frames.append(Pixels(frame.index, 0, self._at, layouts, sizes=sizes))
            self.pixels += buffers
            self._at += sum(sizes)
            return
        file = frame.place.file
        if file.number not in self._files:
            self._files.add(file.number)
            self.opened.append(Opened(file.number, file.mapped))
            self.descriptors.append(file.descriptor)
        self.frames.append(
            Pixels(
                index=frame.index,
                file=file.number,
                at=frame.place.pixels_at,
                layouts=frame.place.layouts,
                sizes=[layout.nbytes for layout in frame.place.layouts],
                mark_at=frame.place.mark_at,
                mark=frame.place.mark,
            )
        )


class _Gone:
    """In place of the writer of a process that is gone: its file is to be salvaged, and nothing else."""

    def close(self) -> None:
        """There is nothing to close."""

    def copy_to(self, target: Path) -> None:
        """Refuse: the file is unfinished."""
        raise EncodeError(f"{target} cannot be copied from an unfinished file")
