"""Which clips the encoder pool's threads work on at the same time."""

from __future__ import annotations

import sys
import threading
from fractions import Fraction

import pytest

from offcam_proto.layout import FrameLayout
from offcamd.encode import scheduler
from offcamd.encode.frame import arrived
from offcamd.encode.pool import ClipFinished, ClipSpec, EncoderPool
from waiting import HANG_SECONDS, wait_until

SMALL, LARGE = (64, 64), (256, 256)


class Meeting:
    """Makes writers that note how many of them write at once, and wait there for a second one, or for `leave`."""

    def __init__(self) -> None:
        self.most = 0
        self.leave = threading.Event()
        self._inside = 0
        self._changed = threading.Condition()

    def __call__(self, path, **settings):
        return self

    def write(self, i420, pts) -> None:
        with self._changed:
            self._inside += 1
            self.most = max(self.most, self._inside)
            self._changed.notify_all()
        assert self.leave.wait(HANG_SECONDS)
        with self._changed:
            self._inside -= 1

    def close(self) -> None:
        pass

    def copy_to(self, target) -> None:
        target.touch()

    def wait_for(self, count: int, seconds: float = HANG_SECONDS) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._inside >= count, seconds)


@pytest.fixture
def patient(monkeypatch) -> None:
    """Nobody is let in beside a turn that takes long."""
    monkeypatch.setattr(scheduler, "LIGHT_SECONDS", 1e6)


@pytest.fixture
def meeting(tmp_path, request):
    """A pool of two workers with a clip of the given size and preset for each, all of one frame."""
    size, preset, clips = request.param
    meeting, finished = Meeting(), threading.Semaphore(0)
    pool = EncoderPool(
        workers=2, memory_limit=2**30, spool_limit=0, spool_dir=tmp_path, writer_factory=meeting,
        on_event=lambda event: finished.release() if isinstance(event, ClipFinished) else None,
    )  # fmt: skip
    layout = FrameLayout((*size, 3), (size[1] * 3, 3, 1), 0, size[0] * size[1] * 3)
    for number in range(clips):
        job = pool.open(ClipSpec(tmp_path / f"{number}.part", tmp_path / f"{number}.mp4", Fraction(30), preset=preset))
        (tmp_path / f"{number}.part").touch()
        job.offer([arrived(0, [(bytes(layout.nbytes), layout)])])
        job.end()

    def finish() -> None:
        meeting.leave.set()
        while meeting.left:
            assert finished.acquire(timeout=HANG_SECONDS)
            meeting.left -= 1

    meeting.left, meeting.finish = clips, finish
    yield meeting
    finish()
    assert pool.close(5)


@pytest.mark.parametrize("meeting", [(LARGE, "flat", 2), (SMALL, "medium", 2)], indirect=True)
def test_large_pictures_and_thorough_presets_are_encoded_side_by_side(meeting) -> None:
    assert meeting.wait_for(2)


@pytest.mark.parametrize("meeting", [(SMALL, "flat", 8)], indirect=True)
@pytest.mark.usefixtures("patient")
def test_small_pictures_are_encoded_one_clip_at_a_time(meeting) -> None:
    assert meeting.wait_for(1)
    assert not meeting.wait_for(2, seconds=0.2)  # it would come at once
    meeting.finish()
    assert meeting.most == 1


@pytest.mark.parametrize("meeting", [(SMALL, "flat", 2)], indirect=True)
def test_a_clip_that_hangs_does_not_stop_the_others(meeting) -> None:
    assert meeting.wait_for(2)  # the second is let in after a moment


def test_frames_that_join_a_waiting_clip_call_no_second_worker(tmp_path, monkeypatch) -> None:
    looks, take, finished = [], scheduler.Scheduler.take, threading.Event()

    def noted(line, now, worker):
        looks.append(take(line, now, worker))
        return looks[-1]

    monkeypatch.setattr(scheduler.Scheduler, "take", noted)
    meeting = Meeting()
    meeting.leave.set()
    pool = EncoderPool(
        workers=2, memory_limit=2**30, spool_limit=0, spool_dir=tmp_path, writer_factory=meeting,
        on_event=lambda event: finished.set() if isinstance(event, ClipFinished) else None,
    )  # fmt: skip
    wait_until(lambda: looks == [None, None], "both workers rest")
    (tmp_path / "0.part").touch()
    layout = FrameLayout((*SMALL, 3), (SMALL[1] * 3, 3, 1), 0, SMALL[0] * SMALL[1] * 3)
    job = pool.open(ClipSpec(tmp_path / "0.part", tmp_path / "0.mp4", Fraction(30), preset="flat"))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(HANG_SECONDS)  # nobody takes the first frame before the last one is there
    try:
        for index in range(4):
            job.offer([arrived(index, [(bytes(layout.nbytes), layout)])])
        job.end()
    finally:
        sys.setswitchinterval(interval)
    assert finished.wait(HANG_SECONDS)
    wait_until(lambda: looks[-1] is None, "the worker rests again")
    assert pool.close(5)
    assert looks.count(None) == 2 + 1 + 2  # at first, once the clip is made, and at the end
