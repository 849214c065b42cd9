from __future__ import annotations

import resource
import signal
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offcam_proto.errors import EncodeError
from offcam_proto.layout import FrameLayout
from offcamd.encode import budget, spool
from offcamd.encode.budget import Budget, StreamMemory
from offcamd.encode.frame import arrived
from offcamd.encode.frame_queue import FrameQueue, Spilled
from waiting import HANG_SECONDS

KB = 1000
LAYOUT = FrameLayout((10, 100), (100, 1), 0, KB)


def parts(number: int) -> list[tuple[bytes, FrameLayout]]:
    return [(bytes([number % 256]) * KB, LAYOUT)]


class Harness:
    """A queue whose frames are 1 kB each and carry their number in every byte."""

    def __init__(self, folder, *, memory: int = 8 * KB, disk: int = 1000 * KB, clip: int | None = None) -> None:
        self.released = 0
        self.budget = Budget(memory, disk, clip)
        self.queue = FrameQueue(self.budget, folder, self._count)
        self.offered = 0

    def _count(self, nbytes: int) -> None:
        self.released += nbytes

    def put(self, count: int = 1) -> None:
        """Put so many that came together."""
        begin, self.offered = self.offered, self.offered + count
        self.queue.put([arrived(number, parts(number)) for number in range(begin, self.offered)])

    def spill(self) -> list[Spilled]:
        outcomes = []
        while self.queue.overflowing and Spilled.NO_ROOM not in outcomes:
            outcomes.append(self.queue.spill())
        return outcomes

    def take(self) -> int | None:
        frame = self.queue.take()
        if frame is None:
            return None
        ((buffer, layout),) = frame.parts
        assert layout == LAYOUT
        assert bytes(buffer) == bytes([frame.index % 256]) * KB
        self.queue.done(frame)
        return frame.index


@pytest.fixture
def make(tmp_path):
    made = []

    def build(**options) -> Harness:
        made.append(Harness(tmp_path, **options))
        return made[-1]

    yield build
    for harness in made:
        harness.queue.close()
        assert harness.budget.memory_bytes == 0
        assert harness.budget.spool_bytes == 0
    assert not list(tmp_path.iterdir()), "the spool left files"


def test_frames_come_out_in_order_and_their_memory_is_released_when_they_are_done(make) -> None:
    h = make()
    h.put(3)
    assert (len(h.queue), h.budget.memory_bytes, h.released) == (3, 3 * KB, 0)
    frame = h.queue.take()
    assert (frame.index, h.released) == (0, 0)
    h.queue.done(frame)
    h.queue.done(frame)
    assert (h.released, h.budget.memory_bytes) == (KB, 2 * KB)
    assert [h.take(), h.take(), h.take()] == [1, 2, None]
    assert (len(h.queue), h.queue.ready) == (0, False)


def test_what_does_not_fit_in_half_the_memory_goes_to_disk_and_releases_its_memory(make) -> None:
    h = make(memory=8 * KB)
    h.put(10)
    assert h.spill() == [Spilled.MOVED] * 6
    assert (h.budget.memory_bytes, h.released) == (4 * KB, 6 * KB)
    assert h.budget.spool_bytes >= 6 * KB
    assert [h.take() for _ in range(11)] == [*range(10), None]
    assert h.released == 10 * KB


def test_frames_behind_the_spool_go_through_it_even_when_the_head_has_room_again(make) -> None:
    h = make()
    h.put(6)
    h.spill()
    assert [h.take() for _ in range(4)] == [0, 1, 2, 3]
    h.put(3)
    h.spill()
    assert [h.take() for _ in range(6)] == [4, 5, 6, 7, 8, None]
    h.put()
    assert not h.queue.overflowing, "an empty queue takes frames straight to the encoder"
    assert h.take() == 9


def test_a_tail_that_nothing_waits_before_is_taken_without_a_detour(make) -> None:
    h = make()
    h.put(7)
    assert [h.take() for _ in range(8)] == [*range(7), None]
    assert h.queue.spill() is Spilled.NOTHING_TO_MOVE


def test_all_behind_the_next_frame_can_go_to_disk_while_one_is_being_encoded(make) -> None:
    """The encoder may need long for it, as for the first, and the clients of the others wait for their credit."""
    h = make(memory=2 * KB)
    h.put(6)
    encoding = h.queue.take()
    assert h.spill() == [Spilled.MOVED] * 4
    assert h.released == 4 * KB, "of six frames one is with the encoder, and one is next"
    h.queue.done(encoding)
    assert [h.take() for _ in range(6)] == [1, 2, 3, 4, 5, None]


