"""Which streams have their frames in memory that their clients share, and how much of it there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offcamd.daemon.shared_memory import Arena, ArenaUnusable
from offcamd.process.logs import Logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offcam_proto.messages import OpenArena
    from offcamd.daemon.state import LiveStream, Peer

log = Logger(__name__)


def mapped_bytes(streams: Iterable[LiveStream]) -> int:
    """Bytes of the arenas of some streams that stay in memory while their slots are free."""
    return sum(arena.nbytes for stream in streams if (arena := stream.arena) is not None)


def open_arena(peer: Peer, stream: LiveStream, offer: OpenArena, room: int) -> None:
    """Use the memory that a stream's client offers, where it can be used, and tell the client.

    So many bytes of all of it stay in memory while they are free as there is ``room`` for; none, where there is none.
    """
    hello = peer.session.hello
    if hello is not None and not peer.user:
        try:
            stream.arena = Arena(hello.pid, offer, room)
        except ArenaUnusable as problem:
            log.info("frames come through the socket", pid=hello.pid, problem=str(problem))
    peer.session.arena_answer(offer.handle, usable=stream.arena is not None)
