"""SIGKILL of the daemon: the frames that it had and no file has lie in shared memory, and the next one records them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial

import pytest
from actors import SLOW_DAEMON, TESTS, WAIT_SECONDS

import films
import offcam
import offcam.connection.process
from begun import begun, gone_on
from envs import Barcode, Look, play
from offcam.connection import shared_memory, timeouts
from offcam_proto.arena import EMPTY, FREE, STATES_AT
from offcam_proto.codec import decode_server
from offcam_proto.messages import ArenaReply, Flushed, StreamOpened, Welcome
from offcam_runs.run import read_run
from waiting import wait_until

pytestmark = pytest.mark.skipif(not shared_memory.POSSIBLE, reason="no anonymous files here that can be sealed")

HEIGHT, WIDTH = 400, 600
PAUSE = 0.01
"""A hundred frames a second."""


def steps(env, count: int) -> None:
    for _ in range(count):
        time.sleep(PAUSE)
        env.step(0)


def few_wait(connection, wire) -> bool:
    """Whether the daemon has encoded most of what it was sent."""
    return len(connection.frames.arenas.at(wire).lying()) <= 20


def shown(folder, episode: int = 0, height: int = HEIGHT, width: int = WIDTH) -> list[int]:
    """The numbers in all frames of an episode's files, in the order of its parts."""
    clips = [clip for clip in films.clips(folder).values() if clip.episode == episode and clip.file]
    found: list[int] = []
    for clip in sorted(clips, key=lambda clip: clip.part):
        found += films.numbers(folder / clip.file, height, width)
    return found


def test_a_kill_costs_a_video_one_frame_at_most(daemons, tmp_path, capsys, monkeypatch):
    """At 100 frames a second of 600x400, with no daemon for 60 frames each time. What is in a spool dies with it."""
    monkeypatch.setenv("OFFCAM_SPOOL_LIMIT", "0")
    kills = 4
    folder = tmp_path / "run"
    daemons.start()
    env = offcam.record(Barcode(10**6, Look(HEIGHT, WIDTH)), str(folder), every=1, overflow="block")
    env.reset()
    env.step(0)
    connection = offcam.connection.process.current()
    wire = connection.session.streams[1]
    for _ in range(kills):
        wait_until(lambda: env.step(0) and wire.live and wire.arena, "the daemon uses the memory")
        steps(env, 50)
        wait_until(lambda: connection.pump() or few_wait(connection, wire), "there is room for 60")
        epoch = wire.epoch
        daemons.kill()
        steps(env, 60)
        daemons.start()
        wait_until(partial(gone_on, wire, epoch, connection), "the next daemon has the stream")
    steps(env, 50)
    env.unwrapped.length = env.unwrapped.number + 1
    env.step(0)
    env.close()
    played, found = env.unwrapped.renders, shown(folder)
    missing = sorted(set(range(played)) - set(found))
    films.check(folder)
    clips = films.clips(folder).values()
    with capsys.disabled():
        print(f"\n{kills} kills cost {len(missing)} of {played} frames: {missing}")
    assert found == sorted(set(found)), "each once, and in order"
    assert len(missing) <= kills, [clip.dropped for clip in clips]
    assert sum(clip.offered for clip in clips) == played
    assert sum(clip.dropped.get("lost", 0) for clip in clips) == len(missing)
    daemons.stop()


