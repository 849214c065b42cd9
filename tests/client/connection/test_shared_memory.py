"""Frames in shared memory: which slot they go into, when they go through the socket, and what is given back."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import offcam
import offcam.connection.process
from offcam.connection import shared_memory
from offcam.connection.shared_memory import ARENA_SLOTS, LARGE_FRAMES_BYTES, Arena, StreamArenas
from offcam.recorder.frames import picture
from offcam_proto import codec, host
from offcam_proto import messages as msg
from offcam_proto.arena import (
    DONE,
    EMPTY,
    ENTRIES_AT,
    ENTRY,
    FREE,
    OWNER_AT,
    SHAPE,
    SHAPE_AT,
    SLOTS_AT,
    STATES_AT,
    TAKEN,
    WRITTEN,
    heads_at,
)
from offcam_proto.client_session import ClientSession
from offcam_proto.endpoints import parse_endpoint
from offcam_proto.left_frames import unpack_head, unpack_owner
from offcam_proto.limits import PROTOCOL_VERSION
from resources import descriptors, memories

pytestmark = pytest.mark.skipif(not shared_memory.POSSIBLE, reason="no anonymous files here that can be sealed")

KEPT = 0 if sys.version_info >= (3, 13) else 1
"""Descriptors that a map keeps for itself: of what it maps, and none on newer Pythons."""

INFO = msg.OpenStream(0, bytes(16), "/r", "rl-video", 0, True, "CartPole-v1", 1, False, 0.0)


def shown(value: int, height: int = 10, width: int = 10):
    return (picture(np.full((height, width), value, np.uint8)),)


class Scene:
    """A live stream whose daemon is played by the test."""

    def __init__(self, streams: int = 1) -> None:
        self.session = ClientSession(bytes(16), pid=os.getpid(), host="h", client="c")
        self.arenas = StreamArenas(local=True)
        self.wires = [self.session.open_stream(INFO) for _ in range(streams)]
        self.connect()

    def hear(self, *messages: msg.ServerMessage) -> None:
        for message in messages:
            self.session.receive(codec.encode(message))

    def connect(self, instance: bytes = bytes(16), pid: int = 7) -> None:
        self.session.lost()
        self.session.connect()
        self.hear(msg.Welcome(PROTOCOL_VERSION, instance, pid, 1))
        self.hear(*(msg.StreamOpened(wire.info.handle, 0, 0, 1 << 30) for wire in self.wires))
        self.session.take()

    def offers(self) -> list[msg.OpenArena]:
        return [m for m in map(codec.decode_client, self.session.take()) if isinstance(m, msg.OpenArena)]

    def put(self, pictures, index: int = 0, wire: int = 0) -> int | None:
        cost = sum(each.layout.nbytes for each in pictures)
        return self.arenas.put(self.wires[wire], 0, index, pictures, cost)

    def arena(self, wire: int = 0) -> Arena:
        return self.arenas._arenas[self.wires[wire].info.handle][1]  # as the daemon sees it

    def close(self) -> None:
        for wire in self.wires:
            self.arenas.close(wire)


@pytest.fixture
def scene():
    made = Scene()
    yield made
    made.close()


@pytest.fixture
def ready(scene):
    """A scene with an arena for frames of 100 bytes that the daemon can use."""
    assert scene.put(shown(0)) is None
    scene.hear(msg.ArenaReply(1, True, 0))
    scene.session.take()
    return scene


def test_a_first_frame_goes_through_the_socket_and_shows_how_large_slots_must_be(scene):
    assert scene.put(shown(0)) is None
    (offer,) = scene.offers()
    assert (offer.slot_bytes, offer.slots) == (4096, ARENA_SLOTS)
    assert scene.put(shown(0)) is None, "no answer yet"
    assert scene.offers() == []
    scene.hear(msg.ArenaReply(1, True, 0))
    assert scene.put(shown(0)) == 0


def test_what_the_daemon_needs_is_in_the_memory(scene):
    scene.put(shown(0))
    (offer,) = scene.offers()
    assert os.fstat(offer.descriptor).st_size == offer.nbytes
    seals = fcntl.fcntl(offer.descriptor, fcntl.F_GET_SEALS)
    assert seals & fcntl.F_SEAL_SHRINK
    assert not os.get_inheritable(offer.descriptor)
    scene.hear(msg.ArenaReply(1, True, 0))
    scene.put((*shown(7, 2, 3), *shown(9, 1, 4)), index=5)
    memory = bytes(scene.arena()._memory)
    assert memory[:16] == offer.token
    assert list(memory[STATES_AT : STATES_AT + offer.slots]) == [WRITTEN, *[FREE] * (offer.slots - 1)]
    assert ENTRY.unpack_from(memory, ENTRIES_AT) == (0, 5)
    assert memory[SLOTS_AT : SLOTS_AT + 10] == bytes([7] * 6 + [9] * 4)


def test_the_lowest_free_slot_is_next_and_none_that_is_taken(ready):
    assert [ready.put(shown(n)) for n in range(4)] == [0, 1, 2, 3]
    memory = ready.arena()._memory
    memory[STATES_AT + 2] = TAKEN
    memory[STATES_AT + 3] = FREE
    memory[STATES_AT + 1] = FREE
    assert [ready.put(shown(9)) for _ in range(3)] == [1, 3, 4]
    assert memory[SLOTS_AT + 2 * 4096] == 2, "what the daemon may still read is not touched"


def test_with_no_slot_free_a_frame_goes_through_the_socket(ready):
    assert [ready.put(shown(0)) for _ in range(ARENA_SLOTS + 2)] == [*range(ARENA_SLOTS), None, None]
    ready.arena()._memory[STATES_AT + 30] = FREE
    assert [ready.put(shown(0)), ready.put(shown(0))] == [30, None]
    assert ready.offers() == []


def test_frames_for_other_hosts_go_through_the_socket(scene):
    scene.arenas = StreamArenas(local=False)
    before = descriptors()
    assert [scene.put(shown(0)) for _ in range(3)] == [None] * 3
    assert (scene.offers(), descriptors()) == ([], before)


def test_large_frames_have_slots_for_a_few_and_larger_ones_go_through_the_socket(scene):
    before = descriptors()
    assert [scene.put(shown(0, 16000, 16000)) for _ in range(3)] == [None] * 3
    assert (scene.offers(), descriptors()) == ([], before)
    assert scene.put(shown(0, 2000, 2000)) is None
    (offer,) = scene.offers()
    assert 2 <= offer.slots <= LARGE_FRAMES_BYTES // offer.slot_bytes


def test_a_larger_frame_makes_a_new_arena_and_a_smaller_one_does_not(ready):
    assert ready.put(shown(0, 5, 5)) == 0
    before = ready.arena()
    assert ready.put(shown(0, 100, 100)) is None
    (offer,) = ready.offers()
    assert (offer.slot_bytes, ready.arena() is before) == (12288, False)
    assert ready.put(shown(0)) is None, "whatever its size: the old one is not to be used any more"
    ready.hear(msg.ArenaReply(1, True, 0))
    assert [ready.put(shown(0)), ready.put(shown(0, 100, 100))] == [0, 1]
    assert ready.put(shown(0, 16000, 16000)) is None
    assert (ready.put(shown(0)), ready.offers()) == (2, []), "one that never fits changes nothing"


@pytest.fixture
def over():
    """The pid of a process that has ended, and that nobody has asked yet what became of it."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    yield pid
    os.waitpid(pid, 0)


