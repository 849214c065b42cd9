"""Which of a stream's clips may begin to be encoded, so that few encoders are open at a time."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from offcamd.encode.budget import StreamMemory
from offcamd.encode.stream_order import CLIPS_FOR_ONE_MORE, StreamOrder


@dataclass(eq=False)
class Job:
    stream: StreamMemory
    ended: bool = False
    worker: int | None = None


@pytest.fixture
def stream() -> StreamMemory:
    return StreamMemory()


def opened(order: StreamOrder, stream: StreamMemory, count: int, *, ended: bool) -> list[Job]:
    jobs = [Job(stream, ended=ended) for _ in range(count)]
    for job in jobs:
        order.add(job)
    return jobs


def test_ended_clips_begin_one_after_the_other_and_the_next_behind_them(stream) -> None:
    order = StreamOrder()
    first, second = opened(order, stream, 2, ended=True)
    (live,) = opened(order, stream, 1, ended=False)
    assert order.may_begin(first, 1, urgent=False)
    first.worker = 0
    assert not order.may_begin(second, 1, urgent=False)
    assert not order.may_begin(live, 1, urgent=False)
    assert order.waiting(stream) == [second, live]
    order.remove(first)
    assert order.may_begin(second, 1, urgent=False)


def test_clips_that_are_recorded_at_the_same_time_begin_side_by_side(stream) -> None:
    order = StreamOrder()
    jobs = opened(order, stream, 3, ended=False)
    for job in jobs:
        assert order.may_begin(job, 1, urgent=False)
        job.worker = 0


def test_streams_do_not_wait_for_each_other(stream) -> None:
    order = StreamOrder()
    (begun,) = opened(order, stream, 1, ended=True)
    begun.worker = 0
    (other,) = opened(order, StreamMemory(), 1, ended=True)
    assert order.may_begin(other, 1, urgent=False)
    assert list(order) == [stream, other.stream]
    order.remove(other)
    assert list(order) == [stream]


@pytest.mark.parametrize(
    ("processes", "waiting", "most"),
    [(1, 3, 1), (2, 3, 2), (1, CLIPS_FOR_ONE_MORE, 2), (1, 3 * CLIPS_FOR_ONE_MORE, 4), (8, 3 * CLIPS_FOR_ONE_MORE, 8)],
)
def test_while_somebody_waits_several_are_encoded_at_a_time(stream, processes, waiting, most) -> None:
    order = StreamOrder()
    jobs = opened(order, stream, waiting, ended=True)
    begun = 0
    while begun < len(jobs) and order.may_begin(jobs[begun], processes, urgent=True):
        jobs[begun].worker = begun
        begun += 1
    assert begun == min(most, waiting)
