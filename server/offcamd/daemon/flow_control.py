"""Granting credit to streams: how much the pool has for each, and how its client hears of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from offcamd.daemon.credit import CreditPool

if TYPE_CHECKING:
    from offcamd.daemon.state import LiveStream, Peer


class Grants:
    """The credit of all streams with video; one without has no account. Belongs to the service's thread.

    Args:
        limit: bytes that all of them share.
        speak: called with a peer that has something to be sent.
    """

    def __init__(self, limit: int, speak: Callable[[Peer], None]) -> None:
        self.pool = CreditPool(limit)
        self._speak = speak

    def first(self, stream: LiveStream) -> int:
        """The credit that a stream is opened with, in bytes."""
        return self.pool.grant(stream.account, 0) if stream.account is not None else 0

    def grant(self, stream: LiveStream) -> None:
        """Grant a stream what it may have more, if that is worth a message."""
        if stream.account is None or stream.closed or not stream.ready:
            return
        nbytes = self.pool.grant(stream.account, _unspent(stream))
        if nbytes:
            self._tell(stream, nbytes)

    def fit(self, stream: LiveStream, frame_bytes: int) -> None:
        """Have a stream's credit be enough for a few frames of this size."""
        if stream.account is not None and frame_bytes > stream.account.frame_bytes:
            stream.account.frame_bytes = frame_bytes
            self.grant(stream)

    def released(self, stream: LiveStream, nbytes: int) -> None:
        """Return the credit of a stream's frames that have left memory, or were not kept at all."""
        if stream.account is not None:
            self.pool.released(stream.account, nbytes)
            self.grant(stream)

    def saturated(self, stream: LiveStream, *, saturated: bool) -> None:
        """Tell a stream's client whether credit will be long in coming."""
        stream.saturated = saturated
        self._tell(stream, 0)

    def close(self, stream: LiveStream) -> None:
        """Void a stream's credit, but for that of its frames in memory."""
        if stream.account is not None:
            self.pool.close(stream.account, stream.in_memory)

    def _tell(self, stream: LiveStream, nbytes: int) -> None:
        if stream.peer is not None and not stream.closed:
            stream.peer.session.grant(stream.handle, nbytes, saturated=stream.saturated)
            self._speak(stream.peer)


def _unspent(stream: LiveStream) -> int:
    wire = stream.peer.session.streams.get(stream.handle) if stream.peer is not None else None
    return wire.outstanding if wire is not None else 0