def left_to(scene: Scene, before: int, instance: bytes) -> list[int]:
    """What another daemon gets, or the same one again, of frames 0 to 3, which lie in slots of each state."""
    scene.connect(pid=before)
    scene.put(shown(0))
    scene.hear(msg.ArenaReply(1, True, 0))
    for index in range(4):
        scene.put(shown(index), index=index)
    scene.arena()._memory[STATES_AT + 1 : STATES_AT + 3] = bytes([TAKEN, FREE])
    scene.connect(instance)
    return [frame.index for frame in scene.arenas.take_over(scene.wires[0], {0})]


def test_of_a_dead_daemon_all_is_left_that_no_file_has(scene, over):
    assert left_to(scene, over, b"another daemon's") == [0, 1, 3]
    (offer,) = scene.offers()
    assert offer.token == scene.arena().token
    assert scene.arenas.take_over(scene.wires[0], {0}) == [], "it was given away"


def test_a_dead_daemon_was_done_with_a_frame_whose_memory_it_gave_back(scene, over):
    scene.connect(pid=over)
    scene.put(shown(0))
    scene.hear(msg.ArenaReply(1, True, 0))
    assert [scene.put(shown(index), index=index) for index in range(2)] == [0, 1]
    memory = scene.arena()._memory
    memory[STATES_AT] = DONE
    scene.connect(b"another daemon's")
    assert [frame.index for frame in scene.arenas.take_over(scene.wires[0], {0})] == [1]
    assert memory[STATES_AT] == EMPTY


