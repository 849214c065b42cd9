"""Clients' shared memory at the daemon: what it survives, and that it gives everything back."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zmq
from msgspec.structs import replace

import films
from arenas import LAYOUT, SLOT_BYTES, SLOTS, WRONG, Memory
from offcam_proto import host
from offcam_proto import messages as msg
from offcam_proto.arena import (
    DONE,
    EMPTY,
    FREE,
    SLOTS_AT,
    STATES_AT,
    WRITTEN,
    arena_bytes,
)
from offcam_proto.codec import pack_record
from offcam_proto.records import ClipRecord
from offcamd.cli.query import ask_stats
from offcamd.daemon.shared_memory import Arena
from rawpeer import RawPeer, hello
from waiting import Process, wait_until

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no anonymous files here")

SLOW_DAEMON = Path(__file__).parents[2] / "peers" / "slow_daemon.py"


@pytest.fixture
def context(stack):
    made = zmq.Context()
    stack.callback(made.term)
    return made


@pytest.fixture
def recorder(serve):
    process, _ = serve()
    return process


class Client:
    """A raw peer with one stream and one open clip."""

    def __init__(self, stack, context, endpoint, folder, *, pid: int | None = None, name: str = "v") -> None:
        self.peer = stack.enter_context(RawPeer(endpoint.url, context))
        self.peer.say(replace(hello(), pid=os.getpid() if pid is None else pid))
        self.peer.await_(msg.Welcome)
        self.folder = folder
        self.name = name
        assert isinstance(self.peer.open_stream(1, folder, name), msg.StreamOpened)
        self.peer.say(msg.OpenClip(1, 0, name, 1, 30.0, 1, 1, 0, 0, time.time(), LAYOUT.nbytes))
        self.peer.await_(msg.Credit)

    def offer(self, offer: msg.OpenArena) -> bool:
        self.peer.say(offer)
        return self.peer.await_(msg.ArenaReply).usable

    def frame(self, index: int, value: int) -> None:
        self.peer.say(msg.Frame(1, 0, index, (LAYOUT,), (bytes([value]) * LAYOUT.nbytes,)))

    def finish(self, offered: int) -> list[int]:
        """End it all; returns the level of grey of each picture, as far as it was one."""
        record = ClipRecord(0, self.name, 1, 0, 0, offered, 0.0, offered, {}, 30.0, time.time(), True)
        self.peer.say(msg.EndClip(1, 0, True), msg.Records(1, 1, (pack_record(record),)))
        self.peer.await_(msg.ClipDone)
        self.peer.say(msg.CloseStream(1), msg.Flush(1))
        while self.peer.await_(msg.Flushed).clips:
            pass
        films.check(self.folder)
        return greys(self.folder / f"{self.name}.mp4")


def greys(path) -> list[int]:
    return [round(float(np.mean(shot.rgb))) for shot in films.shots(path)]


def like(found: list[int], expected: list[int]) -> bool:
    return len(found) == len(expected) and all(abs(a - b) < 4 for a, b in zip(found, expected, strict=True))


def mapped(process) -> int:
    return Path(f"/proc/{process.pid}/maps").read_text().count("memfd:offcam")


def test_clients_with_none_go_on_by_socket(stack, tmp_path, recorder, endpoint, context, monkeypatch):
    for wrong in WRONG:
        place = tmp_path / wrong.__name__
        place.mkdir()
        monkeypatch.chdir(place)
        memory = Memory()
        stack.callback(memory.close)
        try:
            pid, offer = wrong(stack, memory)
        except pytest.skip.Exception:
            continue
        client = Client(stack, context, endpoint, place / "run", pid=pid)
        assert not client.offer(offer), wrong
        for index in range(5):
            client.frame(index, 50 * index)
        assert like(client.finish(5), [0, 50, 100, 150, 200])
        assert mapped(recorder) == 0
    assert recorder.poll() is None
    assert ask_stats(endpoint)["breaches"] == {}


def test_frames_in_slots_are_the_video(stack, memory, tmp_path, recorder, endpoint, context):
    client = Client(stack, context, endpoint, tmp_path / "run")
    assert client.offer(memory.offer())
    assert mapped(recorder) == 1
    assert ask_stats(endpoint)["shared_memory_bytes"] == SLOTS_AT + SLOTS * SLOT_BYTES
    memory.write(3, 40)
    memory.write(1, 80)
    client.peer.say(msg.SlotFrames(1, 0, (LAYOUT,), ((0, 3), (1, 1))))
    client.frame(2, 120)
    wait_until(lambda: memory.states() == [FREE] * SLOTS, "the slots are free again")
    memory.write(3, 160)
    client.peer.say(msg.SlotFrames(1, 0, (LAYOUT,), ((3, 3),)))
    assert like(client.finish(4), [40, 80, 120, 160])
    wait_until(lambda: not mapped(recorder), "the memory is let go")
    assert ask_stats(endpoint)["shared_memory_bytes"] == 0


def test_what_a_client_does_to_its_slots_spoils_its_own_video_only(stack, memory, tmp_path, serve, endpoint, context):
    """It frees what it does not own, writes into it, and names slots twice."""
    process, _ = serve("0.02", script=SLOW_DAEMON)
    bad = Client(stack, context, endpoint, tmp_path / "bad")
    good = Client(stack, context, endpoint, tmp_path / "good")
    own = Memory()
    stack.callback(own.close)
    assert bad.offer(memory.offer())
    assert good.offer(own.offer())
    for index in range(SLOTS):
        own.write(index, 20 * index)
        memory.write(index, 20 * index)
    good.peer.say(msg.SlotFrames(1, 0, (LAYOUT,), tuple((index, index) for index in range(SLOTS))))
    bad.peer.say(msg.SlotFrames(1, 0, (LAYOUT,), tuple((index, 0) for index in range(SLOTS))))
    bad.peer.say(msg.SlotFrames(1, 0, (LAYOUT,), tuple((SLOTS + index, 0) for index in range(SLOTS))))
    for value in range(200):
        memory.map[STATES_AT : STATES_AT + SLOTS] = bytes([value]) * SLOTS
        memory.write(0, value, state=value, clip=2**63, index=2**64 - 1)
    assert like(good.finish(SLOTS), [20 * index for index in range(SLOTS)])
    assert len(bad.finish(2 * SLOTS)) == 2 * SLOTS
    wait_until(lambda: not mapped(process), "the memory is let go")
    assert ask_stats(endpoint)["breaches"] == {}


def test_a_breach_in_slots_is_counted_and_costs_nobody_else(stack, memory, tmp_path, recorder, endpoint, context):
    good = Client(stack, context, endpoint, tmp_path / "good")
    bad = Client(stack, context, endpoint, tmp_path / "bad")
    assert bad.offer(memory.offer())
    bad.peer.say(msg.SlotFrames(1, 0, (LAYOUT,), ((0, SLOTS),)))
    assert bad.peer.await_(msg.Refused).code == "malformed"
    assert ask_stats(endpoint)["breaches"] == {"malformed": 1}
    wait_until(lambda: not mapped(recorder), "the memory is let go")
    good.frame(0, 100)
    assert like(good.finish(1), [100])


def test_a_larger_arena_takes_the_place_of_the_one_before(stack, memory, tmp_path, recorder, endpoint, context):
    client = Client(stack, context, endpoint, tmp_path / "run")
    for index in range(20):
        each = Memory()
        assert client.offer(each.offer())
        each.write(0, 10 * index)
        client.peer.say(msg.SlotFrames(1, 0, (LAYOUT,), ((index, 0),)))
        each.close()
    assert like(client.finish(20), [10 * index for index in range(20)])
    wait_until(lambda: not mapped(recorder), "the memory is let go")


class Killed(BaseException):
    """The process ends here."""


def test_a_slot_without_memory_is_allocated_before_it_is_read_or_its_frame_is_dropped(monkeypatch, memory):
    """Of an arena with a name, which is not sealed: to read what is not there would be a SIGBUS."""
    monkeypatch.setattr(host, "arena_folder", os.getcwd)  # any file system will do
    with Path(host.arena_path(memory.token)).open("w+b", buffering=0) as named:
        named.truncate(memory.offer().nbytes)
        named.write(memory.token)
        arena = Arena(os.getpid(), replace(memory.offer(), descriptor=named.fileno()))
        assert arena.name is not None
        named.truncate(SLOTS_AT)
        ((pixels, _),) = arena.take(2, (LAYOUT,))
        assert bytes(pixels) == bytes(LAYOUT.nbytes)

        def refuse(*_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "posix_fallocate", refuse)
        assert arena.take(3, (LAYOUT,)) == []
        assert arena.take(2, (LAYOUT,)) != [], "its memory is there"
        arena.name.remove()
        assert not Path(host.arena_path(memory.token)).exists()


class Deadly:
    """A mapping in the midst of whose giving back the process is killed."""

    def __init__(self, memory):
        self.memory = memory

    def __setitem__(self, place, value):
        self.memory[place] = value

    def madvise(self, *which):
        self.memory.madvise(*which)
        raise Killed


def test_what_is_given_back_is_no_frame_any_more(memory):
    """Another daemon would take zeros for its pixels."""
    arena = Arena(os.getpid(), memory.offer(), room=0)
    memory.write(2, 7)
    arena.take(2, (LAYOUT,))
    arena._memory = Deadly(arena._memory)
    with pytest.raises(Killed):
        arena.free(2)
    assert memory.states()[2] == DONE


def test_no_more_than_half_of_the_memory_limit_is_kept_while_it_is_free(stack, tmp_path, serve, endpoint, context):
    serve("--memory-limit", "16MiB")
    resident = []  # bytes of its slots that take memory; of what is before them, the test touches one page
    for number in range(3):
        made = Memory(arena_bytes(65536, 63))
        stack.callback(made.close)
        client = Client(stack, context, endpoint, tmp_path / "run", name=f"v{number}")
        assert client.offer(replace(made.offer(), slot_bytes=65536, slots=63))
        for slot in range(63):
            made.map[SLOTS_AT + slot * 65536 : SLOTS_AT + (slot + 1) * 65536] = bytes([1]) * 65536
            made.map[STATES_AT + slot] = WRITTEN
        client.peer.say(msg.SlotFrames(1, 0, (LAYOUT,), tuple((slot, slot) for slot in range(63))))
        free = bytes([FREE, EMPTY])
        wait_until(
            lambda made=made, free=free: not made.map[STATES_AT : STATES_AT + 63].strip(free),
            "the slots are free again",
        )
        resident.append(os.fstat(made.descriptor).st_blocks * 512 - 4096)
    assert resident == [31 * 65536, 23 * 65536, 18 * 65536], "each keeps a quarter of what those before it left"
    assert ask_stats(endpoint)["shared_memory_bytes"] == 3 * SLOTS_AT + sum(resident)


# --- clients that die -------------------------------------------------------------------------------------

AGENT = """
import sys, offcam
from envs import Barcode
from offcam.connection import shared_memory, timeouts
timeouts.HELD_SECONDS = timeouts.START_SECONDS = 1e9
env = offcam.RecordVideo(Barcode(10**6), sys.argv[1], overflow="block")
env.reset()
def in_use():
    return any(slot for _, each in offcam.connection.process.current().frames.arenas._arenas.values()
               for slot in bytes(each._memory[64:64 + each.slots]))