@pytest.mark.parametrize("kills", [1, 3])
def test_all_that_waits_is_recorded_by_the_next_one(kills, daemons, tmp_path):
    """Daemons that encode nothing have videos that ended and one that is open, and others begin where there is none."""
    length, episodes = 4, 3
    folder = tmp_path / "run"
    daemons.start(SLOW_DAEMON, "0", "--gate", str(tmp_path / "never"))
    env = offcam.record(Barcode(length, Look(84, 84)), str(folder), every=1)
    connection, wire = begun(env)
    for kill in range(kills):
        for _ in range(episodes):
            play(env)
        env.reset()
        env.step(0)
        epoch = wire.epoch
        daemons.kill()
        env.step(0)
        for _ in range(episodes):
            play(env)
        env.reset()
        env.step(0)
        gate = [] if kill == kills - 1 else ["--gate", str(tmp_path / "never")]
        daemons.start(SLOW_DAEMON, "0", *gate)
        wait_until(partial(gone_on, wire, epoch, connection), "the next daemon has the stream")
    play(env)
    env.close()
    clips = films.clips(folder).values()
    found = [(clip.episode, number) for clip in sorted(clips, key=lambda clip: (clip.episode, clip.part)) if clip.file
             for number in films.numbers(folder / clip.file)]  # fmt: skip
    played = sum(clip.offered for clip in clips)
    assert played == env.unwrapped.renders
    assert found == sorted(set(found))
    lost = lost_of_the_first(found)
    assert len(found) == played - lost
    assert [clip.dropped for clip in clips if clip.dropped] == [{"lost": lost}] * bool(lost)
    films.check(folder)
    daemons.stop()


@pytest.mark.filterwarnings("ignore::UserWarning")  # that recording has not begun
def test_so_is_a_video_whose_first_frame_waited_for_its_daemon(daemons, tmp_path, monkeypatch):
    folder, open_now = tmp_path / "run", []
    daemons.start(SLOW_DAEMON, "0", "--gate", str(tmp_path / "never"))
    connection = offcam.connection.process.current()
    received = connection.transport.received
    monkeypatch.setattr(connection.transport, "received", lambda: received() if open_now else ())
    monkeypatch.setattr(timeouts, "START_SECONDS", 0.01)
    env = offcam.record(Barcode(9), folder, every=1)
    wire = connection.session.streams[1]
    assert not wire.live

    def wait(*_) -> None:
        open_now.append(True)
        wait_until(lambda: connection.pump() or wire.live, "the daemon has opened the folder")

    monkeypatch.setattr(connection.handshake, "await_first_video", wait)
    env.reset()
    env.step(0)
    wait_until(lambda: connection.pump() or wire.arena, "the daemon can use the memory")
    for _ in range(3):
        env.step(0)
    daemons.kill()
    daemons.start(SLOW_DAEMON, "0")
    while not env.step(0)[2]:
        pass
    env.close()
    found = shown(folder, height=84, width=84)
    assert found == list(range(lost_of_the_first([(0, number) for number in found]), 10))
    films.check(folder)
    daemons.stop()


def test_a_video_that_ends_once_the_next_daemon_is_there_is_accounted_for_once(daemons, tmp_path):
    """Its last frame came before the first daemon died: the next one has its part, and its frames are no others'."""
    folder = tmp_path / "run"
    daemons.start(SLOW_DAEMON, "0", "--gate", str(tmp_path / "never"))
    env = offcam.record(Barcode(9, Look(84, 84)), str(folder), every=1)
    connection, wire = begun(env)
    steps(env, 4)
    epoch = wire.epoch
    daemons.kill()
    daemons.start()
    wait_until(partial(gone_on, wire, epoch, connection), "the next daemon has the stream")
    env.close()
    clips = films.clips(folder).values()
    assert sum(clip.offered for clip in clips) == env.unwrapped.renders == 6
    films.check(folder)
    daemons.stop()


def test_each_nth_frame_has_its_time_in_the_next_part_too(daemons, tmp_path):
    """Of each third frame none was encoded when the daemon died, and some came while there was none."""
    folder = tmp_path / "run"
    daemons.start(SLOW_DAEMON, "0", "--gate", str(tmp_path / "never"))
    env = offcam.record(Barcode(40), str(folder), every=1, every_nth_frame=3, max_size=(42, 42))
    connection, wire = begun(env)
    steps(env, 19)
    epoch = wire.epoch
    daemons.kill()
    steps(env, 6)
    daemons.start()
    wait_until(partial(gone_on, wire, epoch, connection), "the next daemon has the stream")
    steps(env, 14)
    env.close()
    found = []
    for clip in sorted(films.clips(folder).values(), key=lambda clip: clip.part):
        if clip.file:
            numbers = films.numbers(folder / clip.file, 42, 42)
            times = [shot.time * 30 for shot in films.shots(folder / clip.file)]
            assert times == [number - numbers[0] for number in numbers]
            found += numbers
    taken = [*range(0, 40, 3), 40]
    assert found in (taken, taken[1:], taken[2:])  # a stream's first frames go by before its daemon has the memory
    films.check(folder)
    daemons.stop()


