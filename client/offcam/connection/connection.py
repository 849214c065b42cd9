"""A process's connection to a daemon."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from offcam import logger
from offcam.connection import timeouts
from offcam.connection.exchange import Exchange, StreamHolder
from offcam.connection.flush import PendingFlush
from offcam.connection.frame_sender import FrameSender
from offcam.connection.handshake import Handshake
from offcam.connection.record_sender import RecordSender
from offcam_proto.client_session import State

if TYPE_CHECKING:
    from offcam_proto.backlog import Backlog
    from offcam_proto.client_stream import ClientStream
    from offcam_proto.endpoints import Endpoint
    from offcam_proto.keys import KeyFile
    from offcam_proto.messages import OpenStream


class Connection(Exchange):
    """A process's connection to one daemon: the exchange of messages, and the parts that use it. Thread-safe.

    Attributes:
        handshake: waits for the daemon where an env is wrapped.
        frames: sends frames.
        records: sends the records that are held back.
        told: streams of which a warning at their end has said where their records are kept.
    """

    def __init__(self, endpoint: Endpoint, *, named: bool, key: KeyFile | None = None) -> None:
        super().__init__(endpoint, named=named, key=key)
        self.handshake = Handshake(self)
        self.frames = FrameSender(self)
        self.records = RecordSender(self)
        self.told: set[ClientStream] = set()
        self._gave_up = 0.0  # when a flush gave up on a silent daemon, by `time.monotonic`

    def open_stream(self, info: OpenStream, owner: StreamHolder, backlog: Backlog) -> ClientStream:
        """Open a stream. Its owner hears of its clips' ends; the backlog keeps its records until they are acked."""
        with self.lock:
            wire = self.session.open_stream(info, backlog)
            self.owners[wire.info.handle] = owner
            self.records.begin()
            self.pump()
            return wire

    def pump(self) -> None:
        """As `Exchange.pump`; then tell the daemon of frames that waited for it."""
        with self.lock:
            super().pump()
            for wire in tuple(self.waiting):
                self.frames.tell(wire)

    def close_stream(self, wire: ClientStream) -> None:
        """Close a stream: nothing more comes."""
        with self.lock:
            wire.close()
            self.frames.close(wire)

    def flush(self, *, seconds: float | None = None, quiet: bool = True) -> bool:
        """Wait until everything that ended is final: see `PendingFlush`. Returns whether it is."""
        flush = PendingFlush(self, seconds=seconds, gave_up=self._gave_up)
        final = flush.wait(quiet=quiet)
        self._gave_up = flush.gave_up
        return final

    def hurry(self) -> None:
        """Have the daemon give way to nobody until all videos that ended are final, as somebody waits for them."""
        with self.lock:
            self.pump()
            if self.session.state is State.OPEN:
                self.session.flush(urgent=True)  # the daemon tells of each video, so nobody waits for the answer itself
                self.send_due()

    @property
    def waits(self) -> bool:
        """Whether something that ended may not be final yet, and there is a daemon that could say so."""
        settled = all(owner.videos.settled for owner in set(self.owners.values()))
        return bool(self.unacked or not settled) and self.reconnect.reachable

    def shutdown(self, seconds: float = timeouts.EXIT_SECONDS) -> None:
        """End what is still open and leave, within so many seconds."""
        self.reconnect.leaving = min(seconds, timeouts.SILENCE_SECONDS)
        self.records.close()
        try:
            owners, deadline = set(self.owners.values()), time.monotonic() + seconds - timeouts.LINGER_MS / 1000
            for owner in owners:
                owner.videos.end()
            self._settle(deadline)  # first: another daemon can be told of what is left here only while streams are open
            for owner in owners:
                owner.abandon()
            self._settle(deadline)
        finally:
            with self.lock:
                for wire in self.session.streams.values():
                    wire.backlog.look()
                self._warn_of_records([wire for wire in self.session.streams.values() if wire not in self.told])
                open_, streams = self.session.state is State.OPEN, list(self.session.streams.values())
                self.session.close()
                self.send_due()
                self.transport.close(timeouts.LINGER_MS if open_ else 0)
                for wire in streams:
                    wire.backlog.leave()

    def _settle(self, deadline: float) -> None:
        self.pump()
        if self.waits:
            self.flush(seconds=max(deadline - time.monotonic(), 0.0))

    def _warn_of_records(self, streams: list[ClientStream]) -> None:
        left = [wire for wire in streams if wire.unacked and (wire.backlog.place or wire.refused is None)]
        count = sum(wire.unacked for wire in left)
        if not count:
            return
        places: dict[str, list[ClientStream]] = {}
        for wire in left:
            places.setdefault(wire.backlog.place, []).append(wire)
        records = "1 record was" if count == 1 else f"{count} records were"
        lost = "so many episodes and videos may be missing from the statistics, and "
        logger.warn(
            f"{records} not confirmed by the recorder daemon before this process left: "
            f"{''.join(f'{kept(wires)}, and ' if place else lost for place, wires in places.items())}"
            "frames not yet written may be missing from the videos; see `offcam ls`."
        )


def kept(streams: list[ClientStream]) -> str:
    """A warning's words on streams whose records lie in one place: what is kept there, until when, and what was not."""
    count = sum(wire.kept_episodes for wire in streams)
    rest = sum(wire.backlog.in_memory for wire in streams)
    folder = streams[0].info.folder
    what = f"{count} episode{'s are' if count > 1 else ' is'}" if count else "the account of the videos is"
    records = "records are" if rest > 1 else "record is"
    more = f"{rest} more {records} in no file, as no disk has room or answers, and will be lost with this process"
    return (
        f"{what} kept in {streams[0].backlog.place} and will be taken in by the next recorder daemon that records into "
        f"{folder}, or by `offcam recover {folder}`{f'; {more}' if rest else ''}"
    )