while not in_use():
    env.step(0)
env.flush()  # what went through the socket has arrived, as what libzmq still holds is lost with a process
for line in sys.stdin:
    for _ in range(int(line)):
        env.step(0)
    print(env.unwrapped.number, flush=True)
"""
FREE_SLOTS = 20
"""Of the 32 that there are, so many are free whatever the daemon has yet to encode of the first frames."""


def agent(folder):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return Process(
        [sys.executable, "-c", AGENT, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def test_what_a_killed_client_wrote_is_in_its_video(tmp_path, serve, endpoint, monkeypatch):
    """Also what it held back when it died; then its memory is gone."""
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    recorder, _ = serve("0.01", script=SLOW_DAEMON)
    with agent(tmp_path / "run") as process:
        process.stdin.write(f"{FREE_SLOTS}\n")
        process.stdin.flush()
        last = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not mapped(recorder), "its memory is let go")
    video = tmp_path / "run" / "rl-video-episode-0.mp4"
    wait_until(
        lambda: [clip.state for clip in films.clips(tmp_path / "run").values()] == ["aborted"], "its video is final"
    )
    assert films.numbers(video) == list(range(last + 1))
    (clip,) = films.clips(tmp_path / "run").values()
    assert clip.frames == last + 1
    stats = ask_stats(endpoint)
    assert stats["frames"] == {"offered": last + 1, "encoded": last + 1, "dropped": {}}
    assert stats["shared_memory_bytes"] == 0


def test_a_hundred_streams_leave_nothing(stack, tmp_path, recorder, endpoint, context):
    """Half of them are closed, half of their clients vanish."""
    descriptors = None
    for number in range(100):
        memory = Memory()
        with contextlib.ExitStack() as leaves:
            client = Client(leaves, context, endpoint, tmp_path / "run", name=f"v{number}")
            assert client.offer(memory.offer())
            memory.write(0, number)
            client.peer.say(msg.SlotFrames(1, 0, (LAYOUT,), ((0, 0),)))
            if number % 2:
                client.peer.say(msg.EndClip(1, 0, True), msg.CloseStream(1))
                client.peer.await_(msg.ClipDone)
            else:
                client.peer.say(msg.StatsRequest(1))  # answered once all before it is taken in
                client.peer.await_(msg.StatsReply)
                client.peer.close()
        memory.close()
        if number == 10:
            descriptors = len(list(Path(f"/proc/{recorder.pid}/fd").iterdir()))
    wait_until(lambda: not mapped(recorder), "the memory is let go")
    wait_until(lambda: ask_stats(endpoint)["streams"] == 0, "the streams have ended")
    assert len(list(Path(f"/proc/{recorder.pid}/fd").iterdir())) <= descriptors + 2
    wait_until(lambda: len(list((tmp_path / "run").glob("*.mp4"))) == 100, "the videos are final")
