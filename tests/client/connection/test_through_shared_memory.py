"""Recordings whose frames go through shared memory, with a daemon at its other end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import films
import offcam
import offcam.connection.process
import ways
from envs import Barcode, play
from offcam.connection import shared_memory
from offcam_proto import host
from offcam_proto.arena import (
    SLOTS_AT,
    STATES_AT,
)
from resources import descriptors, memories
from waiting import HANG_SECONDS, wait_until

pytestmark = pytest.mark.skipif(not shared_memory.POSSIBLE, reason="no anonymous files here that can be sealed")

SLOW_DAEMON = Path(__file__).parents[2] / "peers" / "slow_daemon.py"


@pytest.fixture
def slots(monkeypatch):
    return ways.noted(monkeypatch)


def answered() -> None:
    """Return when the daemon has said of each arena whether it can use it, and is done with what was in it."""
    connection = offcam.connection.process.current()
    assert connection.wait(
        lambda: all(wire.arena is not None for wire in connection.session.streams.values()), HANG_SECONDS
    )
    made = [arena for _, arena in connection.frames.arenas._arenas.values()]
    assert connection.wait(
        lambda: not any(any(arena._memory[STATES_AT : STATES_AT + arena.slots]) for arena in made), HANG_SECONDS
    )


def test_a_recording_uses_slots(tmp_path, daemon, slots, monkeypatch):
    few = 64
    monkeypatch.setattr(shared_memory, "ARENA_SLOTS", few)
    env = offcam.RecordVideo(Barcode(4000), str(tmp_path / "run"), overflow="block")
    before = descriptors(), memories()
    env.reset()
    # slowly, or all frames are on their way before the daemon has freed a slot
    wait_until(lambda: sum(slot is not None for slot in slots) > few or (env.step(0) and False), "slots return")
    env.close()
    assert len(slots) == env.unwrapped.number + 1
    assert films.numbers(tmp_path / "run" / "rl-video-episode-0.mp4") == list(range(len(slots)))
    assert (descriptors(), memories()) == before


def test_without_such_memory_all_is_recorded_through_the_socket(tmp_path, daemon, slots, monkeypatch):
    monkeypatch.setattr(os, "memfd_create", lambda *_: os.close(-1))
    monkeypatch.setattr(host, "MEMORY", "/nowhere")
    env = offcam.RecordVideo(Barcode(50), str(tmp_path / "run"), overflow="block")
    play(env)
    env.close()
    assert films.numbers(tmp_path / "run" / "rl-video-episode-0.mp4") == list(range(51))
    assert slots == [None] * 51


def test_frames_that_grow_move_into_a_larger_arena(tmp_path, daemon, slots):
    env = offcam.RecordVideo(
        Barcode(200, sizes={50: (120, 160), 100: (40, 60), 150: (200, 200)}), str(tmp_path / "run"), overflow="block"
    )
    env.reset()
    while env.unwrapped.number < 200:
        env.step(0)
        if env.unwrapped.number % 50 == 1:
            answered()
    env.close()
    sizes = [(84, 84), (120, 160), (40, 60), (200, 200)]
    found = [
        films.numbers(tmp_path / "run" / f"rl-video-episode-0{part}.mp4", *size)
        for part, size in zip(("", "-part2", "-part3", "-part4"), sizes, strict=True)
    ]
    assert found == [list(range(start, start + 50)) for start in (0, 50, 100)] + [list(range(150, 201))]
    assert all(any(slot is not None for slot in slots[start : start + 50]) for start in (0, 50, 100, 150))


def test_a_forked_child_has_its_own_and_leaves_its_parents_alone(tmp_path, daemon, slots):
    env = offcam.record(Barcode(200), str(tmp_path / "run"), every=1, overflow="block")
    env.reset()
    env.step(0)
    answered()
    env.step(0)
    answered()
    before = env.unwrapped.number
    assert (len(slots), slots[0], slots[2]) == (3, 0, 0)
    mine = offcam.connection.process.current().frames.arenas
    ((_, arena),) = mine._arenas.values()
    arena._memory[SLOTS_AT : SLOTS_AT + 8] = b"parent's"
    states = bytes(arena._memory[STATES_AT:SLOTS_AT])
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            env.step(0)
            answered()
            while env.unwrapped.number < 200:
                env.step(0)
            others = offcam.connection.process.current().frames.arenas
            ((_, other),) = others._arenas.values()
            code = 0 if others is not mine and other.token != arena.token and slots[3] == 0 else 2
            env.close()
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert bytes(arena._memory[SLOTS_AT : SLOTS_AT + 8]) == b"parent's"
    assert bytes(arena._memory[STATES_AT:SLOTS_AT]) == states
    while env.unwrapped.number < 200:
        env.step(0)
    env.close()
    assert films.numbers(tmp_path / "run" / "rl-video-episode-0.mp4") == list(range(201))
    assert films.numbers(tmp_path / "run" / "rl-video-episode-0-s2.mp4") == list(range(before + 1, 201))


def test_another_daemon_gets_what_is_left_in_the_arena(tmp_path, serve, endpoint, slots, monkeypatch):
    """Each is killed with slots in use, of several episodes: nothing is recorded or counted twice, or not at all."""
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    env = offcam.record(Barcode(20), str(tmp_path / "run"), every=1, overflow="block")
    tokens = set()
    for _ in range(3):
        daemon, _ = serve("0.01", script=SLOW_DAEMON)
        connection = offcam.connection.process.current()
        assert connection.flush(seconds=HANG_SECONDS)  # from now on it knows that this is another one
        play(env)
        answered()
        play(env, 3)
        ((_, arena),) = connection.frames.arenas._arenas.values()
        tokens.add(arena.token)
        used = [slot for slot in slots if slot is not None]
        assert used, "frames lie in slots"
        slots.clear()
        daemon.kill()
        daemon.wait()
        play(env)
    serve("0.01", script=SLOW_DAEMON)
    play(env, 2)
    env.close()
    assert len(tokens) == 1
    assert [(row.episode, row.length) for row in films.episodes(tmp_path / "run")] == [(n, 20) for n in range(17)]
    films.check(tmp_path / "run")
    found = films.clips(tmp_path / "run").values()
    assert sum(clip.offered for clip in found) == 17 * 21
    reasons = {reason for clip in found for reason in clip.dropped}
    assert reasons <= {"lost", "no_daemon"}
