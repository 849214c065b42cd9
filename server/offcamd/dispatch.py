"""What each message and each event means for the books: no sockets here, the service has them."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from offcam_proto import messages as msg
from offcam_proto.errors import EncodeError, FolderNotWritable, RemoteProtocolError
from offcam_proto.run_format import ABORTED, FINAL, PART_EXTENSION, video_file
from offcamd import encoding, remote, store
from offcamd.credit import CreditPool
from offcamd.frozen import FrozenWatch
from offcamd.index import EncodedResult
from offcamd.index import Peer as Origin
from offcamd.names import FileClaims, NameClaims
from offcamd.peers import Counters, FlushRequest, LiveClip, LiveStream, Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from offcam_proto.messages import Buffer
    from offcam_proto.records import ClipRecord
    from offcamd.config import Settings

log = structlog.get_logger(__name__)

GRACE_SECONDS = 2.0
"""A client whose connection broke may come back within this time before its streams are ended."""

LAGGING_SECONDS = 2.0
"""From this encode lag on, new clips get the fastest preset."""

FASTEST_PRESET = "ultrafast"

MOST_FLUSHES = 256
"""Flushes of one client that are kept; of more the oldest is forgotten, and asked again by whoever waits for it."""


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
        self._speaking[peer] = None
        try:
            message = peer.session.receive(parts)
        except RemoteProtocolError as error:
            self.counters.breaches[error.reason] += 1
            log.warning("a client was refused", reason=error.reason, problem=str(error))
            self._drop(peer)
            return
        if message is None:
            self.peers.pop(identity)  # it was told to say hello; nothing of it need be remembered
            return
        self._act(peer, message)

    def _act(self, peer: Peer, message: msg.ClientMessage) -> None:  # noqa: C901 - one case for each message
        match message:
            case msg.Frame():
                self._frame(peer, message)
            case msg.Records():
                stream = peer.streams[message.handle]
                self._store.put(
                    store.RecordsTask(stream.info.folder, stream.info.stream, message.first_seq, message.bodies, stream)
                )
            case msg.OpenClip():
                self._open_clip(peer.streams[message.handle], message)
            case msg.EndClip():
                clip = peer.streams[message.handle].clips.get(message.clip)
                if clip is not None:
                    self._end_clip(clip, aborted=not message.complete)
            case msg.OpenStream():
                self._open_stream(peer, message)
            case msg.CloseStream():
                self._close_stream(peer.streams.pop(message.handle), lost=False)
            case msg.Flush():
                self._flush(peer, message.token)
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
        self.counters.breaches["stranger"] += 1
        log.warning("a client was refused", reason="stranger", user=peer.user or "local")
        peer.session.refuse("protocol", "this session is another key's: each client makes its own")
        self._drop(peer)

    def _open_stream(self, peer: Peer, message: msg.OpenStream) -> None:
        if peer.user:
            try:
                folder = remote.make_run_folder(self._settings.root, peer.user, message.folder)
            except FolderNotWritable as error:
                peer.session.refuse_stream(message.handle, "folder", str(error))
                return
            message = replace(message, folder=folder)
        names = (message.folder, message.prefix)
        suffix = self._names.claim(names, message.stream, message.suffix) if message.prefix else 0
        hello = peer.session.hello
        assert hello is not None  # noqa: S101 - the session admits no stream before its hello
        account = self._credit.open() if message.video else None
        stream = LiveStream(peer, message, suffix, hello.session, account)
        self._pool.budget.clip_memory = self._credit.share // 2
        peer.streams[message.handle] = stream
        self.streams.add(stream)
        self._last_active = time.monotonic()
        origin = Origin(hello.host, hello.pid, hello.client)
        self._store.put(store.OpenStreamTask(message.folder, message, origin, suffix, stream))

    def _open_clip(self, stream: LiveStream, message: msg.OpenClip) -> None:
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
        if stream.account is not None and message.frame_bytes > stream.account.frame_bytes:
            stream.account.frame_bytes = message.frame_bytes
            self._grant(stream)

    def _frame(self, peer: Peer, message: msg.Frame) -> None:
        stream = peer.streams[message.handle]
        clip = stream.clips.get(message.clip)
        if clip is None or clip.ended:
            return  # it came too late, during a stop
        clip.received += 1
        self.counters.received += 1
        stream.in_memory += message.nbytes
        clip.job.offer(message.index, list(zip(message.pixels, message.layouts, strict=True)))

    def _end_clip(self, clip: LiveClip, *, aborted: bool) -> None:
        if not clip.ended:
            clip.ended = True
            clip.job.end(aborted=aborted)

    def _flush(self, peer: Peer, token: int) -> None:
        # also those of an earlier connection, that a client which came back is still waiting for
        session = peer.session.hello.session if peer.session.hello else b""
        waiting = {clip for clip in self._clips.values() if clip.ended and clip.stream.session == session}
        if not waiting:
            self._store.put(store.BarrierTask(FlushRequest(peer, token)))
            return
        while len(peer.flushes) >= MOST_FLUSHES:
            self._forget_flush(peer, next(iter(peer.flushes)))
        peer.flushes[token] = waiting
        for clip in waiting:
            clip.waited_by.add((peer, token))
        self._tell_flush(peer, token)

    @staticmethod
    def _forget_flush(peer: Peer, token: int) -> None:
        for clip in peer.flushes.pop(token):
            clip.waited_by.discard((peer, token))

    def _tell_flush(self, peer: Peer, token: int) -> None:
        waiting = peer.flushes[token]
        frames = sum(clip.job.waiting for clip in waiting)
        peer.session.flushed(token, clips=len(waiting), frames=frames)
        self._speaking[peer] = None

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
        stream.closed, stream.lost = True, lost
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
                self._speaking[peer] = None
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
            for token in peer.flushes:
                self._tell_flush(peer, token)
        for stream in self.streams:
            self._grant(stream)
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
            case store.Passed(reply=FlushRequest(peer=peer, token=token)):
                peer.session.flushed(token, clips=0, frames=0)
                self._speaking[peer] = None

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
            self._speaking[stream.peer] = None

    def _stream_ready(self, event: store.StreamReady) -> None:
        stream = event.reply
        assert isinstance(stream, LiveStream)  # noqa: S101 - what was put into the task
        peer = stream.peer
        if peer is None or stream.closed:
            return
        self._speaking[peer] = None
        if event.error is not None:
            peer.session.refuse_stream(stream.handle, "folder", str(event.error)[:1000])
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
            self.counters.breaches["gap"] += 1
            log.warning("records were refused", problem=str(event.error))
            return
        self.counters.episodes += len(event.applied.episodes)
        for record in event.applied.clips:
            self._clip_record(record)
        if stream.peer is not None:
            stream.peer.session.ack(stream.handle, event.applied.last_seq)
            self._speaking[stream.peer] = None

    def _clip_record(self, record: ClipRecord) -> None:
        self.counters.dropped.update(record.dropped)
        self.counters.dropped_unsent += sum(record.dropped.values())

    def _clip_finished(self, event: encoding.ClipFinished) -> None:
        clip = self._clips[event.job]
        stream = clip.stream
        whole = not event.aborted and event.error is None
        self.counters.encoded += event.encoded
        self.counters.dropped.update(event.dropped)
        self.counters.clips[FINAL if whole else ABORTED] += 1
        file = (clip.file if event.published else f"{clip.file}{PART_EXTENSION}") if event.encoded else None
        clip.encoded, clip.error = event.encoded, event.error or ""
        if not whole:
            log.warning("a video was cut off", file=clip.file, frames=event.encoded, dropped=event.dropped)
        if event.error:
            self.recent_errors = [*self.recent_errors[-19:], f"{clip.file}: {event.error}"]
        result = EncodedResult(
            FINAL if whole else ABORTED, file, event.encoded, event.dropped, event.width or None, event.height or None,
            event.file_bytes or None, event.duration_seconds, event.encode_seconds, event.error or "",
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
        self._files.release(stream.info.folder, clip.file)
        peer = stream.peer
        if peer is not None:
            self._speaking[peer] = None
            peer.session.clip_done(
                stream.handle, clip.number, file=clip.file if clip.encoded else "", encoded=clip.encoded,
                error=clip.error[:1000],
            )  # fmt: skip
        for waiter, token in clip.waited_by:
            waiting = waiter.flushes.get(token)
            if waiting is not None:
                waiting.discard(clip)
                if not waiting:
                    del waiter.flushes[token]
                    self._store.put(store.BarrierTask(FlushRequest(waiter, token)))
        self._forget_if_done(stream)
