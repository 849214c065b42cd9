"""Which streams have their frames in memory that their clients share, and how much of it there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from offcamd.daemon.shared_memory import Arena, ArenaUnusable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offcam_proto.messages import OpenArena
    from offcamd.daemon.state import LiveStream, Peer

log = structlog.get_logger(__name__)


class Arenas:
    """The arenas of all streams. Belongs to the service's thread.

    Args:
        streams: the streams, as they are at any moment.
        limit: bytes that their arenas may have, all together.
    """

    def __init__(self, streams: Iterable[LiveStream], limit: int) -> None:
        self._streams = streams
        self._limit = limit

    def open(self, peer: Peer, stream: LiveStream, offer: OpenArena) -> None:
        """Use the memory that a stream's client offers, where it can be used and there is room, and tell the client."""
        stream.arena = None
        room = self._limit - sum(other.arena.nbytes for other in self._streams if other.arena is not None)
        hello = peer.session.hello
        if hello is not None and not peer.user and offer.nbytes <= room:
            try:
                stream.arena = Arena(hello.pid, offer)
            except ArenaUnusable as problem:
                log.info("frames come through the socket", pid=hello.pid, problem=str(problem))
        peer.session.arena_answer(offer.handle, usable=stream.arena is not None)
