"""An encoder process: it encodes the clips that its daemon gives it, and ends with the daemon.

The process gives way to other programs unless somebody waits. A thread's low priority cannot be taken back, so there
are two threads for the same work: one of the lowest priority, and the main one, of the usual priority, which takes the
work over between two frames as soon as it is urgent.
"""

from __future__ import annotations

import dataclasses
import errno
import faulthandler
import logging
import mmap
import os
import select
import signal
import socket
import threading
import traceback
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError
from offcam_runs.idle import lower_thread
from offcamd.encode.bounded_writer import BoundedWriters
from offcamd.encode.clip_encoder import ClipEncoder
from offcamd.encode.disk_reserve import DiskReserve
from offcamd.encode.frame import Frame
from offcamd.encode.malloc import MallocTrimmer
from offcamd.encode.workers.wire import Encode, Fail, Finish, Pace, SelfTest, Setup, ToldLine, Wire, WorkerAnswer
from offcamd.process.health import ENCODER, Health
from offcamd.video.late_writers import LateWriters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offcam_runs.accounts import EncodedResult
    from offcamd.encode.frame import Part
    from offcamd.encode.workers.wire import Opened, Pixels
    from offcamd.video.writer import WriterFactory


def main(end: int) -> None:
    """Do what the daemon asks for until it is gone; then end the process.

    Args:
        end: descriptor of a socket, whose other end is the daemon's.
    """
    faulthandler.enable()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # of a terminal or a session: the daemon has to finish its videos
    wire = Wire(socket.socket(fileno=end))
    with suppress(EOFError, OSError):
        setup, _, _ = wire.receive()
        threading.Thread(target=_end_with, args=(end,), name="offcam-watch", daemon=True).start()
        work = Work(setup)
        work.load()
        Lanes(wire, work).run()
    os._exit(0)  # at once, whatever a thread is at: another daemon may be about to take over the files


def _end_with(end: int) -> None:
    """End the process once the daemon is gone."""
    poll = select.poll()
    poll.register(end, select.POLLHUP | getattr(select, "POLLRDHUP", 0))
    while not poll.poll():
        pass
    os._exit(0)


class Lanes:
    """Has each request done by the thread of low priority, or by the main one while it is urgent."""

    def __init__(self, wire: Wire, work: Work) -> None:
        self._wire = wire
        self._work = work
        self._urgent = False
        self._lock = threading.Condition()
        self._job: Iterator[WorkerAnswer | None] | None = None
        self._at_work = False
        threading.Thread(target=self._run_slowly, name="offcam-idle", daemon=True).start()

    def run(self) -> None:
        """Take requests, on the main thread. Raises EOFError or OSError once the daemon is gone."""
        while True:
            message, descriptors, pixels = self._wire.receive()
            if isinstance(message, Pace):
                self._urgent = message.urgent
            else:
                with self._lock:
                    self._job = self._work.on(message, descriptors, pixels)
                    self._lock.notify_all()
            if self._urgent:
                self._take_over()

    def _take_over(self) -> None:
        """Do, or finish, what there is to do."""
        with self._lock:
            self._lock.wait_for(lambda: not self._at_work)
            job, self._job = self._job, None
        if job is not None:
            self._go_on(job, slowly=False)

    def _run_slowly(self) -> None:
        try:
            lower_thread()
            self._take_turns()
        except BaseException:  # noqa: BLE001 - the daemon has to see that nobody answers any more
            traceback.print_exc()
            os._exit(1)

    def _take_turns(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._job is not None and not self._urgent)
                job, self._at_work = self._job, True
            assert job is not None  # noqa: S101 - waited for
            finished = self._go_on(job, slowly=True)
            with self._lock:
                self._at_work = False
                if finished and self._job is job:
                    self._job = None
                self._lock.notify_all()

    def _go_on(self, job: Iterator[WorkerAnswer | None], *, slowly: bool) -> bool:
        """Do a request, and answer it; returns False if it became urgent before it was done."""
        for answer in job:
            if answer is not None:
                if slowly:
                    with self._lock:
                        self._job = None  # before the answer, after which the next one may come
                self._wire.send(answer)
                return True
            if slowly and self._urgent:
                return False
        return True