def test_what_waits_is_recorded_where_the_next_daemon_is_found_while_a_part_begins(daemons, tmp_path, monkeypatch):
    """The frames' size changes: the account of the part before is what goes out first, and the answer comes with it."""
    folder = tmp_path / "run"
    daemons.start(SLOW_DAEMON, "0", "--gate", str(tmp_path / "never"))
    env = offcam.record(Barcode(40, sizes={20: (96, 96)}), str(folder), every=1, overflow="block")
    connection, wire = begun(env)
    steps(env, 12)
    daemons.kill()
    steps(env, 19 - env.unwrapped.number)
    daemons.start()
    stream, epoch = env._stream, wire.epoch
    record = stream.record

    def found(*records):
        record(*records)
        wait_until(partial(gone_on, wire, epoch, connection), "the next daemon has the stream")

    monkeypatch.setattr(stream, "record", found)
    env.step(0)
    monkeypatch.undo()
    assert wire.epoch > epoch
    steps(env, 20)
    env.close()
    films.check(folder)
    found = [number for side in (84, 96) for number in numbers_of_size(folder, side)]
    assert found == list(range(lost_of_the_first([(0, number) for number in found]), 41))
    daemons.stop()


def numbers_of_size(folder, side: int) -> list[int]:
    """The numbers in all frames of a height, in the order of their clips."""
    clips = [clip for clip in films.clips(folder).values() if clip.file and clip.height == side]
    return [
        number
        for clip in sorted(clips, key=lambda clip: clip.part)
        for number in films.numbers(folder / clip.file, side, side)
    ]


def lost_of_the_first(found: list[tuple[int, int]]) -> int:
    """How many of a stream's first two frames are nowhere: they went by before its daemon had the memory."""
    return len({(0, 0), (0, 1)} - set(found))


LEAVING = """
import sys
import offcam
from begun import begun
from envs import Barcode, play
env = offcam.record(Barcode(4), sys.argv[1], every=1)
begun(env)
for _ in range(3):
    play(env)
env.reset()
env.step(0)
print("played", flush=True)
input()
if sys.argv[2] == "close":
    env.close()
"""


@pytest.mark.parametrize("way", ["close", "exit"])
def test_who_leaves_waits_for_the_next_daemon_to_record_what_is_left(way, daemons, tmp_path):
    folder = tmp_path / "run"
    daemons.start(SLOW_DAEMON, "0", "--gate", str(tmp_path / "never"))
    command = [sys.executable, "-c", LEAVING, str(folder), way]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as agent:
        assert agent.stdout.readline() == "played\n"
        daemons.kill()
        if way == "exit":  # a process that leaves without `close` does not wait for a daemon that somebody else starts
            daemons.start(SLOW_DAEMON, "0")
        agent.stdin.write("\n")
        agent.stdin.flush()
        if way == "close":
            daemons.start(SLOW_DAEMON, "0")
        assert agent.wait(WAIT_SECONDS) == 0
    clips = films.clips(folder).values()
    found = [(clip.episode, number) for clip in clips if clip.file for number in films.numbers(folder / clip.file)]
    played = [(0, 0), (0, 1), *((episode, number) for episode in (1, 2, 3) for number in range(5)), (4, 0), (4, 1)]
    assert sorted(found) == played[lost_of_the_first(found) :]
    films.check(folder)
    daemons.stop()


