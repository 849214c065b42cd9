from __future__ import annotations

import gc
import queue
import threading
import weakref
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from offcam_proto.errors import EncodeError, LocalProtocolError
from offcam_proto.layout import FrameLayout
from offcamd.encode import pool, spool
from offcamd.encode.frame import arrived
from offcamd.encode.pool import ClipFinished, ClipJob, ClipSpec, EncoderPool, Event, Released, Saturated
from offcamd.video.mp4 import VideoWriter
from offcamd.video.probe import iter_frames, probe
from waiting import HANG_SECONDS

HEIGHT, WIDTH = 24, 32
LAYOUT = FrameLayout((HEIGHT, WIDTH, 3), (WIDTH * 3, 3, 1), 0, HEIGHT * WIDTH * 3)
NBYTES = LAYOUT.nbytes


def parts(number: int):
    """A grey frame whose level says which one it is."""
    return [(bytes([number * 7 % 256]) * NBYTES, LAYOUT)]


def published(done: ClipFinished) -> bool:
    """Whether a clip's file has its final name."""
    return done.result.file == done.job.spec.final.name


class Gate:
    """Makes writers that wait for permission before each picture, so that a test decides how slow the encoder is."""

    def __init__(self) -> None:
        self.permits = threading.Semaphore(0)
        self.waiting = threading.Semaphore(0)
        self.order: list[str] = []

    def open(self) -> None:
        self.permits.release(1_000_000)

    def __call__(self, path, **settings):
        gate = self

        class Gated(VideoWriter):
            def write(self, i420, pts) -> None:
                gate.waiting.release()
                assert gate.permits.acquire(timeout=HANG_SECONDS)
                gate.order.append(path.name)
                super().write(i420, pts)

        return Gated(path, **settings)


def failing(*, at: int, error: Exception):
    """A factory of writers that fail with an error at the given picture and ever after."""

    class Failing(VideoWriter):
        def write(self, i420, pts) -> None:
            if pts >= at:
                raise error
            super().write(i420, pts)

    return Failing


class Harness:
    def __init__(self, folder, **options) -> None:
        self.folder = folder
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.seen: list[Event] = []
        settings = {"workers": 2, "memory_limit": 100 * NBYTES, "spool_limit": 0, "spool_dir": folder, **options}
        self.pool = EncoderPool(on_event=self.events.put, **settings)

    def open(self, name: str = "a", *, rows: int = 1, cols: int = 1) -> ClipJob:
        final = self.folder / f"{name}.mp4"
        return self.pool.open(ClipSpec(self.folder / f"{name}.mp4.part", final, Fraction(30), rows, cols))

    def record(self, count: int, name: str = "a") -> ClipJob:
        job = self.open(name)
        for number in range(count):
            job.offer([arrived(number, parts(number))])
        job.end()
        return job

    def wait(self, kind: type[Event]) -> Event:
        """The next event of a kind; those before it are kept in `seen`."""
        while True:
            event = self.events.get(timeout=HANG_SECONDS)
            self.seen.append(event)
            if isinstance(event, kind):
                return event

    def released(self) -> int:
        while not self.events.empty():
            self.seen.append(self.events.get())
        return sum(event.nbytes for event in self.seen if isinstance(event, Released))

    def wait_released(self, nbytes: int) -> None:
        while self.released() < nbytes:
            self.wait(Released)


@pytest.fixture
def make(tmp_path):
    made, threads = [], set(threading.enumerate())

    def build(**options) -> Harness:
        made.append(Harness(tmp_path, **options))
        return made[-1]

    yield build
    for harness in made:
        harness.pool.close(0)
        assert harness.pool.budget.memory_bytes == 0
        assert harness.pool.budget.spool_bytes == 0
    assert set(threading.enumerate()) <= threads, "the pool left threads"