class Work:
    """The clips of an encoder process. For one thread at a time."""

    def __init__(self, setup: Setup) -> None:
        self._told: list[ToldLine] = []
        self._health = _ToldHealth(self._told)
        logging.getLogger().handlers = [_ToldLog(self._told)]
        self._writers = LateWriters(lambda: _writers(setup.encoder))
        self._bounded = BoundedWriters(self._writers, DiskReserve(setup.disk_reserve), setup.memory)
        self._clips: dict[int, _Clip] = {}
        self._trimmer = MallocTrimmer()

    def load(self) -> None:
        """Load the video libraries, which a thread of low priority would take long for."""
        from offcamd.video import i420  # noqa: F401, PLC0415 - see above

        self._writers.load()

    def on(
        self, request: Encode | Finish | Fail | SelfTest, descriptors: list[int], pixels: memoryview
    ) -> Iterator[WorkerAnswer | None]:
        """Do a request, with a pause (None) after each frame; its answer is the last of what is yielded."""
        if isinstance(request, Encode):
            yield from self._encode(request, descriptors, pixels)
        elif isinstance(request, Finish):
            clip = self._clips.pop(request.clip)
            results: list[EncodedResult] = []
            about = str(clip.encoder.spec.final)
            with self._health.survive(ENCODER, about, lambda error: results.append(clip.encoder.abandon(error))):
                results.append(clip.encoder.finish(aborted=request.aborted))
            clip.close()
            self._trimmer.trim()
            yield dataclasses.replace(self._answer(clip.encoder), result=results[0])
        elif isinstance(request, Fail):
            encoder = self._clips[request.clip].encoder
            encoder.fail(EncodeError(request.error, request.reason))
            yield self._answer(encoder)
        else:
            from offcamd.encode.self_test import self_test  # noqa: PLC0415 - loads the video libraries

            outcome = self_test(self._writers, request.folders)
            yield WorkerAnswer(self._tell(), test=(outcome.state, outcome.text, outcome.seconds))

    def _encode(self, request: Encode, descriptors: list[int], pixels: memoryview) -> Iterator[WorkerAnswer | None]:
        clip = self._clips.get(request.clip)
        if clip is None:
            assert request.spec is not None  # noqa: S101 - a clip's first request has it
            clip = self._clips[request.clip] = _Clip(ClipEncoder(request.spec, self._bounded, self._health))
        clip.open(request.files, descriptors, held=request.held)
        encoder, frames, resumed = clip.encoder, request.frames, 0
        if request.resumes:
            encoder.resume()
            resumed = encoder.encoded
            frames = [each for each in frames if each.index > encoder.last_index]
        for each in frames:
            source = clip.files.get(each.file)
            read = partial(_cut, each, pixels[each.at :]) if source is None else partial(source.parts, each)
            encoder.encode(Frame(each.index, (), 0, 0.0, read=read), _nothing)
            if source is not None and encoder.error is None:
                source.mark(each)
            yield None
        yield dataclasses.replace(self._answer(encoder), resumed=resumed, had=len(request.frames) - len(frames))

    def _answer(self, encoder: ClipEncoder) -> WorkerAnswer:
        return WorkerAnswer(
            told=self._tell(),
            encoded=encoder.encoded,
            last_index=encoder.last_index,
            error=(str(encoder.error), encoder.error.reason) if encoder.error else None,
            size=encoder.size,
        )

    def _tell(self) -> tuple[ToldLine, ...]:
        told = tuple(self._told)
        self._told.clear()
        return told


def _writers(encoder: str) -> WriterFactory:
    from offcamd.video.hardware import writer_factory  # noqa: PLC0415 - loads the video library

    return writer_factory(encoder)


def _nothing() -> None:
    """Do nothing when a frame's pixels were read: the daemon releases them."""


class _Clip:
    """A clip, and the files in which its frames lie."""

    def __init__(self, encoder: ClipEncoder) -> None:
        self.encoder = encoder
        self.files: dict[int, _File] = {}
        self._folder = -1  # holds the clip's folder, so that who takes over from a dead daemon waits for this process

    def open(self, files: list[Opened], descriptors: list[int], *, held: bool) -> None:
        if held:
            *descriptors, self._folder = descriptors
        for opened, descriptor in zip(files, descriptors, strict=True):
            self.files[opened.number] = _File(descriptor, mapped=opened.mapped)

    def close(self) -> None:
        if self._folder >= 0:
            os.close(self._folder)
        for file in self.files.values():
            file.close()


def _cut(frame: Pixels, pixels: memoryview) -> list[Part]:
    """The pixels of each of a frame's tiles, and their layout."""
    start = 0
    found: list[Part] = []
    for layout, size in zip(frame.layouts, frame.sizes, strict=True):
        found.append((pixels[start : start + size], layout))
        start += size
    return found


class _File:
    """A file with frames."""

    def __init__(self, descriptor: int, *, mapped: bool) -> None:
        self._descriptor = descriptor
        size = os.fstat(descriptor).st_size
        self._memory = memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ)) if mapped else None
        self._buffer = bytearray()

    def parts(self, frame: Pixels) -> list[Part]:
        """The pixels of a frame's tiles, until the next call. Raises OSError."""
        return _cut(frame, self._pixels(frame.at, sum(frame.sizes)))

    def _pixels(self, at: int, size: int) -> memoryview:
        if self._memory is not None:
            return self._memory[at : at + size]
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        pixels = memoryview(self._buffer)[:size]
        done = 0
        while done < size:
            got = os.preadv(self._descriptor, [pixels[done:]], at + done)
            if not got:
                raise OSError(errno.EIO, f"the file ends {size - done} bytes early")
            done += got
        return pixels

    def mark(self, frame: Pixels) -> None:
        """Mark a frame as being in its video."""
        with suppress(OSError):  # at worst the next daemon encodes the frame again
            os.pwrite(self._descriptor, frame.mark, frame.mark_at)

    def close(self) -> None:
        os.close(self._descriptor)
        # the memory is unmapped with the last view of it


class _ToldHealth(Health):
    """Has the daemon's health told."""

    def __init__(self, told: list[ToldLine]) -> None:
        super().__init__()
        self._lines = told

    def unexpected(self, part: str, about: str, error: BaseException) -> None:
        """As `Health.unexpected`."""
        text = "".join(traceback.format_exception(error))
        self._lines.append(ToldLine(part, logging.ERROR, text, (about, repr(error))))


class _ToldLog(logging.Handler):
    """Has the daemon log what is logged here."""

    def __init__(self, told: list[ToldLine]) -> None:
        super().__init__()
        self._lines = told

    def emit(self, record: logging.LogRecord) -> None:
        """As `logging.Handler.emit`."""
        self._lines.append(ToldLine(record.name, record.levelno, self.format(record)))
