"""What each message and each event means for the books: no sockets here, the service has them."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from offcam_proto import messages as msg
from offcam_proto.arena import OpenArena, SlotFrames
from offcam_proto.errors import EncodeError, FolderNotWritable, RemoteProtocolError
from offcam_proto.run_format import ABORTED, FINAL, PART_EXTENSION, video_file
from offcamd import encoding, remote, store
from offcamd.arena import Arena, ArenaUnusable
from offcamd.credit import CreditPool
from offcamd.flushes import Flushes, FlushRequest
from offcamd.frozen import FrozenWatch
from offcamd.index import EncodedResult
from offcamd.index import Peer as Origin
from offcamd.names import FileClaims, NameClaims
from offcamd.peers import Counters, LiveClip, LiveStream, Peer
from offcamd.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from offcam_proto.messages import Buffer
    from offcam_proto.records import ClipRecord
    from offcamd.config import Settings
    from offcamd.spool import Part

log = structlog.get_logger(__name__)

GRACE_SECONDS = 2.0
"""A client whose connection broke may come back within this time before its streams are ended."""

LAGGING_SECONDS = 2.0
"""From this encode lag on, new clips get the fastest preset."""

FASTEST_PRESET = "ultrafast"

REFUSED_SECONDS = 5.0
"""How soon a client whose stream was refused is told to ask once more: the disk may have room then."""

_NO_ROOM = "the index of {} cannot be written and too much waits for it: is its disk full?"
_NOT_OPENED = "nothing of it was recorded: what waits for an index that cannot be written has no room for more"


class Dispatcher:
    """The daemon's mind. Belongs to the service's thread.

    Args:
        settings: what the daemon was told.
        instance: id of this start of it.
        pool: the encoders.
        storage: the store.
        stats_json: makes the answer to a `StatsRequest`.
    """

    def __init__(
        self,
        settings: Settings,
        instance: bytes,
        pool: encoding.EncoderPool,
        storage: store.Store,
        stats_json: Callable[[], bytes],
    ) -> None:
        self.counters = Counters()
        self.peers: dict[bytes, Peer] = {}
        self.streams: set[LiveStream] = set()
        self.recent_errors: list[str] = []
        self._pid = os.getpid()
        self._settings = settings
        self._instance = instance
        self._pool = pool
        self._store = storage
        self._stats_json = stats_json
        self._credit = CreditPool(settings.memory_limit_bytes)
        self._frozen = FrozenWatch()
        self._throttle = Throttle()
        self._flushes = Flushes(lambda request: storage.put(store.BarrierTask(request)), self._speak)
        self._names = NameClaims()
        self._files = FileClaims()
        self._clips: dict[encoding.ClipJob, LiveClip] = {}
        self._speaking: dict[Peer, None] = {}  # in order: what a peer was told before it came anew goes first
        self._last_active = time.monotonic()
        self._stopping = False

    def speaking(self) -> Iterable[Peer]:
        """Peers that may have something to send; forgets them."""
        speaking, self._speaking = self._speaking, {}
        return speaking

    def _speak(self, peer: Peer) -> None:
        self._speaking[peer] = None

    # --- messages -----------------------------------------------------------------------------------------

    def message(self, identity: bytes, connection: int, parts: Sequence[Buffer], user: str = "") -> None:
        """A message came over a connection of a user: '' on this host, else a remote client's name and key."""
        peer = self.peers.get(identity)
        if peer is not None and peer.user != user:
            self._drop(peer)  # a peer may choose its routing id, even one that was another's
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
            self.peers.pop(identity)  # it was told to say hello; nothing of it need be remembered
            return
        self._act(peer, message)

    def _act(self, peer: Peer, message: msg.ClientMessage) -> None:  # noqa: C901, PLR0912 - one case for each message
        match message:
            case msg.Frame():
                parts = list(zip(message.pixels, message.layouts, strict=True))
                self._frame(peer.streams[message.handle], message.clip, message.index, message.nbytes, parts)
            case SlotFrames():
                self._slot_frames(peer.streams[message.handle], message)
            case OpenArena():
                self._open_arena(peer, peer.streams[message.handle], message)
            case msg.Records():
                self._records(peer, message)
            case msg.OpenClip():
                self._open_clip(peer.streams[message.handle], message)
            case msg.EndClip():
                clip = peer.streams[message.handle].clips.get(message.clip)
                if clip is not None:
                    self._end_clip(clip, aborted=not message.complete)
                else:
                    peer.session.clip_done(message.handle, message.clip, file="", encoded=0, error=_NOT_OPENED)
            case msg.OpenStream():
                self._open_stream(peer, message)
            case msg.CloseStream():
                self._close_stream(peer.streams.pop(message.handle), lost=False)
            case msg.Flush():
                self._flushes.ask(peer, message.token, self._clips.values())
            case msg.StatsRequest():
                peer.session.stats(message.token, self._stats_json())
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
        log.info("a client came", pid=message.pid, client=message.client)

    def _refuse_stranger(self, peer: Peer) -> None:
        self._breach("stranger", peer.user, "it says hello as another's session")
        peer.session.refuse("protocol", "this session is another key's: each client makes its own")
        self._drop(peer)

    def _breach(self, reason: str, user: str, problem: str) -> None:
        """Count a message that was refused, and tell of it, but not of each in a flood."""
        self.counters.breaches[reason] += 1
        if self._throttle.admit(reason, user):
            log.warning("a client was refused", reason=reason, user=user or "local", problem=problem)

    def _records(self, peer: Peer, message: msg.Records) -> None:
        stream = peer.streams[message.handle]
        folder = stream.info.folder
        if stream.missing is not None and message.first_seq > stream.missing:
            return  # it comes once more, behind what is missing
        if not self._store.takes(folder):
            stream.missing = message.first_seq if stream.missing is None else stream.missing
            peer.recall(message.handle, folder)
            return
        stream.missing = None
        self._store.put(store.RecordsTask(folder, stream.info.stream, message.first_seq, message.bodies, stream))

    def _refuse_stream(self, peer: Peer, handle: int, folder: str, problem: str) -> None:
        peer.session.refuse_stream(handle, "folder", problem)
        peer.recall(handle, folder, REFUSED_SECONDS)

    def _open_stream(self, peer: Peer, message: msg.OpenStream) -> None:
        peer.recalls.pop(message.handle, None)  # it is being asked for
        if peer.user:
            try:
                folder = remote.make_run_folder(self._settings.root, peer.user, message.folder)
            except FolderNotWritable as error:
                self._refuse_stream(peer, message.handle, message.folder, str(error))
                return
            message = replace(message, folder=folder)
        if not self._store.takes(message.folder):
            self._refuse_stream(peer, message.handle, message.folder, _NO_ROOM.format(message.folder))
            return
        names = (message.folder, message.prefix)
        suffix = self._names.claim(names, message.stream, message.suffix) if message.prefix else 0
        hello = peer.session.hello
        assert hello is not None  # noqa: S101 - the session admits no stream before its hello
        account = self._credit.open() if message.video else None
        stream = LiveStream(peer, message, suffix, hello.session, account)
        self._pool.budget.clip_memory = self._credit.assured // 2
        peer.streams[message.handle] = stream
        self.streams.add(stream)
        self._last_active = time.monotonic()
        origin = Origin(hello.host, hello.pid, hello.client)
        self._store.put(store.OpenStreamTask(message.folder, message, origin, suffix, stream))

    def _open_clip(self, stream: LiveStream, message: msg.OpenClip) -> None:
        if stream.account is not None and message.frame_bytes > stream.account.frame_bytes:
            stream.account.frame_bytes = message.frame_bytes
            self._grant(stream)
        if not self._store.takes(stream.info.folder):
            return  # nobody could find its video again; its frames are counted
        file = self._files.claim(
            stream.info.folder,
            [
                video_file(message.name, stream.suffix, message.part),
                video_file(f"{message.name}-{stream.info.stream.hex()[:8]}-{message.clip}", 0, message.part),
            ],
        )
        final = Path(stream.info.folder) / file
        lagging = self._pool.backlog().lag_seconds > LAGGING_SECONDS
        spec = encoding.ClipSpec(
            part=final.with_name(final.name + PART_EXTENSION),
            final=final,
            fps=Fraction(message.fps).limit_denominator(1001),
            rows=max(message.rows, 1),
            cols=max(message.cols, 1),
            preset=FASTEST_PRESET if lagging else self._settings.preset,
            crf=self._settings.crf,
        )
        try:
            job = self._pool.open(spec, held=True)  # until its row is in the index
        except EncodeError as error:
            log.warning("a clip came too late", file=str(final), problem=str(error))
            return
        clip = LiveClip(stream, message.clip, file, job)
        stream.clips[message.clip] = self._clips[job] = clip
        self._store.put(store.ClipOpenedTask(stream.info.folder, stream.info.stream, message, file, clip))

    def _open_arena(self, peer: Peer, stream: LiveStream, offer: OpenArena) -> None:
        stream.arena = None
        taken = sum(other.arena.nbytes for other in self.streams if other.arena is not None)
        room = self._settings.memory_limit_bytes // 2 - taken
        hello = peer.session.hello
        if hello is not None and not peer.user and offer.nbytes <= room:
            try:
                stream.arena = Arena(hello.pid, offer)
            except ArenaUnusable as problem:
                log.info("frames come through the socket", pid=hello.pid, problem=str(problem))
        peer.session.arena_answer(offer.handle, usable=stream.arena is not None)

    def _slot_frames(self, stream: LiveStream, message: SlotFrames) -> None:
        arena = stream.arena
        assert arena is not None  # noqa: S101 - the session admits no slot without one
        for index, slot in message.frames:
            parts = arena.take(slot, message.layouts)
            self._frame(stream, message.clip, index, message.nbytes, parts, partial(arena.free, slot))

    def _take_unnamed(self, stream: LiveStream) -> None:
        """A stream ends: what its client wrote into its arena and did not come to name is recorded, too."""
        if stream.arena is not None and stream.peer is not None:
            for message in stream.peer.session.unnamed(stream.handle, stream.arena.unnamed()):
                self._slot_frames(stream, message)

    def _frame(
        self,
        stream: LiveStream,
        number: int,
        index: int,
        nbytes: int,
        parts: list[Part],
        release: Callable[[], None] | None = None,
    ) -> None:
        clip = stream.clips.get(number)
        self.counters.received += 1
        if clip is None or clip.ended:  # it came too late, during a stop, or the clip could not be opened
            self.counters.dropped["shutdown" if self._stopping else "disk_full"] += 1
            if release is not None:
                release()
            if stream.account is not None:
                self._credit.released(stream.account, nbytes)
                self._grant(stream)
            return
        clip.received += 1
        stream.in_memory += nbytes
        clip.job.offer(index, parts, release)

    def _end_clip(self, clip: LiveClip, *, aborted: bool) -> None:
        if not clip.ended:
            clip.ended = True
            clip.job.end(aborted=aborted)

    # --- leaving ------------------------------------------------------------------------------------------

    def disconnected(self, connection: int) -> None:
        """The socket's monitor says that a connection broke."""
        for peer in self.peers.values():
            if peer.connection == connection:
                peer.connection = -1
                self.unreachable(peer)

    def unreachable(self, peer: Peer) -> None:
        """A peer's connection is broken; what it sent before may still come."""
        if peer.gone_at is None:
            peer.gone_at = time.monotonic()
            log.info("a connection broke", pid=peer.session.hello.pid if peer.session.hello else None)

    def _drop(self, peer: Peer) -> None:
        self.peers.pop(peer.identity, None)
        self._close_streams(peer)

    def _close_streams(self, peer: Peer) -> None:
        for stream in peer.streams.values():
            self._close_stream(stream, lost=True)
        peer.streams.clear()
        peer.flushes.clear()

    def _close_stream(self, stream: LiveStream, *, lost: bool) -> None:
        self._take_unnamed(stream)
        stream.closed, stream.lost, stream.arena = True, lost, None
        for clip in list(stream.clips.values()):
            self._end_clip(clip, aborted=True) if not clip.ended else None
        if stream.account is not None:
            self._credit.close(stream.account, stream.in_memory)
        if lost:
            stream.peer = None
        self._forget_if_done(stream)

    def _forget_if_done(self, stream: LiveStream) -> None:
        if stream.closed and not stream.clips and stream in self.streams:
            self.streams.discard(stream)
            twin = next((other for other in self.streams if other.same_as(stream)), None)
            if twin is not None:  # its client opened it again over another connection: the last to finish ends it
                twin.lost = twin.lost and stream.lost
                return
            self._names.release((stream.info.folder, stream.info.prefix), stream.info.stream)
            self._store.put(store.CloseStreamTask(stream.info.folder, stream.info.stream, stream.lost))
            self._last_active = time.monotonic()

    def goodbye(self, reason: str) -> None:
        """The daemon stops: no more frames, and everybody is told."""
        self._stopping = True
        for peer in list(self.peers.values()):
            if peer.session.hello is not None:
                peer.session.goodbye(reason)
                self._speak(peer)
            for stream in peer.streams.values():
                self._close_stream(stream, lost=False)
            peer.streams.clear()

    # --- time ---------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Now and then: end who vanished, tell flushes where they stand, grant what could not be before."""
        now = time.monotonic()
        for peer in self._frozen.look(self.peers.values()):
            self.unreachable(peer)
        for peer in list(self.peers.values()):
            if peer.gone_at is not None and now - peer.gone_at > GRACE_SECONDS:
                log.info("a client vanished", pid=peer.session.hello.pid if peer.session.hello else None)
                self._drop(peer)
            self._flushes.tell(peer)
            if peer.ask_again(self._store.takes):
                self._speak(peer)
        for (reason, user), count in self._throttle.unsaid().items():
            log.warning("more clients were refused", reason=reason, user=user or "local", count=count)
        for stream in self.streams:
            self._grant(stream)
        self._pool.budget.clip_memory = self._credit.assured // 2
        if self.streams or self._clips:
            self._last_active = now

    def idle_for(self, seconds: float) -> bool:
        """Whether nobody had a stream open for so long (0: never)."""
        return seconds > 0 and time.monotonic() - self._last_active > seconds

    # --- events -------------------------------------------------------------------------------------------

    def event(self, event: object) -> None:
        """Something that another thread reports."""
        match event:
            case encoding.Released():
                self._released(event)
            case encoding.Saturated():
                stream = self._clips[event.job].stream
                stream.saturated = event.saturated
                self._tell_credit(stream, 0)
            case encoding.ClipFinished():
                self._clip_finished(event)
            case store.Committed():
                self._committed(event)
            case store.ClipNoted(reply=LiveClip(job=job)):
                self._pool.start(job)
            case store.ClipStored():
                self._clip_stored(event)
            case store.Recovered():
                self.counters.clips.update(clip.state for clip in event.clips)
            case store.StreamReady():
                self._stream_ready(event)
            case store.Passed(reply=FlushRequest() as request):
                self._flushes.passed(request)

    def _released(self, event: encoding.Released) -> None:
        stream = self._clips[event.job].stream
        stream.in_memory -= event.nbytes
        if stream.account is not None:
            self._credit.released(stream.account, event.nbytes)
            self._grant(stream)

    def _grant(self, stream: LiveStream) -> None:
        if stream.account is None or stream.closed or not stream.ready:
            return
        nbytes = self._credit.grant(stream.account, self._unspent(stream))
        if nbytes:
            self._tell_credit(stream, nbytes)

    @staticmethod
    def _unspent(stream: LiveStream) -> int:
        wire = stream.peer.session.streams.get(stream.handle) if stream.peer is not None else None
        return wire.outstanding if wire is not None else 0

    def _tell_credit(self, stream: LiveStream, nbytes: int) -> None:
        if stream.peer is not None and not stream.closed:
            stream.peer.session.grant(stream.handle, nbytes, saturated=stream.saturated)
            self._speak(stream.peer)

    def _stream_ready(self, event: store.StreamReady) -> None:
        stream = event.reply
        assert isinstance(stream, LiveStream)  # noqa: S101 - what was put into the task
        peer = stream.peer
        if peer is None or stream.closed:
            return
        self._speak(peer)
        if event.error is not None:
            self._refuse_stream(peer, stream.handle, stream.info.folder, str(event.error)[:1000])
            peer.streams.pop(stream.handle, None)
            self._close_stream(stream, lost=True)
            return
        stream.ready = True
        credit = self._credit.grant(stream.account, 0) if stream.account is not None else 0
        peer.session.stream_opened(stream.handle, acked_seq=event.last_seq, suffix=stream.suffix, credit=credit)

    def _committed(self, event: store.Committed) -> None:
        stream = event.reply
        assert isinstance(stream, LiveStream)  # noqa: S101 - what was put into the task
        if event.applied is None:
            self._breach("gap", stream.peer.user if stream.peer else "", str(event.error))
            return
        if stream.missing is not None:
            stream.missing = max(stream.missing, event.applied.last_seq + 1)
        self.counters.episodes += len(event.applied.episodes)
        for record in event.applied.clips:
            self._clip_record(record)
            stream.dropped.update(record.dropped)
        if stream.peer is not None:
            stream.peer.session.ack(stream.handle, event.applied.last_seq)
            self._speak(stream.peer)

    def _clip_record(self, record: ClipRecord) -> None:
        self.counters.dropped.update(record.dropped)
        self.counters.dropped_unsent += sum(record.dropped.values())

    def _clip_finished(self, event: encoding.ClipFinished) -> None:
        clip = self._clips[event.job]
        stream = clip.stream
        whole = not event.aborted and event.error is None
        self.counters.encoded += event.encoded
        self.counters.dropped.update(event.dropped)
        stream.dropped.update(event.dropped)
        self.counters.clips[FINAL if whole else ABORTED] += 1
        if event.encoded:
            clip.written = clip.file if event.published else f"{clip.file}{PART_EXTENSION}"
        clip.encoded, clip.error = event.encoded, event.error or ""
        if not whole:
            log.warning("a video was cut off", file=clip.file, frames=event.encoded, dropped=event.dropped)
        if event.error:
            self.recent_errors = [*self.recent_errors[-19:], f"{clip.file}: {event.error}"]
        result = EncodedResult(
            FINAL if whole else ABORTED, clip.written or None, event.encoded, event.dropped, event.width or None,
            event.height or None, event.file_bytes or None, event.duration_seconds, event.encode_seconds,
            event.error or "",
        )  # fmt: skip
        self._store.put(
            store.ClipEncodedTask(stream.info.folder, stream.info.stream, clip.number, result, clip),
        )

    def _clip_stored(self, event: store.ClipStored) -> None:
        clip = event.reply
        assert isinstance(clip, LiveClip)  # noqa: S101 - what was put into the task
        stream = clip.stream
        if self._clips.pop(clip.job, None) is None:
            return
        stream.clips.pop(clip.number, None)
        stream.encoded += clip.encoded
        self._files.release(stream.info.folder, clip.file)
        peer = stream.peer
        if peer is not None:
            self._speak(peer)
            peer.session.clip_done(
                stream.handle, clip.number, file=clip.written, encoded=clip.encoded, error=clip.error[:1000]
            )
        self._flushes.clip_final(clip)
        self._forget_if_done(stream)