def test_a_clip_becomes_a_file_with_every_frame_in_order(make, tmp_path) -> None:
    h = make()
    job = h.record(40)
    done = h.wait(ClipFinished)
    assert done.job is job
    assert (done.result.encoded, done.result.dropped, done.result.error) == (40, {}, "")
    assert (published(done), done.result.state) == (True, "final")
    assert (done.result.width, done.result.height, done.result.duration) == (WIDTH, HEIGHT, pytest.approx(40 / 30))
    assert done.result.file_bytes == (tmp_path / "a.mp4").stat().st_size
    assert done.result.encode_seconds > 0
    assert h.released() == 40 * NBYTES
    assert isinstance(h.seen[-1], ClipFinished), "nothing comes after a clip's last event"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    levels = [int(frame[0, 0, 0]) for frame in iter_frames(tmp_path / "a.mp4")]
    assert np.allclose(levels, [number * 7 % 256 for number in range(40)], atol=4)


def test_the_part_file_is_renamed_only_once_it_is_complete(make, tmp_path) -> None:
    gate = Gate()
    h = make(writer_factory=gate)
    (tmp_path / "a.mp4").write_bytes(b"of an earlier run")
    h.record(3)
    assert gate.waiting.acquire(timeout=HANG_SECONDS)
    assert (tmp_path / "a.mp4.part").exists()
    assert (tmp_path / "a.mp4").read_bytes() == b"of an earlier run"
    gate.open()
    h.wait(ClipFinished)
    assert probe(tmp_path / "a.mp4").frames == 3
    assert not (tmp_path / "a.mp4.part").exists()


def test_a_clip_without_frames_touches_no_file(make, tmp_path) -> None:
    h = make()
    (tmp_path / "a.mp4").write_bytes(b"of an earlier run")
    h.open().end(aborted=True)
    done = h.wait(ClipFinished)
    assert (done.result.encoded, done.result.dropped, done.result.file_bytes, done.result.width) == (0, {}, None, None)
    assert (published(done), done.result.error, done.result.state) == (False, "", "aborted")
    assert (tmp_path / "a.mp4").read_bytes() == b"of an earlier run"
    assert len(list(tmp_path.iterdir())) == 1


def test_tiles_and_gaps_reach_the_file(make, tmp_path) -> None:
    h = make()
    job = h.open(rows=2, cols=2)
    for index in (0, 1, 4):
        job.offer([arrived(index, [*parts(10), *parts(20), *parts(30)])])
    job.end()
    done = h.wait(ClipFinished)
    assert (done.result.width, done.result.height, done.result.encoded) == (64, 48, 3)
    assert done.result.duration == pytest.approx(5 / 30)
    frame = next(iter_frames(tmp_path / "a.mp4"))
    corners = frame[[12, 12, 36, 36], [16, 48, 16, 48], 0]
    assert np.allclose(corners.astype(int), [70, 140, 210, 0], atol=4)


def test_frames_that_are_no_picture_or_out_of_order_are_counted_and_do_no_harm(make, tmp_path) -> None:
    h = make()
    job = h.open()
    for index in (0, 1, 1, 0, 2):
        job.offer([arrived(index, parts(index))])
    job.offer([arrived(3, [(b"too short", LAYOUT)])])
    job.offer([arrived(4, [])])
    job.offer([arrived(5, parts(5))])
    job.end()
    done = h.wait(ClipFinished)
    assert (done.result.encoded, done.result.dropped, published(done)) == (4, {"order": 2, "frame": 2}, True)
    assert h.released() == 6 * NBYTES + len(b"too short")
    assert probe(tmp_path / "a.mp4").frames == 4


def test_a_clip_is_never_encoded_by_two_threads_at_once_and_clips_take_turns(make) -> None:
    gate = Gate()
    h = make(workers=1, writer_factory=gate)
    jobs = [h.open(name) for name in "abc"]
    for number in range(64):
        for job in jobs:
            job.offer([arrived(number, parts(number))])
    gate.open()
    for job in jobs:
        job.end()
    finished = [h.wait(ClipFinished) for _ in jobs]
    assert all(done.result.encoded == 64 for done in finished)
    turns = 1 + sum(before != after for before, after in pairwise(gate.order))
    assert turns >= 3 * 64 / 8, "a clip kept its worker for longer than a turn"


def test_many_clips_on_several_workers_are_all_complete(make, tmp_path) -> None:
    h = make(workers=4, memory_limit=20 * NBYTES, spool_limit=2000 * NBYTES)
    for clip in range(12):
        h.record(50, f"clip{clip}")
    results = [h.wait(ClipFinished) for _ in range(12)]
    assert all((done.result.encoded, done.result.dropped, published(done)) == (50, {}, True) for done in results)
    for clip in range(12):
        levels = [int(frame[0, 0, 0]) for frame in iter_frames(tmp_path / f"clip{clip}.mp4")]
        assert np.allclose(levels, [number * 7 % 256 for number in range(50)], atol=4)
    assert h.released() == 12 * 50 * NBYTES


