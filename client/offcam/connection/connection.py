"""A process's connection to a daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gymnasium import logger

from offcam.connection import timeouts
from offcam.connection.exchange import Exchange
from offcam.connection.flush import Flush
from offcam.connection.frame_sender import FrameSender
from offcam.connection.handshake import Handshake
from offcam_proto.client_session import State
from offcam_proto.errors import DaemonNotInstalled

if TYPE_CHECKING:
    from offcam.connection.exchange import StreamOwner
    from offcam_proto.client_stream import ClientStream
    from offcam_proto.endpoints import Endpoint
    from offcam_proto.keys import KeyFile
    from offcam_proto.messages import OpenStream


class Connection(Exchange):
    """A process's connection to one daemon: the exchange of messages, and the parts that make use of it. Thread-safe.

    Attributes:
        handshake: what a construction waits for.
        frames: sends the frames.
    """

    def __init__(self, endpoint: Endpoint, *, named: bool, key: KeyFile | None = None) -> None:
        super().__init__(endpoint, named=named, key=key)
        self.handshake = Handshake(self)
        self.frames = FrameSender(self)
        self._gave_up = 0.0  # when a flush gave up on a silent daemon

    def open_stream(self, info: OpenStream, owner: StreamOwner) -> ClientStream:
        """Open a stream; its owner hears of its clips' ends."""
        with self.lock:
            wire = self.session.open_stream(info)
            self.owners[wire.info.handle] = owner
            self.pump()
            return wire

    def close_stream(self, wire: ClientStream) -> None:
        """Close a stream: nothing more comes."""
        with self.lock:
            wire.close()
            self.frames.arenas.close(wire)

    def flush(self, *, seconds: float | None = None, quiet: bool = True) -> bool:
        """Wait until all that was ended is final: see `Flush`. Returns whether it is."""
        flush = Flush(self, seconds=seconds, gave_up=self._gave_up)
        final = flush.wait(quiet=quiet)
        self._gave_up = flush.gave_up
        return final

    @property
    def waits(self) -> bool:
        """Whether something that was ended is not known to be final, and there is a daemon that can say so."""
        settled = all(owner.settled for owner in set(self.owners.values()))
        return bool(self.unacked or not settled) and self.reconnect.reachable

    def shutdown(self, seconds: float = timeouts.EXIT_SECONDS) -> None:
        """Finish what is still open and leave, within so many seconds."""
        self.reconnect.leaving = min(seconds, timeouts.SILENCE_SECONDS)
        try:
            for owner in set(self.owners.values()):
                owner.abandon()
            self.pump()
            if self.waits:
                self.flush(seconds=seconds - timeouts.LINGER_MS / 1000)
        finally:
            with self.lock:
                self._warn_of_records(self.unacked)
                open_ = self.session.state is State.OPEN
                self.session.close()
                self.send_due()
                self.transport.close(timeouts.LINGER_MS if open_ else 0)

    def _warn_of_records(self, count: int) -> None:
        alone = self.session.instance is None and isinstance(self.reconnect.starter.failure, DaemonNotInstalled)
        if count and not alone:  # of a base install, which has no daemon, it was said at construction
            records = "1 record was" if count == 1 else f"{count} records were"
            logger.warn(
                f"{records} not confirmed by the recorder daemon before this process left: so many episodes and videos "
                "may be missing from the statistics, and frames not yet written from the videos; see `offcam ls`."
            )