def test_who_leaves_waits_until_the_next_daemon_was_told_of_what_is_left(daemons, tmp_path, monkeypatch):
    """Also where that is busy with opening the folder, and every record is stored already."""
    folder = tmp_path / "run"
    daemons.start(SLOW_DAEMON, "0", "--gate", str(tmp_path / "never"))
    env = offcam.record(Barcode(4), folder, episode_trigger=lambda episode: episode < 3)
    connection, wire = begun(env)
    play(env, 4)
    wait_until(lambda: connection.pump() or not connection.unacked, "all records are stored")
    daemons.kill()
    daemons.start(SLOW_DAEMON, "0")
    late, heard, received = [], [], connection.transport.received

    def received_late():
        """In the worst order: whether all is final first, if that was asked before the daemon was told of all."""
        late.extend((type(decode_server(parts)), parts, time.monotonic()) for parts in received())
        asked = Flushed in heard or Flushed in {kind for kind, _, _ in late}
        told = wire.arena_asked and not connection.unacked
        ready = {Welcome: True, StreamOpened: asked, Flushed: told, ArenaReply: False}
        for kind, parts, came in list(late):
            if ready.get(kind, asked) or time.monotonic() - came > 1:
                late.remove((kind, parts, came))
                heard.append(kind)
                yield parts

    monkeypatch.setattr(connection.transport, "received", received_late)
    env.close()
    clips = films.clips(folder).values()
    found = [(clip.episode, number) for clip in clips if clip.file for number in films.numbers(folder / clip.file)]
    played = [(0, 0), (0, 1), *((episode, number) for episode in (1, 2) for number in range(5))]
    assert sorted(found) == played[lost_of_the_first(found) :]
    assert {clip.state for clip in clips if clip.file} == {"final"}, "recorded for a client that waited"
    films.check(folder)
    daemons.stop()


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("kills", [1, 3])
def test_what_a_daemon_had_moved_to_disk_is_recorded_by_the_next_one(kills, ends, daemons, tmp_path):
    """Daemons that encode nothing have less memory than the video needs; it ends before the last one dies, or not."""
    never = ["--gate", str(tmp_path / "never")]
    folder = tmp_path / "run"
    daemons.start(SLOW_DAEMON, "0", *never)
    env = offcam.record(Barcode(10**6, Look(HEIGHT, WIDTH)), str(folder), every=1, overflow="block")
    connection, wire = begun(env)
    for kill in range(kills):
        env.step(0)
        wait_until(lambda: connection.pump() or wire.arena, "the daemon can use the memory")
        # new frames would take the slots for which those on disk wait, and a daemon that encodes nothing frees none
        wait_until(lambda: connection.pump() or not connection.waiting, "it has what the last one left")
        for _ in range(100):
            env.step(0)
        wait_until(lambda: connection.pump() or not connection.waiting, "all is with the daemon")
        wait_until(lambda: daemons.stats()["spool_bytes"] > 20 * HEIGHT * WIDTH * 3, "much is on disk")
        arena = connection.frames.arenas.at(wire)
        wait_until(lambda arena=arena: len(arena.lying()) < 0.85 * arena.slots, "as much of it as is to be")
        last = kill == kills - 1
        if last and ends:
            env.unwrapped.length = env.unwrapped.number + 1
            env.step(0)
        epoch = wire.epoch
        daemons.kill()
        if not (last and ends):
            env.step(0)
        daemons.start(SLOW_DAEMON, "0", *([] if last else never))
        wait_until(partial(gone_on, wire, epoch, connection), "the next daemon has the stream")
    if not ends:
        env.unwrapped.length = env.unwrapped.number + 1
        env.step(0)
    env.close()
    clips = read_run(folder).clips
    assert sum(clip.offered for clip in clips) == env.unwrapped.renders
    found = shown(folder)
    lost = lost_of_the_first([(0, number) for number in found])
    assert found == list(range(lost, env.unwrapped.renders))
    assert [clip.dropped for clip in clips if clip.dropped] == [{"lost": lost}] * bool(lost)
    films.check(folder)
    assert daemons.stats()["spool_bytes"] == 0
    daemons.stop()