def test_a_slow_encoder_fills_the_disk_instead_of_memory_and_gives_credit_back(make) -> None:
    gate = Gate()
    h = make(memory_limit=16 * NBYTES, spool_limit=1000 * NBYTES, writer_factory=gate)
    job = h.open()
    for number in range(100):
        job.offer([arrived(number, parts(number))])
    h.wait_released(91 * NBYTES)
    backlog = h.pool.backlog()
    assert backlog.memory_bytes <= 9 * NBYTES
    assert backlog.spool_bytes >= 91 * NBYTES
    assert backlog.lag_seconds > 0
    gate.open()
    job.end()
    done = h.wait(ClipFinished)
    assert (done.result.encoded, done.result.dropped) == (100, {})
    assert not [event for event in h.seen if isinstance(event, Saturated)]
    assert h.released() == 100 * NBYTES
    assert h.pool.backlog().lag_seconds == 0


def test_saturation_is_told_once_when_memory_and_disk_are_full_and_once_when_it_is_over(make) -> None:
    gate = Gate()
    h = make(memory_limit=8 * NBYTES, spool_limit=10 * NBYTES, writer_factory=gate)
    job = h.open()
    for number in range(40):
        job.offer([arrived(number, parts(number))])
    told = h.wait(Saturated)
    assert (told.job, told.saturated) == (job, True)
    assert h.pool.backlog().memory_bytes > 20 * NBYTES, "frames that have no room on disk stay in memory"
    gate.open()
    relieved = h.wait(Saturated)
    assert (relieved.job, relieved.saturated) == (job, False)
    job.end()
    assert h.wait(ClipFinished).result.encoded == 40
    assert len([event for event in h.seen if isinstance(event, Saturated)]) == 2


def test_a_saturated_clip_that_ends_is_relieved_before_it_is_finished(make) -> None:
    gate = Gate()
    h = make(memory_limit=4 * NBYTES, writer_factory=gate)
    h.record(20)
    assert h.wait(Saturated).saturated
    gate.open()
    assert h.wait(ClipFinished).result.encoded == 20
    assert [event.saturated for event in h.seen if isinstance(event, Saturated)] == [True, False]


@pytest.mark.parametrize("reason", ["disk_full", "encoder", "io"])
def test_a_failing_encoder_drops_the_rest_keeps_the_start_and_spares_other_clips(make, tmp_path, reason) -> None:
    broken, sound = failing(at=10, error=EncodeError("it broke", reason)), VideoWriter

    def factory(path, **settings):
        return (broken if path.name.startswith("bad") else sound)(path, **settings)

    h = make(writer_factory=factory)
    bad, good = h.open("bad"), h.open("good")
    for number in range(30):
        bad.offer([arrived(number, parts(number))])
        good.offer([arrived(number, parts(number))])
    h.wait_released(60 * NBYTES)
    bad.offer([arrived(30, parts(30))])
    bad.end()
    good.end()
    results = {done.job: done for done in (h.wait(ClipFinished), h.wait(ClipFinished))}
    assert (results[bad].result.encoded, results[bad].result.dropped) == (10, {reason: 21})
    assert (results[bad].result.error, published(results[bad])) == ("it broke", True)
    assert (results[good].result.encoded, results[good].result.error) == (30, "")
    assert h.released() == 61 * NBYTES
    assert (probe(tmp_path / "bad.mp4").frames, probe(tmp_path / "bad.mp4").error) == (10, None)


def test_an_incomplete_file_never_replaces_an_older_one(make, tmp_path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"of an earlier run")
    h = make(writer_factory=failing(at=5, error=EncodeError("it broke")))
    h.record(9)
    done = h.wait(ClipFinished)
    assert (done.result.encoded, published(done)) == (5, False)
    assert (tmp_path / "a.mp4").read_bytes() == b"of an earlier run"
    assert done.result.file_bytes == (tmp_path / "a.mp4.part").stat().st_size
    assert probe(tmp_path / "a.mp4.part").frames == 5


