"""Opens the arenas, memory with a stream's frames that its client shares, and counts how much of it there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from offcamd.daemon.shared_memory import Arena, ArenaUnusable
from offcamd.daemon.spool_file import SpoolFile
from offcamd.process.logs import Logger

if TYPE_CHECKING:
    from pathlib import Path

    from offcam_proto.messages import OpenArena
    from offcamd.daemon.state import LiveStream, Peer
    from offcamd.encode.budget import Budget

log = Logger(__name__)


def mapped_bytes(streams: Iterable[LiveStream]) -> int:
    """Bytes of the streams' arenas that stay in memory while their slots are free."""
    return sum(arena.nbytes for stream in streams if (arena := stream.arena) is not None)


def room_for_arena(streams: Iterable[LiveStream], most: int) -> int:
    """Bytes of a new arena that may stay in memory while its slots are free.

    It is a quarter of what the others leave of ``most`` bytes: so each that comes later has some, too. An arena without
    any pays for new pages with each frame.
    """
    return max(0, most - mapped_bytes(streams)) // 4


def open_arena(
    peer: Peer,
    stream: LiveStream,
    offer: OpenArena,
    room: int,
    make_spool: Callable[[Arena, OpenArena], SpoolFile | None],
) -> None:
    """Use the memory that a stream's client offers, where it can be used, and tell the client.

    Args:
        peer: the client.
        stream: its stream.
        offer: its message.
        room: bytes of the arena that may stay in memory while its slots are free.
        make_spool: makes the file for frames that are moved from the arena to disk, or returns None.
    """
    hello = peer.session.hello
    if hello is not None and not peer.user:
        try:
            arena = stream.arena = Arena(hello.pid, offer, room)
            if arena.name is not None:
                stream.arena_names.add(arena.name)
            arena.spool = make_spool(arena, offer)
        except ArenaUnusable as problem:
            log.info("no shared memory: frames come through the socket", pid=hello.pid, problem=str(problem))
    spool = stream.arena.spool if stream.arena else None
    peer.session.arena_answer(offer.handle, usable=stream.arena is not None, spool=spool.descriptor if spool else 0)


def make_spool(endpoint: str, budget: Budget, folder: Path, arena: Arena, offer: OpenArena) -> SpoolFile | None:
    """The file for frames of an arena that have no room in memory; None if there is no spool or it cannot be made."""
    if arena.name is not None:
        arena.say(endpoint, str(folder))
    if not budget.spool_limit:
        return None
    try:
        return SpoolFile(budget, folder, offer.token, offer.slot_bytes, named=arena.name is not None)
    except OSError as error:
        log.warning("frames that wait on disk do not outlive this daemon", problem=str(error))
        return None