def test_the_same_daemon_has_what_it_took(scene, over):
    assert left_to(scene, over, bytes(16)) == [0, 3]


def test_as_long_as_another_daemon_lives_nothing_is_given_to_the_next(scene):
    assert left_to(scene, os.getpid(), b"another daemon's") == []
    assert not scene.arenas.left(scene.wires[0])
    assert scene.put(shown(0)) is None
    assert len(scene.offers()) == 1, "the next one gets another arena"


def test_what_nobody_knows_any_more_is_free_again(scene, over):
    scene.connect(pid=over)
    scene.put(shown(0))
    scene.hear(msg.ArenaReply(1, True, 0))
    assert scene.put(shown(0)) == 0
    scene.connect(b"another daemon's")
    assert scene.arenas.take_over(scene.wires[0], {1}) == []
    assert not scene.arenas.left(scene.wires[0])


@pytest.mark.parametrize("used", [True, False])
def test_without_a_daemon_it_holds_what_the_last_one_gave_credit_for(used, scene):
    wire = scene.wires[0]
    wire.credit = 300
    assert scene.put(shown(0)) is None
    if used:
        scene.hear(msg.ArenaReply(1, True, 0))
        assert scene.put(shown(0)) == 0
        wire.credit -= 100
    scene.session.lost()
    kept = [scene.arenas.keep(wire, 0, index, shown(1), 100) for index in range(1, 6)]
    assert [frame and frame.index for frame in kept] == [1, 2, None if used else 3, None, None]
    assert scene.arenas.keep(wire, 0, 9, shown(1, 100, 100), 10000) is None, "it is larger than a slot"


def test_a_daemon_that_cannot_use_it_is_not_asked_again(scene):
    scene.put(shown(0))
    scene.hear(msg.ArenaReply(1, False, 0))
    scene.session.take()
    before = descriptors()
    assert [scene.put(shown(0)) for _ in range(3)] == [None] * 3
    assert (scene.offers(), descriptors()) == ([], before - 1)
    scene.connect()
    assert scene.put(shown(0)) is None
    assert len(scene.offers()) == 1, "but the next one is"


def test_two_hundred_streams_and_reconnections_leave_no_descriptor_and_no_memory(monkeypatch):
    monkeypatch.setattr(shared_memory, "MOST_DESCRIPTORS", 150)
    before = descriptors(), memories()
    scene = Scene(200)
    for wire in range(200):
        scene.put(shown(0), wire=wire)
    assert memories() - before[1] == 200
    scene.hear(*(msg.ArenaReply(wire.info.handle, wire.info.handle % 3 > 0, 0) for wire in scene.wires[::2]))
    for wire in range(200):
        scene.put(shown(0), wire=wire)
    unusable, beyond, both = 33, 25, 8  # of the hundred that were answered for
    left = 200 - (unusable + beyond - both)
    assert descriptors() - before[0] == left + 200 * KEPT, "what is beyond is not kept for another daemon"
    scene.close()
    assert (descriptors(), memories()) == before
    for reconnection in range(200):
        scene.connect()
        scene.put(shown(0))
        if reconnection % 2:
            scene.hear(msg.ArenaReply(1, True, 0))
            assert scene.put(shown(0)) == 0
        assert descriptors() <= before[0] + 1 + KEPT
        assert memories() == before[1] + 1
    scene.close()
    assert (descriptors(), memories()) == before


