"""Clips made by processes of their own, which die at the worst moments."""

from __future__ import annotations

import os
import queue
import signal
import tempfile
import threading
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest

from offcam_proto.errors import EncodeError
from offcam_proto.layout import FrameLayout
from offcamd.encode import scheduler
from offcamd.encode.budget import StreamMemory
from offcamd.encode.clip_encoder import ClipEncoder
from offcamd.encode.frame import Frame, FramePlace, SharedFile, arrived
from offcamd.encode.job import TURN_FRAMES
from offcamd.encode.pool import ClipFinished, ClipSpec, EncoderPool, Released
from offcamd.encode.stream_order import CLIPS_FOR_ONE_MORE
from offcamd.encode.workers.wire import Encode, Finish, Setup
from offcamd.video.mp4 import VideoWriter
from offcamd.video.probe import iter_frames
from waiting import HANG_SECONDS, alive, wait_until

HEIGHT, WIDTH = 48, 64
LAYOUT = FrameLayout((HEIGHT, WIDTH, 3), (WIDTH * 3, 3, 1), 0, HEIGHT * WIDTH * 3)
NBYTES = LAYOUT.nbytes
MARK = b"\3"


def level(number: int) -> int:
    """Grey level of a frame, by which it is known again."""
    return 20 + number * 9 % 200


def shown(path) -> list[int]:
    """The numbers of the frames in a video."""
    levels = [float(np.mean(frame)) for frame in iter_frames(path)]
    found, number = [], -1
    for each in levels:
        number = next(other for other in range(number + 1, number + 200) if abs(level(other) - each) < 4)
        found.append(number)
    return found


class Pool:
    """A pool with one process, and the events that it sent."""

    def __init__(self, folder, workers: int = 1) -> None:
        self.folder = folder
        self.events: queue.SimpleQueue = queue.SimpleQueue()
        self.pool = EncoderPool(
            workers=workers, memory_limit=1000 * NBYTES, spool_limit=1000 * NBYTES, spool_dir=folder,
            on_event=self.events.put, setup=Setup("x264", 0, 2**30),
        )  # fmt: skip
        self.released = 0

    @property
    def pid(self) -> int:
        (found,) = self.pool.pids
        return found

    def open(self, name: str = "a", stream: StreamMemory | None = None, **how):
        final = self.folder / f"{name}.mp4"
        return self.pool.open(ClipSpec(self.folder / f"{name}.mp4.part", final, Fraction(30), **how), stream)

    def wait_released(self, frames: int) -> None:
        while self.released < frames * NBYTES:
            event = self.events.get(timeout=HANG_SECONDS)
            self.released += event.nbytes if isinstance(event, Released) else 0

    def result(self):
        while not isinstance(event := self.events.get(timeout=HANG_SECONDS), ClipFinished):
            pass
        return event.result


@pytest.fixture
def make(tmp_path):
    made = []

    def build(**options) -> Pool:
        made.append(Pool(tmp_path, **options))
        return made[-1]

    yield build
    for each in made:
        each.pool.close(0)


def through_socket(number: int) -> Frame:
    return arrived(number, [(bytes([level(number)]) * NBYTES, LAYOUT)])


class Shared:
    """A file as a client's memory, with a mark for each frame."""

    def __init__(self, *, mapped: bool, frames: int = 200) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by close
        self._frames = frames
        os.ftruncate(self._file.fileno(), frames + frames * NBYTES)
        self._shared = SharedFile(self._file.fileno(), mapped=mapped)

    def __call__(self, number: int) -> Frame:
        at = self._frames + number * NBYTES
        os.pwrite(self._file.fileno(), bytes([level(number)]) * NBYTES, at)
        place = FramePlace(self._shared, at, [LAYOUT], mark_at=number, mark=MARK)
        return Frame(number, [(b"", LAYOUT)], NBYTES, 0.0, release=lambda: None, place=place)

    @property
    def marked(self) -> list[int]:
        return [number for number, mark in enumerate(os.pread(self._file.fileno(), self._frames, 0)) if mark == MARK[0]]

    def close(self) -> None:
        self._file.close()


