"""What each message of a client and each event of another thread means for the daemon's state. No sockets here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from offcam_proto import messages as msg
from offcam_proto.errors import FolderNotWritable, RemoteProtocolError
from offcam_proto.limits import MAX_STREAMS_PER_SESSION
from offcam_proto.pushing import ClipElsewhere, ClipsGone
from offcam_proto.resuming import RunRequest
from offcam_proto.saving import SaveClip
from offcamd.daemon import pushed, recalls
from offcamd.daemon.arenas import make_spool, open_arena, room_for_arena
from offcamd.daemon.clips import Clips
from offcamd.daemon.flow_control import Grants
from offcamd.daemon.flushes import Flushes, FlushRequest
from offcamd.daemon.liveness import MOST_QUEUED_IN, Liveness
from offcamd.daemon.run_questions import RunQuestion, RunQuestions
from offcamd.daemon.state import Counters, LiveClip, LiveStream, Peer
from offcamd.encode import pool as encoding
from offcamd.process.log_throttle import Throttle
from offcamd.process.logs import Logger
from offcamd.security import remote_folders
from offcamd.store import store, tasks
from offcamd.store.entries import Kept, StreamOwner
from offcamd.store.run_reader import RunRead

if TYPE_CHECKING:
    from offcam_proto.messages import Buffer
    from offcamd.config.settings import Settings
    from offcamd.daemon.lost_file import LostFile
    from offcamd.daemon.shown_file import ShownFile
    from offcamd.store.run_reader import RunReader

log = Logger(__name__)

GRACE_SECONDS = 2.0
"""A client whose connection broke may come back within this time before its streams are ended."""

UNREAD_SECONDS = 60.0
"""Longest time that its streams stay open because others send so much that what it sent is not read yet."""

_NOT_OPENED = "nothing of it was recorded: the index cannot be written, and no room is left for more: is its disk full?"


class Dispatcher:
    """Decides what follows from messages, events and time, and knows who is connected with which streams.

    Belongs to the service's thread.

    Args:
        settings: the daemon's settings.
        instance: id of this daemon process.
        pool: the encoders.
        storage: the store.
        stats_json: makes the answer to a `StatsRequest`.
        lost: keeps the counts of what was lost.
        shown: keeps which run folders were written.
        reader: reads how far runs came that clients resume.
    """

    def __init__(
        self,
        settings: Settings,
        instance: bytes,
        pool: encoding.EncoderPool,
        storage: store.Store,
        stats_json: Callable[[], bytes],
        lost: LostFile,
        shown: ShownFile,
        reader: RunReader,
    ) -> None:
        self.counters = Counters(lost=lost.read())
        self._lost = lost
        self._shown = shown
        self.peers: dict[bytes, Peer] = {}
        self.streams: set[LiveStream] = set()
        self._pid = os.getpid()
        self._settings = settings
        self._instance = instance
        self._pool = pool
        self._store = storage
        self._stats_json = stats_json
        self._grants = Grants(settings.memory_limit_bytes, self._speak)
        self.clips = Clips(settings, pool, storage, self._grants, self.counters)
        self._liveness = Liveness()
        self._throttle = Throttle()
        self._flushes = Flushes(lambda request: storage.put(tasks.BarrierTask(request)), self._speak)
        is_here = lambda peer: self.peers.get(peer.identity) is peer  # noqa: E731
        self._questions = RunQuestions(settings.root, storage, reader, self._speak, is_here)
        self._speaking: dict[Peer, None] = {}  # ordered: a peer's last messages go before those of its next connection
        self._last_active = time.monotonic()
        self._read = 0  # how many messages were read
        self._all_read_at = 0.0  # when no message was left to be read
        self._stopping = False

    def speaking(self) -> Iterable[Peer]:
        """Take the peers that there may be something to send to."""
        speaking, self._speaking = self._speaking, {}
        return speaking

    def _speak(self, peer: Peer) -> None:
        self._speaking[peer] = None

    # --- messages -----------------------------------------------------------------------------------------

    def message(self, identity: bytes, connection: int, parts: Sequence[Buffer], user: str = "") -> None:
        """Handle a message. The connection's user is ``""`` on this host, else a remote client's name and key."""
        self._read += 1
        peer = self.peers.get(identity)
        if peer is not None and peer.user != user:
            self._drop(peer)  # a peer may choose its routing id, even one of another's
            peer = None
        if peer is None:
            peer = self.peers[identity] = Peer(identity, user)
        peer.connection = connection
        self._speak(peer)
        try:
            message = peer.session.receive(parts)
        except RemoteProtocolError as error:
            self._breach(error.reason, peer.user, str(error))
            self._drop(peer)
            return
        if message is None:
            self.peers.pop(identity)  # it has to say hello first, and was told so: forget it
            return
        self._act(peer, message)

    def _act(self, peer: Peer, message: msg.ClientMessage) -> None:  # noqa: C901, PLR0912 - one case for each message
        match message:
            case msg.Frame():
                self.clips.frame(peer.streams[message.handle], message)
            case msg.SlotFrames():
                self.clips.slot_frames(peer.streams[message.handle], message)
            case msg.OpenArena():
                stream = peer.streams[message.handle]
                stream.arena = None
                room = room_for_arena(self.streams, self._settings.memory_limit_bytes // 2)
                spool = partial(make_spool, self._settings.endpoint.url, self._pool.budget, self._pool.spool_dir)
                open_arena(peer, stream, message, room, spool)
            case msg.Records():
                self._records(peer, message)
            case msg.OpenClip():
                self.clips.open(peer.streams[message.handle], message)
            case ClipElsewhere() | ClipsGone():
                stream = peer.streams[message.handle]
                if refused := pushed.take(self._store, stream, message, self._settings.videos):
                    self._pushed(stream, refused)
            case SaveClip():
                if problem := self.clips.save(peer.streams[message.handle], message):
                    peer.session.clip_done(message.handle, message.saved, file="", encoded=0, error=problem)
            case msg.EndClip():
                clip = peer.streams[message.handle].clips.get(message.clip)
                if clip is not None:
                    self.clips.end(clip, aborted=not message.complete)
                else:
                    why = str(self._pool.closed or _NOT_OPENED)
                    peer.session.clip_done(message.handle, message.clip, file="", encoded=0, error=why)
            case msg.OpenStream():
                self._open_stream(peer, message)
            case msg.CloseStream():
                self._close_stream(peer.streams.pop(message.handle), lost=False)
            case msg.Flush():
                self._flushes.ask(peer, message, self.clips.live)
            case msg.StatsRequest():
                peer.session.stats(message.token, self._stats_json())
            case RunRequest():
                self._questions.ask(peer, message)
            case msg.Hello():
                self._hello(peer, message)
            case msg.Goodbye():
                self._drop(peer)

    def _hello(self, peer: Peer, message: msg.Hello) -> None:
        for other in list(self.peers.values()):
            if other is not peer and other.session.hello and other.session.hello.session == message.session:
                if other.user != peer.user:
                    self._refuse_stranger(peer)
                    return
                self._drop(other)  # the same client, over an older connection
        self._close_streams(peer)
        if self._stopping:
            peer.session.goodbye("stopping")
            return
        peer.session.welcome(self._instance, self._pid)

    def _refuse_stranger(self, peer: Peer) -> None:
        self._breach("stranger", peer.user, "it says hello as another's session")
        peer.session.refuse("protocol", "this session is another key's: each client makes its own")
        self._drop(peer)

    def _breach(self, reason: str, user: str, problem: str) -> None:
        """Count a message that was refused, and log it, but not each one of a flood."""
        self.counters.breaches[reason] += 1
        if self._throttle.admit(reason, user):
            log.warning("a client was refused", reason=reason, user=user or "local", problem=problem)

    def _records(self, peer: Peer, message: msg.Records) -> None:
        stream = peer.streams[message.handle]
        if recalls.admits(self._store, peer, stream, message):
            info = stream.info
            self._store.put(
                tasks.RecordsTask(
                    folder=info.folder,
                    stream=info.stream,
                    first_seq=message.first_seq,
                    bodies=message.bodies,
                    reply=stream,
                )
            )

    def _refuse_stream(self, peer: Peer, handle: int, folder: str, problem: str, code: str = "folder") -> None:
        peer.session.refuse_stream(handle, code, problem)
        recalls.refused(peer, handle, folder)

    def _open_stream(self, peer: Peer, message: msg.OpenStream) -> None:
        peer.recalls.pop(message.handle, None)  # the client opens it again without being asked
        if peer.user:
            try:
                folder = remote_folders.make_run_folder(self._settings.root, peer.user, message.folder)
            except FolderNotWritable as error:
                self._refuse_stream(peer, message.handle, message.folder, str(error))
                return
            message = replace(message, folder=folder)
        if not self._store.takes(message.folder):
            self._refuse_stream(peer, message.handle, message.folder, recalls.NO_ROOM.format(message.folder))
            return
        hello = peer.session.hello
        assert hello is not None  # noqa: S101 - the session admits no stream before its hello
        account = self._grants.pool.open() if message.video else None
        stream = LiveStream(peer, message, hello.session, account)
        if not peer.records:  # a client that only asks, as a health check every few seconds, is not logged
            peer.records = True
            log.info("a client came", pid=hello.pid, client=hello.client)
        self._pool.budget.stream_memory = self._grants.pool.assured // 2
        peer.streams[message.handle] = stream
        self.streams.add(stream)
        self._last_active = time.monotonic()
        if len(peer.folders) < MAX_STREAMS_PER_SESSION:
            peer.folders.add(message.folder)
        owner = StreamOwner(host=hello.host, pid=hello.pid, client=hello.client)
        gone = tuple(
            other.info.stream.hex() for other in self.streams if other.info.folder == message.folder and other.gone
        )
        self._store.put(
            tasks.OpenStreamTask(folder=message.folder, message=message, owner=owner, gone=gone, reply=stream)
        )

    # --- leaving ------------------------------------------------------------------------------------------

    def disconnected(self, connection: int) -> None:
        """Handle a broken connection, of which the socket's monitor told."""
        for peer in self.peers.values():
            if peer.connection == connection:
                peer.connection = -1
                self.unreachable(peer)

    def unreachable(self, peer: Peer) -> None:
        """Note that a peer's connection is broken. What it sent before may still come."""
        if peer.gone_at is None:
            peer.gone_at, peer.gone_read = time.monotonic(), self._read
            if peer.records:
                log.info("a connection broke", pid=peer.session.hello.pid if peer.session.hello else None)

    def all_read(self) -> None:
        """Note that no message is left to be read, not even of clients that are gone."""
        self._all_read_at = time.monotonic()

    def _over(self, peer: Peer, now: float) -> bool:
        """Whether a peer is gone for good and all that it sent was read: that may have had to wait for the store."""
        if peer.gone_at is None or now - peer.gone_at <= GRACE_SECONDS:
            return False
        if self._all_read_at > peer.gone_at or now - peer.gone_at > UNREAD_SECONDS:
            return True
        # local clients are read in turn, and only so many messages of each can wait: by now its own were read
        return not peer.user and self._read - peer.gone_read > MOST_QUEUED_IN * len(self.peers)

    def _drop(self, peer: Peer) -> None:
        self.peers.pop(peer.identity, None)
        self._close_streams(peer)

    def _close_streams(self, peer: Peer) -> None:
        for stream in peer.streams.values():
            self._close_stream(stream, lost=True)
        peer.streams.clear()
        peer.flushes.clear()

    def _close_stream(self, stream: LiveStream, *, lost: bool) -> None:
        self.clips.unnamed_frames(stream)
        if lost:
            self.clips.save_vanished(stream)
        stream.closed, stream.lost, stream.arena = True, lost, None
        for clip in list(stream.clips.values()):
            self.clips.end(clip, aborted=True)
        self._grants.close(stream)
        if lost:
            stream.peer = None
        self._forget_if_done(stream)

    def _forget_if_done(self, stream: LiveStream) -> None:
        if stream.closed and not stream.clips and stream in self.streams:
            self.streams.discard(stream)
            twin = next((other for other in self.streams if other.same_as(stream)), None)
            if twin is not None:  # its client opened it again over another connection: the last to end ends the stream
                twin.lost = twin.lost and stream.lost
                twin.arena_names |= stream.arena_names
                return
            for name in stream.arena_names:
                name.remove()
            self._store.put(tasks.CloseStreamTask(stream.info.folder, stream.info.stream, stream.lost))
            self._last_active = time.monotonic()

    def let_go(self, identity: bytes, _error: BaseException) -> None:
        """Drop a client whose message raised an unexpected error, as if it had vanished. It may connect again."""
        if (peer := self.peers.get(identity)) is not None:
            self._drop(peer)

    def goodbye(self, reason: str) -> None:
        """Take no more frames, as the daemon stops, and tell all clients."""
        self._stopping = self.clips.stopping = True
        for peer in list(self.peers.values()):
            if peer.session.hello is not None:
                peer.session.goodbye(reason)
                self._speak(peer)
            for stream in peer.streams.values():
                self._close_stream(stream, lost=False)
            peer.streams.clear()

    # --- time ---------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Now and then: drop vanished clients, tell how far flushes are, grant credit that is free by now."""
        now = time.monotonic()
        for peer in self._liveness.stopped(self.peers.values()):
            self.unreachable(peer)
        for peer in list(self.peers.values()):
            if self._over(peer, now):
                if peer.records:
                    log.info("a client vanished", pid=peer.session.hello.pid if peer.session.hello else None)
                self._drop(peer)
            self._flushes.tell(peer)
            if recalls.ask_again(self._store, peer):
                self._speak(peer)
        for (reason, user), count in self._throttle.unsaid().items():
            log.warning("more clients were refused", reason=reason, user=user or "local", count=count)
        for stream in self.streams:
            self._grants.grant(stream)
        self._pool.budget.stream_memory = self._grants.pool.assured // 2
        if self.streams or self.clips.live:
            self._last_active = now
        self.remember()

    def remember(self) -> None:
        """Write down for the next daemon what was lost, and which folders were written."""
        self._lost.keep(self.counters.lost)
        self._shown.wrote(self._store.live_streams())

    def idle_for(self, seconds: float) -> bool:
        """Whether nobody had a stream open for so long (0: never)."""
        return seconds > 0 and time.monotonic() - self._last_active > seconds

    # --- events -------------------------------------------------------------------------------------------

    def event(self, event: object) -> None:  # noqa: C901, PLR0912 - one case for each event
        """Handle an event of another thread."""
        match event:
            case encoding.Released():
                self.clips.released(event)
            case encoding.Saturated():
                self.clips.saturated(event)
            case encoding.ClipFinished():
                self._clip_finished(event)
            case tasks.Committed():
                self._committed(event)
            case tasks.ClipNoted(reply=LiveClip() as clip):
                self.clips.noted(clip)
                self.counters.lost["frames"] -= event.found
            case tasks.ClipStored(reply=LiveClip() as clip):
                clip.error = clip.error or event.error
                self.counters.lost["frames"] += event.lost
                self._clip_stored(clip)
            case tasks.Pushed(reply=LiveStream() as stream):
                self._pushed(stream, event)
            case Kept():
                self._kept(event)
            case tasks.Recovered():
                self.counters.clips.update(clip.state for clip in event.clips)
                self.counters.episodes += event.episodes
                self.counters.lost["frames"] += sum(clip.lost for clip in event.clips)
            case tasks.StreamReady():
                self._stream_ready(event)
            case tasks.Passed(reply=FlushRequest() as request):
                self._flushes.passed(request, event.gone)
            case tasks.Passed(reply=RunQuestion() as question):
                self._questions.passed(question, event)
            case RunRead(reply=RunQuestion() as question):
                self._questions.answered(question, event)

    def give_up(self, event: object, error: BaseException) -> None:
        """End the clip of an event that raised an unexpected error, so that nothing waits for it."""
        match event:
            case encoding.ClipFinished():
                clip = self.clips.of(event.job)
            case tasks.ClipStored(reply=LiveClip() as clip):
                pass
            case _:
                return
        clip.error = clip.error or f"unexpected {error!r}: please report it"
        self._clip_stored(clip)

    def _stream_ready(self, event: tasks.StreamReady) -> None:
        stream = event.reply
        assert isinstance(stream, LiveStream)  # noqa: S101 - what was put into the task
        peer = stream.peer
        if peer is None or stream.closed:
            return
        self._speak(peer)
        if event.error is not None:
            if stream.ready:
                return  # it was opened before, and its client keeps its records
            code = "daemon" if isinstance(event.error, store.StoreDead) else "folder"
            self._refuse_stream(peer, stream.handle, stream.info.folder, str(event.error)[:1000], code)
            peer.streams.pop(stream.handle, None)
            self._close_stream(stream, lost=True)
            return
        self._shown.wrote([stream.info.folder])  # before its client knows: so the next daemon shows it, too
        stream.ready, stream.suffix = True, event.suffix
        peer.session.stream_opened(
            stream.handle, acked_seq=event.last_seq, suffix=stream.suffix, credit=self._grants.first(stream)
        )

    def _committed(self, event: tasks.Committed) -> None:
        stream = event.reply
        assert isinstance(stream, LiveStream)  # noqa: S101 - what was put into the task
        if event.applied is None:
            self._breach("gap", stream.peer.user if stream.peer else "", str(event.error))
            return
        recalls.committed(stream, event.applied.last_seq)
        self.counters.episodes += event.applied.episodes
        self.counters.lost.update(frames=sum(event.applied.lost), records=event.applied.quarantined)
        self.counters.dropped_steps.update(event.applied.dropped_steps)
        for record in event.applied.clips:
            self.counters.dropped.update(record.dropped)
            self.counters.dropped_unsent += sum(record.dropped.values())
            stream.dropped.update(record.dropped)
        if stream.peer is not None:
            stream.peer.session.ack(stream.handle, event.applied.last_seq)
            self._speak(stream.peer)

    def _pushed(self, stream: LiveStream, event: tasks.Pushed) -> None:
        pushed.answer(stream, event)
        if stream.peer is not None:
            self._speak(stream.peer)

    def _kept(self, event: Kept) -> None:
        """Tell a client once more of a clip, which a rule has kept and so has its final name."""
        for stream in self.streams:
            if stream.info.stream == event.stream and stream.peer is not None:
                session = stream.peer.session
                session.clip_done(stream.handle, event.clip, file=event.file, encoded=event.encoded, error="")
                self._speak(stream.peer)

    def _clip_finished(self, event: encoding.ClipFinished) -> None:
        ring = self.clips.finished(event)
        if ring is not None:
            self._clip_stored(ring)

    def _clip_stored(self, clip: LiveClip) -> None:
        if not self.clips.stored(clip):
            return
        stream, peer = clip.stream, clip.stream.peer
        if peer is not None:
            self._speak(peer)
            peer.session.clip_done(
                stream.handle, clip.number, file=clip.written, encoded=clip.encoded, error=clip.error[:1000]
            )
        self._forget_if_done(stream)  # before flushes are answered: by then the stream's end is in the index
        self._flushes.clip_final(clip)
