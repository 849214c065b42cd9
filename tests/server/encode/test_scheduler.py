"""Clips in line: who is next, and who has to wait for whom."""

from __future__ import annotations

import pytest

from offcamd.encode.scheduler import LIGHT_SECONDS, PATIENCE_SECONDS, Scheduler


def line(*clips: str) -> Scheduler[str]:
    """Clips in line, in this order; those in small letters are light."""
    scheduler: Scheduler[str] = Scheduler()
    for clip in clips:
        scheduler.add(clip, light=clip.islower())
    return scheduler


def test_first_come_first_served() -> None:
    scheduler = line("A", "b", "C")
    assert [scheduler.take(0.0) for _ in range(4)] == ["A", "b", "C", None]


def test_light_clips_have_their_turns_one_at_a_time_and_others_do_not_wait_for_them() -> None:
    scheduler = line("a", "b", "C")
    assert [scheduler.take(0.0) for _ in range(3)] == ["a", "C", None]
    assert not scheduler.ready(0.0)
    scheduler.done("C")
    assert scheduler.take(0.0) is None
    scheduler.done("a")
    assert scheduler.ready(0.0)
    assert scheduler.take(0.0) == "b"


def test_a_light_clip_that_comes_again_is_behind_those_that_wait() -> None:
    scheduler = line("a", "b")
    assert scheduler.take(0.0) == "a"
    scheduler.done("a")
    scheduler.add("a", light=True)
    assert scheduler.take(0.0) == "b"


def test_beside_a_turn_that_takes_too_long_another_is_let_in() -> None:
    scheduler = line("a", "b", "c")
    scheduler.take(10.0)
    assert scheduler.patience(10.0) == pytest.approx(LIGHT_SECONDS)
    assert scheduler.take(10.0 + LIGHT_SECONDS * 0.9) is None
    late = 10.0 + LIGHT_SECONDS
    assert scheduler.patience(late + 1) == 0.0
    assert scheduler.ready(late)
    assert scheduler.take(late) == "b"
    scheduler.done("a")  # it was not its turn that c waits for
    assert scheduler.take(late) is None
    scheduler.done("b")
    assert scheduler.take(late) == "c"


def test_nobody_waits_in_vain() -> None:
    scheduler = line("a", "B")
    assert scheduler.patience(0.0) is None
    scheduler.take(0.0)
    assert scheduler.patience(0.0) is None  # B may have a turn, and there is no other light one
    scheduler.add("c", light=True)
    assert scheduler.patience(0.0) is not None
    scheduler.done("a")
    assert scheduler.patience(0.0) is None


def test_a_clip_of_one_worker_waits_for_that_one_and_holds_up_nobody_else() -> None:
    scheduler = line()
    for clip, worker in (("A", 1), ("B", None), ("C", 1), ("D", 2)):
        scheduler.add(clip, light=False, worker=worker)
    assert [scheduler.take(0.0, 0), scheduler.take(0.0, 0)] == ["B", None]
    assert [scheduler.ready(0.0, worker) for worker in (0, 1, 2)] == [False, True, True]
    assert [scheduler.take(0.0, 2), scheduler.take(0.0, 2)] == ["D", None]
    assert [scheduler.take(0.0, 1) for _ in range(3)] == ["A", "C", None]


def test_a_clip_that_comes_too_early_joins_the_line_later() -> None:
    scheduler = line()
    scheduler.add_early("A", 10.0, 1)
    scheduler.add_early("B", 10.05, 1)
    scheduler.add("C", light=False, worker=1)
    assert scheduler.due(1) == pytest.approx(10.0 + PATIENCE_SECONDS)
    assert scheduler.due(0) is None
    assert [scheduler.take(10.0, 1), scheduler.take(10.0, 1)] == ["C", None]
    assert not scheduler.ready(10.0 + PATIENCE_SECONDS, 0)
    assert scheduler.ready(10.0 + PATIENCE_SECONDS, 1)
    assert [scheduler.take(10.0 + PATIENCE_SECONDS, 1) for _ in range(2)] == ["A", None]
    assert scheduler.due(1) == pytest.approx(10.05 + PATIENCE_SECONDS)


def test_a_clip_that_comes_too_early_may_be_hastened() -> None:
    scheduler = line()
    for clip, worker in (("A", 1), ("B", 1), ("C", 2), ("D", 3)):
        scheduler.add_early(clip, 10.0, worker)
    assert scheduler.hasten("B", 1)
    assert not scheduler.hasten("B", 1)
    assert [scheduler.take(10.0, 1), scheduler.take(10.0, 1)] == ["B", None]
    scheduler.hasten_all()
    assert [scheduler.take(10.0, worker) for worker in (1, 2)] == ["A", "C"]
    scheduler.give_up(3)
    assert scheduler.take(10.0, 1) == "D"


def test_a_worker_that_is_gone_leaves_its_early_clips_to_the_others() -> None:
    scheduler = line()
    scheduler.add_early("A", 10.0, 1)
    scheduler.give_up(1)
    assert scheduler.take(10.0, 0) == "A"