@pytest.fixture(params=["socket", "memory", "file"])
def source(request):
    if request.param == "socket":
        yield through_socket
        return
    shared = Shared(mapped=request.param == "memory")
    yield shared
    shared.close()


def test_each_frame_once_and_in_order(make, source) -> None:
    pool = make()
    job = pool.open()
    for number in range(100):
        job.offer([source(number)])
    job.end()
    result = pool.result()
    assert (result.state, result.encoded, result.dropped, result.error) == ("final", 100, {}, "")
    assert (result.width, result.height, result.duration) == (WIDTH, HEIGHT, pytest.approx(100 / 30))
    assert shown(pool.folder / "a.mp4") == list(range(100))
    if isinstance(source, Shared):
        assert source.marked == list(range(100))


def test_a_process_that_is_killed_costs_a_frame_at_most_and_the_next_goes_on_with_the_file(make, source) -> None:
    pool = make()
    job = pool.open()
    for killed_at in (40, 80):
        for number in range(killed_at - 40, killed_at):
            job.offer([source(number)])
        pool.wait_released(killed_at)
        os.kill(pool.pid, signal.SIGKILL)
    for number in range(80, 120):
        job.offer([source(number)])
    job.end()
    result = pool.result()
    assert (result.state, result.error) == ("final", "")
    assert result.encoded + sum(result.dropped.values()) == 120
    found = shown(pool.folder / "a.mp4")
    assert len(found) == result.encoded >= 118
    assert sorted(set(found)) == found
    assert [number for number in range(120) if number not in found] in ([], [39], [79], [39, 79])
    assert sum("is gone: it was ended by SIGKILL" in each for each in pool.pool.health.recent_errors) == 2
    assert not list(pool.folder.glob("*.part*"))


def test_one_that_is_killed_while_it_encodes_gets_the_same_frames_again(make) -> None:
    pool = make()
    job = pool.open()
    job.offer([through_socket(0)])
    pool.wait_released(1)
    os.kill(pid := pool.pid, signal.SIGSTOP)
    for number in range(1, 60):
        job.offer([through_socket(number)])
    wait_until(lambda: job.scheduled, "its turn has come")
    os.kill(pid, signal.SIGKILL)
    job.end()
    result = pool.result()
    assert (result.state, result.encoded + sum(result.dropped.values())) == ("final", 60)
    assert set(range(1, 60)) <= set(shown(pool.folder / "a.mp4"))


@pytest.mark.parametrize("preset", ["ultrafast", "medium"])
def test_with_another_preset_nothing_is_counted_that_is_not_there(make, preset) -> None:
    pool = make()
    job = pool.open(preset=preset)
    for number in range(100):
        job.offer([through_socket(number)])
    pool.wait_released(100)
    os.kill(pool.pid, signal.SIGKILL)
    for number in range(100, 150):
        job.offer([through_socket(number)])
    job.end()
    result = pool.result()
    assert result.encoded + sum(result.dropped.values()) == 150
    assert len(list(iter_frames(pool.folder / "a.mp4"))) == result.encoded


def test_all_clips_of_a_process_go_on(make) -> None:
    pool = make()
    jobs = [pool.open(name) for name in "abc"]
    for job in jobs:
        job.offer([through_socket(number) for number in range(10)])
    pool.wait_released(30)
    os.kill(pool.pid, signal.SIGKILL)
    for job in jobs[:2]:
        job.offer([through_socket(number) for number in range(10, 20)])
    for job in jobs:
        job.end()
    results = [pool.result() for _ in jobs]
    assert sorted(result.encoded + sum(result.dropped.values()) for result in results) == [10, 20, 20]
    assert {result.state for result in results} == {"final"}
    assert all(result.encoded == len(shown(pool.folder / result.file)) for result in results)


