"""Clips in line: who is next, and who has to wait for whom."""

from __future__ import annotations

import pytest

from offcamd.encode.scheduler import LIGHT_SECONDS, Turns


def line(*clips: str) -> Turns[str]:
    """Clips in line, in this order; those in small letters are light."""
    turns: Turns[str] = Turns()
    for clip in clips:
        turns.add(clip, light=clip.islower())
    return turns


def test_first_come_first_served() -> None:
    turns = line("A", "b", "C")
    assert [turns.take(0.0) for _ in range(4)] == ["A", "b", "C", None]


def test_light_clips_have_their_turns_one_at_a_time_and_others_do_not_wait_for_them() -> None:
    turns = line("a", "b", "C")
    assert [turns.take(0.0) for _ in range(3)] == ["a", "C", None]
    assert not turns.ready(0.0)
    turns.done("C")
    assert turns.take(0.0) is None
    turns.done("a")
    assert turns.ready(0.0)
    assert turns.take(0.0) == "b"


def test_a_light_clip_that_comes_again_is_behind_those_that_wait() -> None:
    turns = line("a", "b")
    assert turns.take(0.0) == "a"
    turns.done("a")
    turns.add("a", light=True)
    assert turns.take(0.0) == "b"


def test_beside_a_turn_that_takes_too_long_another_is_let_in() -> None:
    turns = line("a", "b", "c")
    turns.take(10.0)
    assert turns.patience(10.0) == pytest.approx(LIGHT_SECONDS)
    assert turns.take(10.0 + LIGHT_SECONDS * 0.9) is None
    late = 10.0 + LIGHT_SECONDS
    assert turns.patience(late + 1) == 0.0
    assert turns.ready(late)
    assert turns.take(late) == "b"
    turns.done("a")  # it was not its turn that c waits for
    assert turns.take(late) is None
    turns.done("b")
    assert turns.take(late) == "c"


def test_nobody_waits_in_vain() -> None:
    turns = line("a", "B")
    assert turns.patience(0.0) is None
    turns.take(0.0)
    assert turns.patience(0.0) is None  # B may have a turn, and there is no other light one
    turns.add("c", light=True)
    assert turns.patience(0.0) is not None
    turns.done("a")
    assert turns.patience(0.0) is None