def test_a_clip_that_was_cut_off_never_replaces_an_older_one(make, tmp_path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"of an earlier run")
    h = make()
    for name in "ab":
        job = h.open(name)
        for number in range(5):
            job.offer([arrived(number, parts(number))])
        job.end(aborted=True)
        done = h.wait(ClipFinished)
        assert (done.result.encoded, done.result.error, done.result.state) == (5, "", "aborted")
        assert published(done) is (name == "b")
    assert (tmp_path / "a.mp4").read_bytes() == b"of an earlier run"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "a.mp4.part", "b.mp4"]
    assert probe(tmp_path / "a.mp4.part").frames == probe(tmp_path / "b.mp4").frames == 5
    h.record(3)  # whole, so it replaces the older one, and what lies beside that
    assert published(h.wait(ClipFinished))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]
    assert probe(tmp_path / "a.mp4").frames == 3


def test_a_failure_at_the_first_frame_leaves_no_litter(make, tmp_path) -> None:
    h = make(writer_factory=failing(at=0, error=EncodeError("it broke")))
    h.record(9)
    done = h.wait(ClipFinished)
    assert (done.result.encoded, done.result.dropped, published(done)) == (0, {"encoder": 9}, False)
    assert (done.result.width, done.result.file_bytes, done.result.duration) == (None, None, 0)
    assert not list(tmp_path.iterdir())


def test_a_bug_in_one_clip_is_reported_and_spares_the_thread(make, caplog) -> None:
    h = make(workers=1, writer_factory=failing(at=3, error=RuntimeError("unforeseen")))
    h.record(9)
    done = h.wait(ClipFinished)
    assert (done.result.encoded, done.result.dropped) == (3, {"encoder": 6})
    assert "unforeseen" in done.result.error
    assert "Traceback" in caplog.text
    h.record(2, "b")
    assert h.wait(ClipFinished).result.encoded == 2


def test_a_folder_that_vanished_is_an_io_error(make, tmp_path) -> None:
    h = make()
    job = h.pool.open(ClipSpec(tmp_path / "gone" / "a.part", tmp_path / "gone" / "a.mp4", Fraction(30)))
    job.offer([arrived(0, parts(0))])
    job.end()
    done = h.wait(ClipFinished)
    assert (done.result.encoded, done.result.dropped, published(done)) == (0, {"io": 1}, False)


@pytest.mark.usefixtures("tiny_files")
def test_on_a_full_disk_every_frame_is_in_the_file_or_counted(make, tmp_path) -> None:
    h, rng = make(), np.random.default_rng(0)
    job = h.open()
    for number in range(200):
        job.offer([arrived(number, [(rng.bytes(NBYTES), LAYOUT)])])
    job.end()
    done = h.wait(ClipFinished)
    assert done.result.error
    assert set(done.result.dropped) == {"disk_full"}
    assert done.result.encoded + done.result.dropped["disk_full"] == 200
    assert done.result.encoded > 10
    info = probe(tmp_path / "a.mp4")
    assert (info.frames, info.error) == (done.result.encoded, None)
    assert done.result.duration == pytest.approx(info.duration_seconds)


def test_a_spool_that_cannot_be_read_back_costs_the_frames_on_it_and_no_more(make) -> None:
    gate = Gate()
    h = make(memory_limit=4 * NBYTES, spool_limit=1000 * NBYTES, writer_factory=gate)
    job = h.open()
    job.offer([arrived(0, parts(0))])
    assert gate.waiting.acquire(timeout=HANG_SECONDS)
    for number in range(1, 20):  # two stay in memory
        job.offer([arrived(number, parts(number))])
    h.wait_released(18 * NBYTES)  # the first, which was converted, and those on disk
    for segment in job.queue._spool._segments:  # as a failing disk would
        segment.file.truncate(0)
    gate.open()
    job.end()
    done = h.wait(ClipFinished)
    assert (done.result.encoded, done.result.dropped) == (3, {"io": 17})
    assert "could not be read back" in done.result.error