def test_one_that_dies_at_the_same_frame_again_ends_its_clip_alone(make, monkeypatch) -> None:
    pool = make()
    job, other = pool.open("a"), pool.open("b")
    job.offer([through_socket(number) for number in range(10)])
    pool.wait_released(10)
    worker = pool.pool._workers[0]
    ask = worker.ask

    def deadly(request, *more):
        if any(frame.index == 15 for frame in getattr(request, "frames", ())):
            worker.kill()
        return ask(request, *more)

    monkeypatch.setattr(worker, "ask", deadly)
    job.offer([through_socket(number) for number in range(10, 20)])
    job.end()
    result = pool.result()
    assert result.state == "aborted"
    assert "cannot be encoded to its end" in result.error
    assert result.encoded + sum(result.dropped.values()) == 20
    assert shown(pool.folder / "a.mp4") == list(range(result.encoded))
    other.offer([through_socket(number) for number in range(5)])
    other.end()
    assert pool.result().encoded == 5


def test_no_process_can_be_started(make, monkeypatch) -> None:
    pool = make()
    monkeypatch.setattr("offcamd.encode.workers.process.sys.executable", "/nowhere/python")
    job = pool.open()
    job.offer([through_socket(number) for number in range(10)])
    job.end()
    assert pool.result().encoded == 10
    assert shown(pool.folder / "a.mp4") == list(range(10))


def test_who_waits_is_not_kept_waiting_by_what_gives_way(make) -> None:
    pool = make()
    job = pool.open()
    worker, paces = pool.pool._workers[0], []
    sent = worker.pace
    worker.pace = lambda *, urgent: (paces.append(urgent), sent(urgent=urgent))
    job.offer([through_socket(number) for number in range(50)])
    job.want()
    job.end()
    assert pool.result().encoded == 50
    wait_until(lambda: paces and not paces[-1], "it gives way again")
    assert True in paces


@pytest.mark.parametrize("wanted", [False, True])
def test_a_streams_clips_that_wait_are_encoded_one_after_the_other(make, wanted) -> None:
    """So a process has one encoder open for them, be they hundreds, and the next clip takes it over."""
    pool, stream = make(), StreamMemory()
    worker, asked = pool.pool._workers[0], []
    ask = worker.ask

    def noted(request, *more):
        asked.append((type(request), request.clip))
        return ask(request, *more)

    worker.ask = noted
    jobs = [pool.open(str(number), stream) for number in range(CLIPS_FOR_ONE_MORE - 1)]
    for job in jobs:
        job.offer([through_socket(number) for number in range(2 * TURN_FRAMES + 1)])
        job.end()
    if wanted:
        jobs[-1].want()
    assert [pool.result().encoded for _ in jobs] == [2 * TURN_FRAMES + 1] * len(jobs)
    clips = sorted({clip for _, clip in asked})
    assert asked == [(kind, clip) for clip in clips for kind in (Encode, Encode, Encode, Finish)]


def test_a_clip_that_waits_for_others_of_its_stream_begins_once_these_are_final_or_failed(make) -> None:
    pool, stream = make(), StreamMemory()
    first, second, live = (pool.open(name, stream) for name in "abc")
    for job in (first, second, live):
        job.offer([through_socket(number) for number in range(TURN_FRAMES)])
    first.end()
    second.end()
    first.fail(EncodeError("it went wrong"))
    assert {pool.result().state for _ in range(2)} == {"final", "aborted"}
    pool.wait_released(TURN_FRAMES)
    live.end()
    assert pool.result().encoded == TURN_FRAMES


def test_a_few_frames_wait_for_others_until_somebody_wants_them(make, monkeypatch) -> None:
    """To ask a process takes as much as to encode a small frame."""
    monkeypatch.setattr(scheduler, "PATIENCE_SECONDS", 1e9)
    pool = make()
    few, many = pool.open("few"), pool.open("many")
    few.offer([through_socket(0)])
    many.offer([through_socket(number) for number in range(TURN_FRAMES)])
    pool.wait_released(TURN_FRAMES)
    assert (len(few.queue), len(many.queue)) == (1, 0), "who came first waits"
    few.want()
    pool.wait_released(TURN_FRAMES + 1)
    many.end()
    assert pool.result().encoded == TURN_FRAMES
    few.end()
    assert pool.result().encoded == 1