def test_where_memory_runs_out_what_is_there_is_used_and_the_rest_goes_through_the_socket(ready, monkeypatch):
    """To write to a slot that has none would be a SIGBUS, which ends the training."""
    allocate = os.posix_fallocate

    def until_full(descriptor: int, start: int, size: int) -> None:
        if start >= SLOTS_AT + 3 * 4096:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate(descriptor, start, size)

    monkeypatch.setattr(os, "posix_fallocate", until_full)
    assert [ready.put(shown(0)) for _ in range(5)] == [0, 1, 2, None, None]
    states = ready.arena()._memory
    states[STATES_AT + 1] = EMPTY
    assert ready.put(shown(0)) is None, "its memory was given back"
    states[STATES_AT + 2] = FREE
    assert [ready.put(shown(0)), ready.put(shown(0))] == [2, None]


@pytest.fixture
def memory_file(monkeypatch):
    """Arenas with names; where they are made is for this test alone."""
    if not Path(host.MEMORY).is_mount():
        pytest.skip("no file system in memory here")
    name = f"offcam-test-{os.getpid()}"
    monkeypatch.setattr(host, "arena_folder", lambda: f"{host.MEMORY}/{name}")
    yield Path(host.MEMORY, name)
    Path(host.MEMORY, name).rmdir()  # nothing is left there


@pytest.fixture
def named(memory_file):
    made = Scene()
    made.arenas = StreamArenas(local=True, client=made.session.hello)
    yield made
    made.close()


OPENING = msg.OpenClip(1, 0, "rl-video-episode-0", 1, 30.0, 1, 1, 0, 0, 0.0, 100)


def test_one_with_a_name_says_whose_it_is_and_what_is_in_it(named, memory_file):
    named.put(shown(0))
    (offer,) = named.offers()
    named.hear(msg.ArenaReply(1, True, 0))
    pictures = (*shown(7, 2, 3), *shown(9, 1, 4))
    assert named.arenas.put(named.wires[0], 0, 5, pictures, 10, OPENING) == 0
    (path,) = memory_file.iterdir()
    data = path.read_bytes()
    assert path.name == f"{offer.token.hex()}.arena"
    assert (path.stat().st_mode & 0o777, len(data)) == (0o600, offer.nbytes)
    assert SHAPE.unpack_from(data, SHAPE_AT) == (offer.slot_bytes, offer.slots)
    assert unpack_owner(data[OWNER_AT:]) == (named.wires[0].info, named.session.hello)
    opening, layouts = unpack_head(data[heads_at(offer.slot_bytes, offer.slots) :])
    assert (opening, layouts) == (OPENING, tuple(picture.layout for picture in pictures))
    named.arena()._memory[STATES_AT] = FREE


def test_its_name_goes_when_nothing_is_left_there(named, memory_file):
    for taken in (False, True):
        named.put(shown(0))
        named.hear(msg.ArenaReply(1, True, 0))
        assert named.put(shown(0)) == 0
        named.arena()._memory[STATES_AT] = TAKEN if taken else FREE
        named.close()
        assert len(list(memory_file.iterdir())) == taken
    for path in memory_file.iterdir():  # as its daemon would
        path.unlink()


def test_it_has_none_where_there_is_not_much_room(named, memory_file, monkeypatch):
    monkeypatch.setattr(host, "_ARENA_ROOM", 2**40)
    named.put(shown(0))
    assert named.arena().descriptor >= 0
    assert list(memory_file.iterdir()) == []


@pytest.mark.parametrize("fails", ["memfd_create", "ftruncate", "fcntl", "posix_fallocate", "mmap"])
def test_where_the_system_gives_no_such_memory_frames_go_through_the_socket(scene, monkeypatch, fails):
    def refuse(*_: object, **__: object) -> int:
        raise OSError(38, "Function not implemented")

    place = {
        "fcntl": "offcam.connection.shared_memory.fcntl.fcntl",
        "mmap": "offcam_proto.host.mmap.mmap",
    }.get(fails, f"os.{fails}")
    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(place, refuse)
        assert scene.put(shown(0)) is None
    assert scene.put(shown(0)) is None
    assert (scene.offers(), descriptors(), scene.arenas._arenas) == ([], before, {})


def test_a_tcp_endpoint_is_never_offered_one():
    connection = offcam.connection.connection.Connection(parse_endpoint("tcp://127.0.0.1:7000", "a test"), named=True)
    assert not connection.frames.arenas._possible
    connection.shutdown()