def test_what_the_disk_had_no_room_for_goes_there_once_it_has(make) -> None:
    h = make(memory=2 * KB, disk=KB + 500)
    h.put(5)
    assert h.spill() == [Spilled.MOVED, Spilled.NO_ROOM]
    assert [h.take(), h.take()] == [0, 1], "from memory, and the one from the disk"
    assert h.spill() == [Spilled.MOVED, Spilled.NO_ROOM]
    assert [h.take() for _ in range(4)] == [2, 3, 4, None]


def test_a_frame_larger_than_the_share_is_still_taken(make) -> None:
    h = make(memory=KB)
    h.put(3)
    h.spill()
    assert [h.take() for _ in range(3)] == [0, 1, 2]


def test_a_full_spool_keeps_frames_in_memory_until_there_is_room(make) -> None:
    h = make(disk=3 * KB + 500)
    h.put(10)
    assert h.spill() == [Spilled.MOVED] * 3 + [Spilled.NO_ROOM]
    assert h.released == 3 * KB
    assert h.budget.memory_bytes == 7 * KB
    assert [h.take() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert h.queue.spill() is Spilled.MOVED
    assert [h.take() for _ in range(6)] == [5, 6, 7, 8, 9, None]


def test_without_a_spool_everything_stays_in_memory(make) -> None:
    h = make(disk=0)
    h.put(10)
    assert h.spill() == [Spilled.NO_ROOM]
    assert [h.take() for _ in range(11)] == [*range(10), None]


def test_a_streams_clips_have_its_memory_together(tmp_path) -> None:
    """Those that wait for their encoder must not use up the credit of their stream, with which the next one begins."""
    budget, stream, other = Budget(100 * KB, 1000 * KB, 4 * KB), StreamMemory(), StreamMemory()
    first, second, third = (FrameQueue(budget, tmp_path, lambda _: None, each) for each in (stream, stream, other))
    for queue in (first, second, third):
        queue.put([arrived(number, parts(number)) for number in range(4)])
    assert [queue.overflowing for queue in (first, second, third)] == [False, True, False]
    assert stream.nbytes == 4 * KB
    while second.overflowing:
        assert second.spill() is Spilled.MOVED
    for queue in (first, second):
        for number in range(4):
            frame = queue.take()
            assert frame.index == number
            queue.done(frame)
    assert stream.nbytes == 0
    for queue in (first, second, third):
        queue.close()
    assert (stream.clips, stream.waiting, other.nbytes, budget.memory_bytes, budget.spool_bytes) == (0, 0, 0, 0, 0)


def test_frames_that_are_being_encoded_count_too(tmp_path) -> None:
    """Several encoders may have some of a stream's at a time."""
    budget, stream = Budget(100 * KB, 1000 * KB, 4 * KB), StreamMemory()
    first, second = (FrameQueue(budget, tmp_path, lambda _: None, stream) for _ in range(2))
    first.put([arrived(number, parts(number)) for number in range(4)])
    taken = [first.take() for _ in range(4)]
    second.put([arrived(number, parts(number)) for number in range(3)])
    assert (stream.nbytes, stream.waiting) == (5 * KB, 1), "beside them one frame may wait, however large it is"
    for frame in taken:
        first.done(frame)
    assert stream.nbytes == KB
    assert second.spill() is Spilled.MOVED, "a frame on its way to disk goes there"
    for queue in (first, second):
        queue.close()
    assert stream.nbytes == stream.waiting == 0


def test_a_frame_that_has_no_room_anywhere_is_taken_all_the_same(tmp_path) -> None:
    queue = FrameQueue(Budget(100 * KB, 0, KB // 2), tmp_path, lambda _: None)
    queue.put([arrived(number, parts(number)) for number in range(3)])
    assert queue.spill() is Spilled.NO_ROOM
    assert queue.ready
    assert [queue.take().index for _ in range(3)] == [0, 1, 2]
    assert queue.take() is None
    assert not queue.ready
    queue.close()


def test_a_queue_that_has_many_frames_or_no_room_for_more(tmp_path) -> None:
    queue = FrameQueue(Budget(8 * KB, 100 * KB), tmp_path, lambda _: None)
    assert not queue.has(1, KB)
    queue.put([arrived(0, parts(0))])
    assert [queue.has(1, 9 * KB), queue.has(2, KB), queue.has(2, 9 * KB)] == [True, True, False]
    queue.put([arrived(number, parts(number)) for number in range(1, 6)])
    assert queue.has(100, 100 * KB), "some of them overflow"
    while queue.overflowing:
        queue.spill()
    assert queue.has(100, 100 * KB), "some of them are on disk"
    queue.close()


def test_clips_share_the_memory_and_the_disk(tmp_path) -> None:
    budget = Budget(8 * KB, 2 * KB + 400)
    first, second = (FrameQueue(budget, tmp_path, lambda _: None) for _ in range(2))
    assert budget.share == 2 * KB
    for queue in (first, second):
        for number in range(4):
            queue.put([arrived(number, parts(number))])
    assert [first.spill(), first.spill(), first.spill()] == [Spilled.MOVED, Spilled.MOVED, Spilled.NOTHING_TO_MOVE]
    assert second.spill() is Spilled.NO_ROOM
    first.close()
    assert budget.share == 4 * KB
    assert second.spill() is Spilled.MOVED
    second.close()
    assert (budget.memory_bytes, budget.spool_bytes) == (0, 0)


def test_one_clip_may_be_held_to_less_than_its_share(make) -> None:
    h = make(memory=100 * KB, clip=2 * KB)
    h.put(5)
    assert len(h.spill()) == 3


def test_disk_is_given_back_while_the_spool_is_still_in_use(make) -> None:
    h = make(disk=80 * KB)
    h.put(74)
    h.spill()
    full = h.budget.spool_bytes
    for number in range(50):
        assert h.take() == number
    assert h.budget.spool_bytes < full / 2


def test_discard_gives_everything_back_and_says_how_many(make) -> None:
    h = make()
    h.put(8)
    h.queue.spill()
    h.queue.spill()
    assert h.take() == 0
    assert h.queue.discard() == 7
    assert (len(h.queue), h.budget.memory_bytes, h.budget.spool_bytes, h.released) == (0, 0, 0, 8 * KB)
    h.put(8)
    h.spill()
    assert [h.take() for _ in range(8)] == [*range(8, 16)]


def test_all_layouts_survive_the_disk(make) -> None:
    h = make(memory=2)
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8)
    sent = [
        (pixels.tobytes(), FrameLayout((2, 3, 4), (-12, 4, 1), 12, 24)),
        (bytearray(6), FrameLayout((2, 3), (3, 1), 0, 6)),
        (memoryview(b"short"), FrameLayout((2, 3, 1), (3, 1, 1), 0, 6)),
    ]
    h.queue.put([arrived(0, [])])
    h.queue.put([arrived(1, sent)])
    h.queue.put([arrived(2**40, [])])
    h.spill()
    h.queue.done(h.queue.take())
    frame = h.queue.take()
    assert [(bytes(buffer), layout) for buffer, layout in frame.parts] == [(bytes(b), layout) for b, layout in sent]
    last = h.queue.take()
    assert (last.index, list(last.parts)) == (2**40, [])


def test_the_oldest_frame_keeps_its_age_on_disk(make, monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(budget.time, "monotonic", lambda: now)
    h = make(memory=2 * KB)
    assert h.queue.oldest is None
    for _ in range(4):
        h.put()
        now += 1
    h.spill()
    assert h.queue.oldest == 100
    h.take()
    assert h.queue.oldest == 100, "what is on disk arrived no earlier than what was taken last"
    h.take()
    assert h.queue.oldest == 101
    h.take()
    h.take()
    assert h.queue.oldest is None


def test_a_first_frame_on_disk_has_its_age_too(tmp_path) -> None:
    """Where another clip of its stream has their memory, a clip's frames go to disk before any was taken."""
    budget, stream = Budget(100 * KB, 1000 * KB, 2 * KB), StreamMemory()
    first, second = (FrameQueue(budget, tmp_path, lambda _: None, stream) for _ in range(2))
    first.put([arrived(number, parts(number)) for number in range(3)])
    frames = [arrived(number, parts(number)) for number in range(3)]
    ages = [frame.arrived for frame in frames]
    second.put(frames)
    assert second.spill() is second.spill() is Spilled.MOVED
    assert second.oldest == ages[0]
    second.done(second.take())
    assert second.oldest == ages[0], "what is on disk arrived no earlier than what was taken last"
    for queue in (first, second):
        queue.close()


@pytest.fixture
def full_disk():
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_500, limits[1]))

    def free() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    yield free
    free()
    signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_refuses_a_write_loses_no_frame_and_is_left_alone_for_a_while(make, full_disk, monkeypatch) -> None:
    h = make()
    h.put(10)
    assert h.spill() == [Spilled.MOVED] * 2 + [Spilled.NO_ROOM]
    full_disk()
    assert h.queue.spill() is Spilled.NO_ROOM, "too soon"
    now = budget.time.monotonic()
    monkeypatch.setattr(budget.time, "monotonic", lambda: now + budget.RETRY_SECONDS)
    assert h.spill() == [Spilled.MOVED] * 4
    assert [h.take() for _ in range(11)] == [*range(10), None]


def test_a_spool_folder_that_is_gone_keeps_frames_in_memory(make, tmp_path) -> None:
    h = make()
    h.queue._spool._folder = tmp_path / "gone"  # as if it had been removed since
    h.put(6)
    assert h.spill() == [Spilled.NO_ROOM]
    assert [h.take() for _ in range(7)] == [*range(6), None]


def test_frames_that_cannot_be_read_back_still_count(make) -> None:
    h = make()
    h.put(8)
    h.spill()
    for _ in range(4):
        h.take()
    h.queue._spool._segments[0].file.truncate(500)  # as a failing disk would
    with pytest.raises(EncodeError, match="bytes early") as caught:
        h.queue.take()
    assert caught.value.reason == "io"
    assert h.queue.discard() == 4


def test_a_frame_that_is_just_being_moved_is_waited_for(make, monkeypatch) -> None:
    h = make()
    h.put(5)
    writing, go_on, write = threading.Event(), threading.Event(), spool.write_at

    def slow_write(*arguments) -> None:
        writing.set()
        assert go_on.wait(HANG_SECONDS)
        write(*arguments)

    monkeypatch.setattr(spool, "write_at", slow_write)
    mover = threading.Thread(target=h.queue.spill)
    mover.start()
    assert writing.wait(HANG_SECONDS)
    assert [h.take() for _ in range(5)] == [0, 1, 2, 3, None]
    h.put()
    assert h.take() is None, "frame 5 would have overtaken frame 4"
    assert h.queue.discard() == 1
    assert len(h.queue) == 1
    go_on.set()
    mover.join()
    assert h.take() == 4


def test_one_behind_a_frame_that_is_read_as_soon_as_it_was_moved_is_next(tmp_path) -> None:
    taken = []

    def released(_nbytes: int) -> None:
        if not taken:  # frame 1 was moved, and whoever moved it has not come back
            taken.extend([queue.take(), queue.take()])

    queue = FrameQueue(Budget(2 * KB, 1000 * KB), tmp_path, released)
    queue.put([arrived(number, parts(number)) for number in range(3)])
    assert queue.spill() is Spilled.MOVED
    taken.append(queue.take())
    assert [frame.index for frame in taken] == [0, 1, 2]
    for frame in taken:
        queue.done(frame)
    queue.close()


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["put", "take", "spill", "discard"]), max_size=120), st.integers(0, 12))
def test_no_order_of_calls_loses_reorders_or_miscounts_a_frame(tmp_path_factory, calls, disk) -> None:
    h = Harness(tmp_path_factory.getbasetemp(), memory=4 * KB, disk=disk * KB)
    expected = 0
    for call in calls:
        if call == "put":
            h.put()
        elif call == "spill":
            h.queue.spill()
        elif call == "discard":
            assert h.queue.discard() == h.offered - expected
            expected = h.offered
        else:
            assert h.take() == (expected if expected < h.offered else None)
            expected = min(expected + 1, h.offered)
        assert len(h.queue) == h.offered - expected
        assert h.budget.spool_bytes <= disk * KB
        assert h.released + h.budget.memory_bytes == h.offered * KB
    h.queue.close()
    assert (h.budget.memory_bytes, h.budget.spool_bytes) == (0, 0)