@pytest.mark.parametrize("more", [0, 1, TURN_FRAMES])
def test_a_few_frames_do_not_wait_once_their_clip_ends_or_more_have_come(make, monkeypatch, more) -> None:
    monkeypatch.setattr(scheduler, "PATIENCE_SECONDS", 1e9)
    pool = make(workers=2)
    job = pool.open()
    job.offer([through_socket(0)])
    if more == TURN_FRAMES:
        job.offer([through_socket(number) for number in range(1, more)])
        pool.wait_released(more)
    job.end()
    assert pool.result().encoded == max(more, 1)


def test_a_few_frames_do_not_wait_once_nothing_can_be_encoded_any_more(make, monkeypatch) -> None:
    monkeypatch.setattr(scheduler, "PATIENCE_SECONDS", 1e9)
    pool = make()
    job = pool.open()
    job.offer([through_socket(0)])
    pool.pool.refuse(EncodeError("no video can be made here"))
    pool.wait_released(1)
    job.end()
    assert pool.result().error == "no video can be made here"


def test_a_few_frames_are_encoded_soon_even_if_no_more_come(make) -> None:
    pool = make(workers=2)
    jobs = [pool.open(name) for name in "abc"]
    for number in range(3):
        for job in jobs:
            job.offer([through_socket(number)])
        pool.wait_released(3 * (number + 1))
    for job in jobs:
        job.end()
    assert [pool.result().encoded for _ in jobs] == [3, 3, 3]


def test_clips_are_spread_evenly_over_the_processes(make) -> None:
    pool = make(workers=2)
    jobs = [pool.open(str(number)) for number in range(6)]
    for job in jobs:
        job.offer([through_socket(0)])
    assert sorted(job.worker for job in jobs) == [0, 0, 0, 1, 1, 1]
    for job in jobs:
        job.end()
    for _ in jobs:
        pool.result()
    assert len(pool.pool.pids) == 2
    after = pool.open("after")
    after.offer([through_socket(0)])
    after.end()
    assert pool.result().encoded == 1


def test_a_clip_that_is_wanted_at_once_gives_way_to_nobody_until_it_is_final(make) -> None:
    pool = make()
    worker, paces = pool.pool._workers[0], []
    sent = worker.pace
    worker.pace = lambda *, urgent: (paces.append(urgent), sent(urgent=urgent))
    other = pool.open("other")
    other.offer([through_socket(number) for number in range(10)])
    pool.wait_released(10)
    assert pool.pool.gives_way
    assert True not in paces
    job = pool.open("urgent", urgent=True)
    job.offer([through_socket(number) for number in range(50)])
    pool.wait_released(60)
    assert not pool.pool.gives_way
    assert paces[-1]
    job.end()
    assert pool.result().encoded == 50
    wait_until(lambda: not paces[-1], "it gives way again, though another clip is open")
    assert pool.pool.gives_way
    other.end()
    assert pool.result().encoded == 10


def test_as_long_as_somebody_watches_nothing_gives_way(make) -> None:
    pool = make()
    with pool.pool.hurried():
        with pool.pool.hurried():
            assert not pool.pool.gives_way
        assert not pool.pool.gives_way
    assert pool.pool.gives_way
    with suppress(KeyError), pool.pool.hurried():
        raise KeyError
    assert pool.pool.gives_way


def test_one_without_memory_for_a_picture_says_so(tmp_path) -> None:
    class Starved(VideoWriter):
        def write(self, i420, pts) -> None:
            raise MemoryError

    clip = ClipEncoder(ClipSpec(tmp_path / "a.mp4.part", tmp_path / "a.mp4", Fraction(30)), Starved)
    clip.encode(through_socket(0), lambda: None)
    result = clip.finish()
    assert (result.encoded, result.dropped) == (0, {"encoder": 1})
    assert "no memory is left for encoding" in result.error


def test_a_process_ends_with_its_pool(make) -> None:
    pool = make()
    job = pool.open()
    job.offer([through_socket(0)])
    job.end()
    pool.result()
    pid = pool.pid
    assert alive(pid)
    pool.pool.close(0)
    assert not alive(pid)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("offcam-encode")]