@pytest.mark.parametrize("way", ["flush", "close"])
def test_so_is_what_lies_on_disk_alone(way, daemons, tmp_path, said):
    """The video is over, and the daemon dies when it has encoded all that lay in memory."""
    gate, folder = tmp_path / "gate", tmp_path / "run"
    daemons.start(SLOW_DAEMON, "0.05", "--gate", str(gate))
    env = offcam.record(Barcode(100, Look(HEIGHT, WIDTH)), str(folder), every=1, overflow="block")
    connection, wire = begun(env)
    while not env.step(0)[2]:
        pass
    wait_until(lambda: daemons.stats()["spool_bytes"] > 20 * HEIGHT * WIDTH * 3, "much is on disk")
    gate.touch()
    arena = connection.frames.arenas.at(wire)
    wait_until(lambda: connection.pump() or not arena.lying(), "nothing lies in memory any more")
    daemons.kill()
    waiting = len(list(arena.spool.frames()))
    assert waiting > 10
    daemons.start(SLOW_DAEMON, "0")
    if way == "close":
        env.close()
    else:
        assert env.flush()
    found = shown(folder)
    lost = lost_of_the_first([(0, number) for number in found])
    assert found == sorted(set(found))
    assert len(found) >= 101 - lost - 1, "but one that the muxer had"
    (text,) = [text for text in said if "another one goes on" in text]
    assert f"it records {waiting} that lie in shared memory or on disk" in text
    env.close()
    films.check(folder)
    daemons.stop()


def test_a_daemon_that_was_replaced_while_nobody_looked_is_found_out(daemons, tmp_path):
    """libzmq is connected to the next one by then, and after an episode's end its client has nothing to say."""
    folder = tmp_path / "run"
    daemons.start(SLOW_DAEMON, "0", "--gate", str(tmp_path / "never"))
    env = offcam.record(Barcode(6), str(folder), every=1)
    connection, wire = begun(env)
    while not env.step(0)[2]:
        pass
    wait_until(lambda: connection.pump() or not connection.unacked, "all that was said is with the first one")
    epoch = wire.epoch
    daemons.kill()
    wait_until(lambda: not connection.transport.connected, "its connection is gone")
    daemons.start()
    wait_until(lambda: connection.transport.connected, "there is one to the next one")
    wait_until(partial(gone_on, wire, epoch, connection), "the next daemon has the stream")
    env.close()
    found = shown(folder, height=84, width=84)
    assert found == list(range(lost_of_the_first([(0, number) for number in found]), 7))
    films.check(folder)
    daemons.stop()


def test_what_was_on_disk_waits_for_no_slot_for_long(daemons, tmp_path):
    """All of them have new frames in them, or such as the next daemon has, which encodes nothing and so frees none."""
    gate = tmp_path / "gate"
    folder = tmp_path / "run"
    daemons.start(SLOW_DAEMON, "0", "--gate", str(gate))
    env = offcam.record(Barcode(10**6, Look(HEIGHT, WIDTH)), str(folder), every=1, overflow="block")
    connection, wire = begun(env)
    for _ in range(100):
        env.step(0)
    wait_until(lambda: daemons.stats()["spool_bytes"] > 20 * HEIGHT * WIDTH * 3, "much is on disk")
    arena = connection.frames.arenas.at(wire)
    epoch = wire.epoch
    daemons.kill()
    wait_until(lambda: connection.pump() or not wire.live, "it is known to be dead")
    wait_until(lambda: env.step(0) and not arena.fits(HEIGHT * WIDTH * 3), "no more frames are kept")
    daemons.start(SLOW_DAEMON, "0", "--gate", str(gate))
    wait_until(partial(gone_on, wire, epoch, connection), "the next daemon has the stream")
    free = {
        place: state
        for place, state in enumerate(arena._memory[: STATES_AT + arena.slots])
        if place >= STATES_AT and state in (FREE, EMPTY)
    }
    for place in free:
        arena._memory[place] = 0xFF
    env.step(0)
    wait_until(lambda: connection.pump() or not connection.waiting, "it has what the last one left")
    for place, state in free.items():
        arena._memory[place] = state
    gate.touch()
    env.unwrapped.length = env.unwrapped.number + 1
    env.step(0)
    env.close()
    clips = read_run(folder).clips
    assert sum(clip.offered for clip in clips) == env.unwrapped.renders
    found = shown(folder)
    assert found == sorted(set(found))
    missing = env.unwrapped.renders - len(found)
    assert missing == sum(sum(clip.dropped.values()) for clip in clips)
    assert sum(clip.dropped.get("lost", 0) for clip in clips) == lost_of_the_first([(0, number) for number in found])
    films.check(folder)
    daemons.stop()
