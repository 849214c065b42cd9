"""Every frame that was drawn is in the file once and in order, whatever its size, memory, dtype and rate."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.vector import SyncVectorEnv

import envs
import films
import offcam
import offcam.connection.shared_memory
import offcam.vector
import ways
from envs import Barcode, Look
from waiting import wait_until

SLOW_DAEMON = Path(__file__).parents[1] / "peers" / "slow_daemon.py"
FEW_SLOTS = 64
"""Of shared memory, where not all that a client has are to be filled: one test does that."""

CASES = [
    # height, width, fps, length, style, memory: each value of each column at least once
    pytest.param(400, 600, 50, 300, "rgb", "transposed", id="as-cartpole"),
    pytest.param(400, 600, 25, 29, "rgb", "flipped", id="as-box2d-upside-down"),
    pytest.param(210, 160, 60, 300, "rgb", "reused", id="as-atari-with-one-buffer"),
    pytest.param(210, 160, 29.97, 30, "grey1", "contiguous", id="ntsc-grey1"),
    pytest.param(84, 84, 30, 1000, "grey", "contiguous", id="as-atari-grey"),
    pytest.param(84, 84, 100, 30, "bool", "strided", id="bool-strided"),
    pytest.param(84, 84, 4, 0, "rgb", "contiguous", id="one-frame"),
    pytest.param(84, 84, 4, 1, "rgba", "mirrored", id="two-frames-rgba"),
    pytest.param(37, 53, 12.5, 29, "float32", "contiguous", id="odd-float32"),
    pytest.param(53, 37, 10, 30, "rgb", "strided", id="odd-strided"),
    pytest.param(37, 53, 25, 30, "rgba", "transposed", id="odd-rgba-transposed"),
    pytest.param(1, 1, 4, 29, "rgb", "contiguous", id="one-pixel"),
    pytest.param(1, 1, 60, 1, "grey", "reused", id="one-grey-pixel"),
    pytest.param(720, 1280, 50, 29, "rgb", "flipped", id="hd-flipped"),
    pytest.param(720, 1280, 30, 1, "int64", "transposed", id="hd-int64"),
    pytest.param(84, 84, 30, 30, "float64", "reused", id="float64-reused"),
    pytest.param(400, 600, 50, 1000, "rgb", "transposed", id="as-cartpole-at-length", marks=pytest.mark.slow),
    pytest.param(210, 160, 60, 1000, "rgb", "reused", id="as-atari-at-length", marks=pytest.mark.slow),
]


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(("height", "width", "fps", "length", "style", "memory"), CASES)
def test_frames_are_0_to_n(tmp_path, height, width, fps, length, style, memory):
    plain = Barcode(length, Look(height, width, style, memory), fps)
    most = 0 if length else 1  # a video opens with its first step, so that one of one frame is one that is cut there
    env = offcam.RecordVideo(plain, str(tmp_path / "run"), video_length=most, overflow="block")
    env.reset()
    for _ in range(max(length, 1)):
        env.step(0)
    env.close()

    shots = list(films.shots(tmp_path / "run" / "rl-video-episode-0.mp4"))
    expected = [envs.shown(number, height, width) for number in range(length + 1)]
    assert [envs.decode(shot.rgb, height, width) for shot in shots] == expected
    tick = 1 / Fraction(fps).limit_denominator(1001)
    for number, shot in enumerate(shots):
        assert abs(shot.time - number * tick) < Fraction(1, 10_000)
    films.check(tmp_path / "run")
    (clip,) = films.clips(tmp_path / "run").values()
    assert (clip.frames, clip.offered, clip.dropped, clip.state) == (length + 1, length + 1, {}, "final")
    assert clip.fps == pytest.approx(fps)
    assert clip.duration == pytest.approx((length + 1) / fps, rel=1e-3)
    assert (clip.width, clip.height) == (width + width % 2, height + height % 2)


@pytest.mark.usefixtures("daemon")
def test_the_last_frame_is_the_terminal_one_however_many_there_are(tmp_path):
    env = offcam.RecordVideo(Barcode(1), str(tmp_path / "run"), episode_trigger=lambda _: True, overflow="block")
    for length in range(1, 40):
        env.unwrapped.length = length
        envs.play(env)
    env.close()
    for episode in range(39):
        found = films.numbers(tmp_path / "run" / f"rl-video-episode-{episode}.mp4")
        assert found == list(range(episode + 2))


def test_a_frame_that_is_missing_is_counted_under_the_default_policy(tmp_path, serve):
    """This env draws faster than this daemon can encode. What is missing is said, and the rest keeps its time."""
    serve("--encoders", "1", "--memory-limit", "16MiB", "--spool-limit", "0", "--preset", "veryslow")
    with pytest.warns(UserWarning, match="overflow='block'") as warned:  # noqa: PT031 - in any of its steps
        env = offcam.RecordVideo(Barcode(150, Look(720, 1280), 30), str(tmp_path / "run"))
        envs.play(env)
        env.close()
    films.check(tmp_path / "run")
    (clip,) = films.clips(tmp_path / "run").values()
    missing = sum(clip.dropped.values())
    assert missing > 0
    assert clip.offered == 151
    assert clip.frames + missing == 151
    assert set(clip.dropped) == {"credit"}
    assert any(f"{missing} of 151 frames" in str(warning.message) for warning in warned)
    found = [(envs.decode(shot.rgb, 720, 1280), shot.time) for shot in films.shots(tmp_path / "run" / str(clip.file))]
    assert len(found) == clip.frames
    assert [number for number, _ in found] == sorted({number for number, _ in found})
    for number, shown in found[1:]:
        assert abs(shown - Fraction(number, 30)) < Fraction(1, 1000)


# --- shared memory and socket -----------------------------------------------------------------------------


@pytest.fixture
def slots(monkeypatch):
    return ways.noted(monkeypatch)


def taken(slots, ways: str) -> bool:
    """Whether frames took these ways one after the other, a pattern: ``s`` is a slot and ``-`` the socket."""
    return bool(re.search(ways, "".join("-" if slot is None else "s" for slot in slots)))


def play_through_both(env, slots, gate, possible: bool) -> int:
    """Play until frames took all ways there are: slots run out at the gate, and behind it they are free again.

    Returns how many frames there were.
    """

    def step() -> None:
        env.step([0] * env.num_envs if isinstance(env, gym.vector.VectorEnv) else 0)

    env.reset()
    if possible:
        wait_until(lambda: taken(slots, "s-") or step(), "the slots have run out")
        gate.touch()
        wait_until(lambda: taken(slots, "s-+s") or step(), "slots are free again")
    gate.touch()
    for _ in range(30):
        step()
    return len(slots)


PICTURES = [
    pytest.param(84, 84, "contiguous", id="contiguous", marks=pytest.mark.slow),
    pytest.param(84, 84, "transposed", id="transposed"),
    pytest.param(84, 84, "flipped", id="flipped"),
    pytest.param(84, 84, "reused", id="reused"),
    pytest.param(1080, 1920, "reused", id="full-hd", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("height", "width", "memory"), PICTURES)
def test_frames_go_through_slots_and_socket_in_turns(
    tmp_path, serve, endpoint, slots, monkeypatch, height, width, memory
):
    """Nothing is encoded at first, so that the slots run out. The same without shared memory."""
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    if memory != "contiguous":
        monkeypatch.setattr(offcam.connection.shared_memory, "ARENA_SLOTS", FEW_SLOTS)
    gate = tmp_path / "gate"
    serve("0", "--gate", str(gate), "--spool-limit", "0", script=SLOW_DAEMON)  # which would free slots
    for possible in (True, False):
        monkeypatch.setattr(offcam.connection.shared_memory, "POSSIBLE", possible)
        offcam.connection.process.shutdown_all()
        offcam.connection.process._current = None  # like another process
        folder = tmp_path / str(possible)
        slots.clear()
        env = offcam.RecordVideo(Barcode(10**6, Look(height, width, "rgb", memory)), str(folder), overflow="block")
        frames = play_through_both(env, slots, gate, possible)
        env.close()
        shown = [number % 4096 for number in range(frames)]
        assert films.numbers(folder / "rl-video-episode-0.mp4", height, width) == shown
        films.check(folder)
        assert possible or slots == [None] * frames


@pytest.mark.parametrize("possible", [True, False], ids=["slots", "socket"])
def test_what_is_dropped_from_slots_and_socket_is_counted(tmp_path, serve, endpoint, slots, monkeypatch, possible):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    monkeypatch.setattr(offcam.connection.shared_memory, "POSSIBLE", possible)
    gate = tmp_path / "gate"
    limits = ("--encoders", "1", "--memory-limit", "4MiB", "--spool-limit", "0")
    serve("0", "--gate", str(gate), *limits, script=SLOW_DAEMON)
    env = offcam.RecordVideo(Barcode(4000), str(tmp_path / "run"), overflow="drop")
    env.reset()
    if possible:
        wait_until(lambda: taken(slots, "s") or (env.step(0) and False), "the daemon has opened the memory")
    for _ in range(300):  # more than there is credit for
        env.step(0)
    gate.touch()
    for _ in range(300):
        env.step(0)
    env.close()
    films.check(tmp_path / "run")
    (clip,) = films.clips(tmp_path / "run").values()
    assert any(slot is not None for slot in slots) == possible
    assert set(clip.dropped) == {"credit"}
    found = [(envs.decode(shot.rgb, 84, 84), shot.time) for shot in films.shots(tmp_path / "run" / str(clip.file))]
    assert [number for number, _ in found] == sorted({number for number, _ in found})
    assert clip.offered == env.unwrapped.number + 1
    assert len(found) == clip.frames == clip.offered - clip.dropped["credit"]
    for number, shown in found[1:]:
        assert abs(shown - Fraction(number, 30)) < Fraction(1, 1000)


@pytest.mark.parametrize("possible", [True, False], ids=["slots", "socket"])
def test_all_tiles_of_a_grid_are_of_one_step(tmp_path, serve, endpoint, slots, monkeypatch, possible):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    monkeypatch.setattr(offcam.connection.shared_memory, "POSSIBLE", possible)
    monkeypatch.setattr(offcam.connection.shared_memory, "ARENA_SLOTS", FEW_SLOTS)
    gate = tmp_path / "gate"
    serve("0", "--gate", str(gate), "--spool-limit", "0", script=SLOW_DAEMON)
    looks = [Look(64, 64, "rgb", memory) for memory in ("contiguous", "transposed", "reused")]
    makers = [lambda look=look, n=n: Barcode(10**6, look, offset=1000 * n) for n, look in enumerate(looks)]
    grid = offcam.vector.RecordVideo(SyncVectorEnv(makers), str(tmp_path / "run"), overflow="block")
    frames = play_through_both(grid, slots, gate, possible)
    grid.close()
    shots = list(films.shots(tmp_path / "run" / "rl-video-episode-0.mp4"))
    places = [(0, 0), (0, 64), (64, 0)]
    found = [[envs.decode(shot.rgb[y : y + 64, x : x + 64], 64, 64) for y, x in places] for shot in shots]
    assert found == [[number, 1000 + number, 2000 + number] for number in range(frames)]
    films.check(tmp_path / "run")
    assert possible or set(slots) == {None}