def test_three_threads_at_once_keep_the_order(make) -> None:
    h, count, taken = make(memory=6 * KB, disk=20 * KB), 2000, []
    producing, taking = threading.Event(), threading.Event()

    def produce() -> None:
        h.put(count)
        producing.set()

    def move() -> None:
        while not taking.is_set():
            h.queue.spill()

    threads = [threading.Thread(target=work) for work in (produce, move)]
    for thread in threads:
        thread.start()
    while not (producing.is_set() and len(h.queue) == 0):
        number = h.take()
        if number is not None:
            taken.append(number)
    taking.set()
    for thread in threads:
        thread.join()
    assert taken == list(range(count))
    assert h.released == count * KB


@pytest.mark.parametrize("rest", [0, KB // 2, KB - 1])
@pytest.mark.parametrize("frames", [4, 5, 7, 11, 23, 64, 1000])
def test_frames_in_a_clients_memory_go_to_disk_before_their_credit_is_spent(tmp_path, frames, rest):
    """The encoder has one of them. A credit is twice a clip's share of memory: whole frames, and a rest."""
    queue = FrameQueue(Budget(1 << 30, 1 << 30, (frames * KB + rest) // 2), tmp_path, lambda _: None)
    for index in range(frames):
        queue.put([arrived(index, parts(index), release=lambda: None)])
        if index == 0:
            encoding = queue.take()
    assert queue.overflowing
    while queue.overflowing:
        assert queue.spill() is Spilled.MOVED
    queue.done(encoding)
    queue.close()
