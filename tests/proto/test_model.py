"""Both sessions against each other over a connection that breaks anywhere, with a daemon that dies anywhere.

Hypothesis drives them by rules. Whatever happens, neither side breaks the protocol; records are committed exactly
once and in order; credit is never overspent; frames come in order, once, and only for open clips, be it in messages or
in slots of an arena that their daemon can use, and none is held back behind another message. In the end, given a
daemon and a connection, everything that was recorded is committed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from offcam_proto import codec
from offcam_proto import messages as msg
from offcam_proto.arena import FREE, TAKEN, WRITTEN
from offcam_proto.client_session import ClientSession, State
from offcam_proto.layout import FrameLayout
from offcam_proto.records import EpisodeRecord
from offcam_proto.server_session import ServerSession

if TYPE_CHECKING:
    from offcam_proto.client_stream import ClientStream

few = st.integers(0, 4)
some = st.sampled_from([1, 2, 3, 1000])


def number_of(body: bytes) -> int:
    return codec.unpack_record(body).episode


LAYOUT = FrameLayout((1, 3), (3, 1), 0, 3)


@dataclass(eq=False)
class Memory:
    """An arena's header: the state of each slot, and the clip and index of the frame in it."""

    epoch: int
    states: list[int]
    entries: list[tuple[int, int]]

    def put(self, clip: int, index: int) -> int | None:
        if FREE not in self.states:
            return None
        slot = self.states.index(FREE)
        self.states[slot], self.entries[slot] = WRITTEN, (clip, index)
        return slot

    def unnamed(self) -> list[tuple[int, int, int]]:
        return sorted((*self.entries[slot], slot) for slot, state in enumerate(self.states) if state == WRITTEN)


@dataclass(eq=False)
class Live:
    """A stream that a daemon has open, with the model's own books of it."""

    session: ServerSession
    info: msg.OpenStream
    gone: bool = False
    ready: bool = False
    granted: int = 0
    spent: int = 0
    clips: dict[int, int] = field(default_factory=dict)
    arena: Memory | None = None


class Daemon:
    """A daemon as small as can be. Its index, ``committed``, outlives it; what waits for the store does not.

    ``memories`` are the arenas that the client has, by descriptor, ``filmed`` is each frame that any daemon took.
    """

    def __init__(
        self,
        committed: dict[bytes, list[int]],
        memories: dict[int, Memory],
        filmed: set[tuple[bytes, int, int]],
    ) -> None:
        self.committed = committed
        self.memories = memories
        self.filmed = filmed
        self.takes_arenas = True
        self.in_slots: deque[tuple[Memory, int]] = deque()
        self.sessions: dict[int, ServerSession] = {}
        self.live: dict[tuple[int, int], Live] = {}
        self.tasks: deque[tuple[Live, msg.Records | None]] = deque()

    def hear(self, connection: int, parts: codec.Parts) -> None:  # noqa: C901 - one case for each message
        session = self.sessions.setdefault(connection, ServerSession())
        message = session.receive(parts)  # a breach would raise: the client is never to blame here
        match message:
            case msg.Hello():
                for other in list(self.live):
                    live = self.live.pop(other)
                    self.unnamed(live)
                    live.gone = True
                session.welcome(bytes(16), 1)
            case msg.OpenStream():
                live = self.live[connection, message.handle] = Live(session, message)
                self.tasks.append((live, None))
            case msg.CloseStream():
                self.live.pop((connection, message.handle))
            case msg.OpenClip():
                self.live[connection, message.handle].clips[message.clip] = -1
            case msg.EndClip():
                del self.live[connection, message.handle].clips[message.clip]
            case msg.Frame():
                self.frame(self.live[connection, message.handle], message.clip, message.index, message.nbytes)
            case msg.OpenArena():
                arena = self.memories[message.descriptor] if self.takes_arenas else None
                self.live[connection, message.handle].arena = arena
                session.arena_answer(message.handle, usable=self.takes_arenas)
            case msg.SlotFrames():
                self.slot_frames(self.live[connection, message.handle], message)
            case msg.Records():
                self.tasks.append((self.live[connection, message.handle], message))
            case msg.Flush():
                session.flushed(message.token, clips=0, frames=0)

    def frame(self, live: Live, clip: int, index: int, nbytes: int) -> None:
        assert index > live.clips[clip]
        live.clips[clip] = index
        live.spent += nbytes
        assert live.spent <= live.granted
        assert (live.info.stream, clip, index) not in self.filmed
        self.filmed.add((live.info.stream, clip, index))

    def slot_frames(self, live: Live, message: msg.SlotFrames) -> None:
        memory = live.arena
        assert memory is not None
        for index, slot in message.frames:
            assert (memory.states[slot], memory.entries[slot]) == (WRITTEN, (message.clip, index))
            memory.states[slot] = TAKEN
            self.in_slots.append((memory, slot))
            self.frame(live, message.clip, index, message.nbytes)

    def unnamed(self, live: Live) -> None:
        """A stream ends: what its client did not come to name."""
        if live.arena is not None:
            for message in live.session.unnamed(live.info.handle, live.arena.unnamed()):
                self.slot_frames(live, message)

    def encode(self, most: int) -> None:
        """Free the slots of the oldest frames."""
        while most and self.in_slots:
            most -= 1
            memory, slot = self.in_slots.popleft()
            memory.states[slot] = FREE

    def store(self, credit: int) -> None:
        """Perform the oldest of the store's tasks."""
        live, records = self.tasks.popleft()
        index = self.committed.setdefault(live.info.stream, [])
        if records is not None:
            assert records.first_seq <= len(index) + 1, "a gap: these records could never be committed"
            index += [number_of(body) for body in records.bodies[len(index) + 1 - records.first_seq :]]
            if not live.gone:
                live.session.ack(live.info.handle, len(index))
        elif not live.gone and live in self.live.values():
            live.ready, live.granted = True, credit
            live.session.stream_opened(live.info.handle, acked_seq=len(index), suffix=0, credit=credit)

    def grant(self, nbytes: int, *, saturated: bool) -> None:
        for live in self.live.values():
            if live.ready:
                live.granted += nbytes
                live.session.grant(live.info.handle, nbytes, saturated=saturated)


