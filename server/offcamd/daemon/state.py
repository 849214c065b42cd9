"""The daemon's state: who is connected, which streams and clips they have open, and what became of frames."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from offcam_proto.server_session import ServerSession
from offcamd.encode.budget import StreamMemory

if TYPE_CHECKING:
    from offcam_proto.messages import OpenClip, OpenStream
    from offcamd.daemon.credit import Account
    from offcamd.daemon.shared_memory import Arena, ArenaName
    from offcamd.encode.pool import ClipJob
    from offcamd.encode.saved_clip import SavedClip


@dataclass(slots=True, eq=False)
class LiveClip:
    """A clip from its opening until its row is stored.

    Attributes:
        ring: the message that opened it, if it is a ring, which has no row; else None.
        received: frames that arrived.
        ended: whether no more frames can come.
        written: name of its file once that is final; empty where there is none.
        waited_by: the flushes that wait for it, by peer and token.
    """

    stream: LiveStream
    number: int
    file: str
    job: ClipJob | SavedClip
    ring: OpenClip | None = None
    received: int = 0
    ended: bool = False
    written: str = ""
    encoded: int = 0
    error: str = ""
    waited_by: set[tuple[Peer, int]] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class LiveStream:
    """A stream from its opening until its last clip is stored.

    Attributes:
        peer: its client, None once that is gone.
        session: its client's session, which may come back over another connection.
        ready: whether the index knows it and the client was told.
        suffix: number in its files' names, 0 for none; known once it is ready.
        clips: its clips that are not stored yet.
        arena: the memory that its client shares with us; None if frames come through the socket.
        arena_names: the names of its arenas, to be removed once no frame is left in them.
        in_memory: bytes of its frames in memory, from their arrival until they are encoded or on disk.
        at_hand: those of them that wait in memory for an encoder, or are being encoded.
        encoded: frames in files, of its clips that are stored.
        dropped: frames of it in no file, by reason, as far as is known.
        saturated: whether its frames wait in memory because the disk takes no more.
        closed: whether the client closed it, or is gone.
        lost: whether it ended because its client vanished.
        missing: number of the first record that was refused, as there was no room for it; None if none was.
    """

    peer: Peer | None
    info: OpenStream
    session: bytes
    account: Account | None
    ready: bool = False
    suffix: int = 0
    clips: dict[int, LiveClip] = field(default_factory=dict)
    arena: Arena | None = None
    arena_names: set[ArenaName] = field(default_factory=set)
    in_memory: int = 0
    at_hand: StreamMemory = field(default_factory=StreamMemory)
    encoded: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    saturated: bool = False
    closed: bool = False
    lost: bool = False
    missing: int | None = None

    @property
    def handle(self) -> int:
        """The client's number for it."""
        return self.info.handle

    @property
    def gone(self) -> bool:
        """Whether its client has closed it, or is gone itself, as far as is known."""
        return self.closed or self.peer is None or self.peer.gone_at is not None

    def same_as(self, other: LiveStream) -> bool:
        """Whether it is the same stream of the same run, opened at another time."""
        return (self.info.stream, self.info.folder) == (other.info.stream, other.info.folder)


@dataclass(slots=True, eq=False)
class Peer:
    """A connected client.

    Attributes:
        identity: ZeroMQ's routing id of its connection.
        user: whose connection that is: `offcamd.security.authenticator.LOCAL`, or a remote client's name and key.
        connection: file descriptor of its connection, by which the socket's monitor names it.
        streams: its streams by handle.
        flushes: by token, the clips that each of its flushes still waits for.
        gone_at: when its connection broke (``time.monotonic()``), or None.
        gone_read: how many messages of all clients had been read by then.
        recalls: streams of which not everything was taken, by handle: their run folder, and the earliest time
            (``time.monotonic()``) to ask for it again.
        records: whether it has opened a stream, and does not only ask for statistics.
        folders: the run folders into which it has recorded, the first of them if they are many.
    """

    identity: bytes
    user: str = ""
    session: ServerSession = field(default_factory=ServerSession)
    connection: int = -1
    streams: dict[int, LiveStream] = field(default_factory=dict)
    flushes: dict[int, set[LiveClip]] = field(default_factory=dict)
    gone_at: float | None = None
    gone_read: int = 0
    recalls: dict[int, tuple[str, float]] = field(default_factory=dict)
    records: bool = False
    folders: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Counters:
    """Totals since the daemon started. ``offered = encoded + dropped + waiting`` at any moment.

    Attributes:
        received: frames that arrived; a ring's only for videos that are saved from it, once for each.
        encoded: frames in files.
        dropped: frames in no file, by reason, the clients' own drops included.
        dropped_unsent: the clients' own drops among them.
        dropped_steps: rows of steps that were not written, by reason.
        clips: clips that ended, by state.
        episodes: episode records committed.
        breaches: messages refused, by reason.
        lost: ``frames`` that clients sent and that are in no file; ``records`` in no index, or set aside there. What
            earlier daemons of this endpoint lost is included.
    """

    received: int = 0
    encoded: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_unsent: int = 0
    dropped_steps: Counter[str] = field(default_factory=Counter)
    clips: Counter[str] = field(default_factory=Counter)
    episodes: int = 0
    breaches: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    @property
    def offered(self) -> int:
        """Frames that wrappers captured, as far as is known: clients tell of their drops when a clip ends."""
        return self.received + self.dropped_unsent