def test_buffers_are_let_go_of_as_soon_as_they_are_converted(make) -> None:
    gate = Gate()
    h = make(workers=1, writer_factory=gate)
    buffer = np.zeros(NBYTES, np.uint8)
    gone = weakref.ref(buffer)
    job = h.open()
    job.offer([arrived(0, [(memoryview(buffer), LAYOUT)])])
    del buffer
    assert gate.waiting.acquire(timeout=HANG_SECONDS)
    gc.collect()
    assert gone() is None, "the encoder is still at it, and holds the client's pixels"
    gate.open()


def test_close_waits_for_what_is_queued_and_ends_what_was_not_ended(make, tmp_path) -> None:
    h = make()
    for name in "ab":
        job = h.open(name)
        for number in range(50):
            job.offer([arrived(number, parts(number))])
    job.end()
    assert h.pool.close(30) is True
    results = [h.wait(ClipFinished), h.wait(ClipFinished)]
    assert {done.job.spec.final.name: done.result.state for done in results} == {"a.mp4": "aborted", "b.mp4": "final"}
    assert all(done.result.encoded == 50 and published(done) for done in results)
    with pytest.raises(EncodeError, match="shutting down"):
        h.open("c")


def test_a_hard_stop_drops_what_is_queued_and_finishes_the_files(make, tmp_path) -> None:
    gate = Gate()
    h = make(writer_factory=gate, memory_limit=8 * NBYTES, spool_limit=1000 * NBYTES)
    jobs = [h.open(name) for name in "abc"]
    for job in jobs:
        for number in range(50):
            job.offer([arrived(number, parts(number))])
    for _ in range(2):
        assert gate.waiting.acquire(timeout=HANG_SECONDS)
    stopper = threading.Timer(0.05, gate.open)
    stopper.start()
    assert h.pool.close(0) is False
    stopper.join()
    for done in [h.wait(ClipFinished) for _ in jobs]:
        assert done.result.encoded + done.result.dropped["shutdown"] == 50
        assert done.result.error == ""
        assert published(done) is (done.result.encoded > 0)
        if done.result.encoded:
            assert probe(done.job.spec.final).frames == done.result.encoded
    assert h.released() == 150 * NBYTES


def test_a_frame_after_the_end_is_refused(make) -> None:
    h = make()
    job = h.record(1)
    h.wait(ClipFinished)
    job.end()
    with pytest.raises(LocalProtocolError, match="after its end"):
        job.offer([arrived(1, parts(1))])
    assert h.events.empty()


def test_what_a_hung_thread_keeps_from_being_final_is_named(make, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pool, "STOP_SECONDS", 0.05)
    gate = Gate()
    h = make(workers=1, writer_factory=gate)
    job = h.record(1)
    assert gate.waiting.acquire(timeout=30)
    assert h.pool.close(0) is False
    assert h.pool.unfinished == [job.spec.final]
    gate.open()
    assert h.wait(ClipFinished).job is job


def test_a_refused_pool_ends_what_is_open_and_what_comes(make) -> None:
    h = make()
    before = h.open("a")
    before.offer([arrived(0, parts(0))])
    h.wait_released(NBYTES)
    h.pool.refuse(EncodeError("no video can be made here"))
    after = h.record(3, "b")
    before.offer([arrived(1, parts(1))])
    before.end()
    results = {done.job: done for done in (h.wait(ClipFinished), h.wait(ClipFinished))}
    assert results[after].result.dropped == {"encoder": 3}
    assert results[before].result.encoded + results[before].result.dropped["encoder"] == 2
    assert {done.result.error for done in results.values()} == {"no video can be made here"}


def test_a_spool_that_breaks_ends_the_clip_and_no_other(make, monkeypatch) -> None:
    def broken(_spool, _frame):
        raise ValueError("unforeseen")

    gate = Gate()
    h = make(memory_limit=4 * NBYTES, spool_limit=1000 * NBYTES, writer_factory=gate)
    monkeypatch.setattr(spool.Spool, "append", broken)
    job = h.open()
    for number in range(10):
        job.offer([arrived(number, parts(number))])
    gate.open()
    job.end()
    done = h.wait(ClipFinished)
    assert "unforeseen" in done.result.error
    assert done.result.encoded + sum(done.result.dropped.values()) == 10
    monkeypatch.undo()
    h.record(10, "b")
    assert h.wait(ClipFinished).result.encoded == 10
    assert h.pool.health.unexpected_errors == {"spool": 1}
    assert h.pool.health.problems == {}
