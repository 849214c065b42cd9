"""Which streams have their frames in memory that their clients share, and how much of it there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from offcamd.daemon.shared_memory import Arena, ArenaUnusable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offcam_proto.messages import OpenArena
    from offcamd.daemon.state import LiveStream, Peer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Arenas:
    """The arenas of all streams, which may have ``limit`` bytes together. Belongs to the service's thread."""

    streams: Iterable[LiveStream]
    limit: int

    def open(self, peer: Peer, stream: LiveStream, offer: OpenArena) -> None:
        """Use the memory that a stream's client offers, where it can be used and there is room, and tell the client."""
        stream.arena = None
        room = self.limit - sum(other.arena.nbytes for other in self.streams if other.arena is not None)
        hello = peer.session.hello
        if hello is not None and not peer.user and offer.nbytes <= room:
            try:
                stream.arena = Arena(hello.pid, offer)
            except ArenaUnusable as problem:
                log.info("frames come through the socket", pid=hello.pid, problem=str(problem))
        peer.session.arena_answer(offer.handle, usable=stream.arena is not None)
