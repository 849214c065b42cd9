"""Clients' flushes: each waits for the clips that ended before it, then for all that the store has been given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from offcam_proto.messages import Flush
    from offcamd.daemon.state import LiveClip, Peer

MOST_FLUSHES = 256
"""Flushes of one client that are kept. With one more the oldest is forgotten; its client asks again."""


class FlushRequest(NamedTuple):
    """A peer's flush, on its way through the store."""

    peer: Peer
    token: int


class Flushes:
    """All flushes that wait for clips. Belongs to the service's thread.

    Args:
        pass_store: called with a flush that waits for no clip any more; puts it through the store.
        speak: called with a peer that has something to be sent.
    """

    def __init__(self, pass_store: Callable[[FlushRequest], None], speak: Callable[[Peer], None]) -> None:
        self._pass_store = pass_store
        self._speak = speak

    def ask(self, peer: Peer, flush: Flush, clips: Iterable[LiveClip]) -> None:
        """Take in a peer's flush; ``clips`` are all that are not final yet."""
        token = flush.token
        # by session, as a client that came back waits for clips of its earlier connection, too
        session = peer.session.hello.session if peer.session.hello else b""
        waiting = {clip for clip in clips if clip.ended and clip.stream.session == session}
        if not waiting:
            self._pass_store(FlushRequest(peer, token))
            return
        while len(peer.flushes) >= MOST_FLUSHES:
            oldest = next(iter(peer.flushes))
            for clip in peer.flushes.pop(oldest):
                clip.waited_by.discard((peer, oldest))
        peer.flushes[token] = waiting
        for clip in waiting:
            clip.waited_by.add((peer, token))
            if flush.urgent:
                clip.job.want()
        self._tell(peer, token)

    def tell(self, peer: Peer) -> None:
        """Tell a peer how far its flushes are."""
        for token in peer.flushes:
            self._tell(peer, token)

    def passed(self, request: FlushRequest, gone: frozenset[str]) -> None:
        """Answer a flush that has come through the store: all is final, except in folders that are gone."""
        if not gone.isdisjoint(request.peer.folders):
            return  # its client asks again
        request.peer.session.flushed(request.token, clips=0, frames=0)
        self._speak(request.peer)

    def clip_final(self, clip: LiveClip) -> None:
        """Take a final clip off the flushes that wait for it."""
        for peer, token in clip.waited_by:
            waiting = peer.flushes.get(token)
            if waiting is not None:
                waiting.discard(clip)
                if not waiting:
                    del peer.flushes[token]
                    self._pass_store(FlushRequest(peer, token))

    def _tell(self, peer: Peer, token: int) -> None:
        waiting = peer.flushes[token]
        frames = sum(len(clip.job.queue) for clip in waiting)
        peer.session.flushed(token, clips=len(waiting), frames=frames)
        self._speak(peer)