@dataclass(eq=False)
class Env:
    """A stream's user: what it recorded, and what the index lost of that when it was set back."""

    wire: ClientStream
    recorded: list[int] = field(default_factory=list)
    set_back: set[int] = field(default_factory=set)
    clips: list[tuple[int, int]] = field(default_factory=list)
    next_clip: int = 0
    next_index: int = 0
    arena: Memory | None = None
    sent: set[tuple[int, int]] = field(default_factory=set)


class Recording(RuleBasedStateMachine):
    """It has a rule for each thing that may happen: more of them than a class should have else."""

    def __init__(self) -> None:
        super().__init__()
        self.client = ClientSession(bytes(16), pid=1, host="h", client="c")
        self.committed: dict[bytes, list[int]] = {}
        self.memories: dict[int, Memory] = {}
        self.filmed: set[tuple[bytes, int, int]] = set()
        self.daemon: Daemon | None = self.new_daemon()
        self.connection = 0
        self.held: deque[tuple[int, int, int, int]] = deque()
        self.up: deque[codec.Parts] = deque()
        self.down: deque[codec.Parts] = deque()
        self.envs: list[Env] = []
        self.numbers = count()

    def new_daemon(self) -> Daemon:
        return Daemon(self.committed, self.memories, self.filmed)

    # --- the connection -----------------------------------------------------------------------------------

    def send(self, *frames: codec.Parts) -> None:
        """What a client's shell does after each call: a send fails at once where there is no daemon."""
        if self.client.state is not State.OPEN:
            self.held.clear()
        for parts in [*self.client.take(), *frames]:
            self.nothing_is_held_behind(codec.decode_client(parts))
            if self.daemon is None:
                self.client.lost()
                self.held.clear()
                return
            self.up.append([bytes(part) for part in parts])
        assert self.client.held == len(self.held)

    def nothing_is_held_behind(self, message: msg.ClientMessage) -> None:
        """Frames in slots are said in order, and before whatever came after them."""
        if isinstance(message, msg.SlotFrames):
            for index, slot in message.frames:
                assert self.held.popleft() == (message.handle, message.clip, index, slot)
        else:
            assert not self.held

    def collect(self) -> None:
        if self.daemon is not None and (session := self.daemon.sessions.get(self.connection)):
            self.down.extend(session.take())

    def read(self) -> None:
        self.client.receive(self.down.popleft())  # a breach would raise
        self.send()

    @rule(most=some)
    def the_daemon_reads(self, most: int) -> None:
        while most and self.up and self.daemon is not None:
            most -= 1
            self.daemon.hear(self.connection, self.up.popleft())
            self.collect()

    @rule(most=some)
    def the_client_reads(self, most: int) -> None:
        while most and self.down:
            most -= 1
            self.read()

    @rule(arrived=few)
    def the_connection_breaks(self, arrived: int) -> None:
        """What is under way is gone, but for answers that are at the client already. A new one is there at once."""
        self.up.clear()
        self.down = deque(list(self.down)[:arrived])
        self.connection += 1

    @rule()
    def the_client_notices_a_break(self) -> None:
        self.the_connection_breaks(0)
        self.client.lost()

    @rule()
    def the_client_loses_faith(self) -> None:
        """It does not like what it heard, or waited too long; the connection is sound."""
        self.client.lost()

    @precondition(lambda self: self.client.state in (State.IDLE, State.GREETING))
    @rule()
    def the_client_greets(self) -> None:
        while self.down:  # as a client must: whatever is still to be read was said to an older greeting
            self.read()
        if self.client.state in (State.IDLE, State.GREETING):
            self.client.connect()
            self.send()

    @rule()
    def all_goes_well(self) -> None:
        """For a while, so that what the other rules do meets a session in full swing, too."""
        self.daemon = self.daemon or self.new_daemon()
        if not self.envs:
            self.an_env_begins()
        if self.client.state is not State.OPEN:
            self.the_client_greets()
        self.all_is_delivered()

    @rule(which=few, mixed=st.booleans())
    def an_env_is_filmed(self, which: int, mixed: bool) -> None:
        """Much of what recording is, in one rule: each other one alone would seldom get that far."""
        self.all_goes_well()
        self.an_arena_is_offered(which, 2)
        self.a_clip_begins(which)
        self.frames_are_rendered(which, 0, 1, in_slots=False)
        self.all_is_delivered()
        self.frames_are_rendered(which, 0, 2, in_slots=True)
        self.frames_are_rendered(which, 0, 1, in_slots=not mixed)
        self.episodes_end(which, 1)

    def all_is_delivered(self) -> None:
        for _ in range(3):
            self.the_daemon_reads(1000)
            self.the_store_works(1000, 24)
            self.the_client_reads(1000)

    # --- the daemon ---------------------------------------------------------------------------------------

    @precondition(lambda self: self.daemon is not None)
    @rule(arrived=few)
    def the_daemon_dies(self, arrived: int) -> None:
        self.the_connection_breaks(arrived)
        self.daemon = None

    @precondition(lambda self: self.daemon is None)
    @rule()
    def a_daemon_starts(self) -> None:
        self.daemon = self.new_daemon()

    @precondition(lambda self: self.daemon is None)
    @rule(keep=few)
    def the_index_is_set_back(self, keep: int) -> None:
        for env in self.envs:
            index = self.committed.get(env.wire.info.stream, [])
            env.set_back.update(index[keep:])
            del index[keep:]

    @precondition(lambda self: self.daemon is not None)
    @rule()
    def the_daemon_says_goodbye(self) -> None:
        assert self.daemon is not None
        for connection, session in self.daemon.sessions.items():
            if connection == self.connection and session.hello is not None:
                session.goodbye("stopping")
        self.collect()
        self.the_daemon_dies(len(self.down))

    @rule(most=some, credit=st.integers(0, 12))
    def the_store_works(self, most: int, credit: int) -> None:
        while most and self.daemon is not None and self.daemon.tasks:
            most -= 1
            self.daemon.store(credit)
            self.collect()

    @precondition(lambda self: self.daemon is not None)
    @rule(nbytes=st.integers(0, 12), saturated=st.booleans())
    def the_daemon_grants(self, nbytes: int, saturated: bool) -> None:
        assert self.daemon is not None
        self.daemon.grant(nbytes, saturated=saturated)
        self.collect()

    @precondition(lambda self: self.daemon is not None)
    @rule(most=some)
    def the_encoder_works(self, most: int) -> None:
        assert self.daemon is not None
        self.daemon.encode(most)

    @precondition(lambda self: self.daemon is not None)
    @rule()
    def the_daemon_changes_its_mind_about_arenas(self) -> None:
        assert self.daemon is not None
        self.daemon.takes_arenas = not self.daemon.takes_arenas

    # --- the client ---------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.envs) < 4)
    @rule()
    def an_env_begins(self) -> None:
        stream = len(self.envs).to_bytes(16, "big")
        info = msg.OpenStream(0, stream, "/r", "v", 0, True, "E", 1, False, 0.0)
        self.envs.append(Env(self.client.open_stream(info)))
        self.send()

    def open_envs(self, which: int) -> list[Env]:
        found = [env for env in self.envs if not env.wire.closed]
        return found[which % len(found) :][:1] if found else []

    @rule(which=few, times=st.integers(1, 3))
    def episodes_end(self, which: int, times: int) -> None:
        for env in self.open_envs(which) * times:
            env.recorded.append(next(self.numbers))
            assert env.wire.record(EpisodeRecord(0, env.recorded[-1], 0.0, 1, 0.0, 0.0, True, False, None))
            self.send()

    @rule(which=few)
    def a_clip_begins(self, which: int) -> None:
        for env in self.open_envs(which):
            if env.wire.live:
                env.wire.open_clip(msg.OpenClip(env.wire.info.handle, env.next_clip, "v", 1, 30.0, 1, 1, 0, 0, 0.0, 3))
                env.clips.append((env.wire.epoch, env.next_clip))
                env.next_clip += 1
                self.send()

    @rule(which=few, slots=st.integers(1, 3))
    def an_arena_is_offered(self, which: int, slots: int) -> None:
        for env in self.open_envs(which):
            if env.wire.live:
                env.arena = Memory(env.wire.epoch, [FREE] * slots, [(0, 0)] * slots)
                self.memories[len(self.memories)] = env.arena
                env.wire.offer_arena(len(self.memories) - 1, bytes(16), 4, slots)
                self.send()

    @rule()
    def the_client_holds_back_no_longer(self) -> None:
        self.client.flush_slots()
        self.send()

    @rule(which=few, age=few, tries=few, in_slots=st.booleans())
    def frames_are_rendered(self, which: int, age: int, tries: int, in_slots: bool) -> None:
        """For any clip there ever was: those that were cut off must not reach the wire."""
        for env in self.open_envs(which) * tries:
            for epoch, clip in env.clips[::-1][age : age + 1]:
                env.next_index += 1
                if in_slots and env.wire.arena:
                    self.frame_in_slot(env, epoch, clip)
                else:
                    parts = env.wire.frame(clip, env.next_index, (LAYOUT,), (b"rgb",))
                    assert parts is None or (epoch == env.wire.epoch and env.wire.live)
                    env.sent |= {(clip, env.next_index)} if parts else set()
                    self.send(*([parts] if parts else []))

    def frame_in_slot(self, env: Env, epoch: int, clip: int) -> None:
        """As a client must: what may not be sent it does not write either, as the daemon would find it."""
        assert env.arena is not None
        assert env.arena.epoch == env.wire.epoch
        may_be_sent = epoch == env.wire.epoch and env.wire.credit >= LAYOUT.nbytes
        slot = env.arena.put(clip, env.next_index) if may_be_sent else 0
        if slot is None:
            return
        assert env.wire.slot_frame(clip, env.next_index, (LAYOUT,), slot) == may_be_sent
        if may_be_sent:
            env.sent.add((clip, env.next_index))
            self.held.append((env.wire.info.handle, clip, env.next_index, slot))
            self.send()

    @rule(which=few, age=few)
    def a_clip_ends(self, which: int, age: int) -> None:
        for env in self.open_envs(which):
            for epoch, clip in env.clips[::-1][age : age + 1]:
                if epoch == env.wire.epoch and env.wire.live:
                    env.wire.end_clip(clip, complete=True)
                    self.send()
                env.clips.remove((epoch, clip))

    @rule(which=few)
    def an_env_is_closed(self, which: int) -> None:
        for env in self.open_envs(which):
            env.wire.close()
            self.send()

    @precondition(lambda self: self.client.state is State.OPEN)
    @rule()
    def the_client_flushes(self) -> None:
        self.client.flush()
        self.send()

    # --- what always holds --------------------------------------------------------------------------------

    @invariant()
    def the_index_has_every_record_once_and_in_order(self) -> None:
        for env in self.envs:
            index = self.committed.get(env.wire.info.stream, [])
            assert index == sorted(set(index))
            assert set(index) <= set(env.recorded)

    @invariant()
    def no_frame_is_filmed_that_was_not_sent(self) -> None:
        assert self.filmed <= {(env.wire.info.stream, *frame) for env in self.envs for frame in env.sent}

    def teardown(self) -> None:
        self.daemon = self.daemon or self.new_daemon()
        for _ in range(12):  # far more than it takes
            if self.client.state is State.OPEN:
                self.the_client_flushes()  # who has something to ask hears of a new daemon
            else:
                self.the_client_greets()
            self.all_is_delivered()
        assert self.client.state is State.OPEN
        assert self.client.settled
        for env in self.envs:
            missing = set(env.recorded) - set(self.committed.get(env.wire.info.stream, []))
            assert missing <= env.set_back
            if self.client.streams.get(env.wire.info.handle) is env.wire:
                assert env.wire.live
                assert env.wire.lost_records == len(missing)
            else:
                assert env.wire.closed
        assert len(self.daemon.live) == len(self.client.streams)


Recording.TestCase.settings = settings(
    max_examples=settings.default.max_examples // 2,  # each takes as long as fifty others
    stateful_step_count=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
TestRecording = Recording.TestCase
