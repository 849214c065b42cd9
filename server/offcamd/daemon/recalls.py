"""Records and streams that were refused while an index could not be written: clients are asked for them again later."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from offcam_proto.limits import MAX_STREAMS_PER_SESSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcam_proto import messages as msg
    from offcamd.daemon.state import LiveStream, Peer

REFUSED_SECONDS = 5.0
"""How soon a client whose stream was refused is told to ask once more: the disk may have room then."""


class Recalls:
    """Which records and streams clients are to send again. Belongs to the service's thread.

    Args:
        takes: whether tasks for a run folder may be handed to the store.
    """

    def __init__(self, takes: Callable[[str], bool]) -> None:
        self._takes = takes

    def admits(self, peer: Peer, stream: LiveStream, message: msg.Records) -> bool:
        """Whether a stream's records can be taken now; else they are asked for again, in order."""
        if stream.missing is not None and message.first_seq > stream.missing:
            return False  # they come once more, behind what is missing
        if not self._takes(stream.info.folder):
            stream.missing = message.first_seq if stream.missing is None else stream.missing
            _note(peer, message.handle, stream.info.folder)
            return False
        stream.missing = None
        return True

    @staticmethod
    def committed(stream: LiveStream, last_seq: int) -> None:
        """Records of a stream are in its index: none of them is missing."""
        if stream.missing is not None:
            stream.missing = max(stream.missing, last_seq + 1)

    @staticmethod
    def refused(peer: Peer, handle: int, folder: str) -> None:
        """A stream was refused: its client may open it again after a while."""
        _note(peer, handle, folder, REFUSED_SECONDS)

    def ask_again(self, peer: Peer) -> bool:
        """Ask a client for what is due, of folders that take it now; returns whether there was anything."""
        now = time.monotonic()
        due = [handle for handle, (folder, start) in peer.recalls.items() if now >= start and self._takes(folder)]
        for handle in due:
            del peer.recalls[handle]
            peer.session.again(handle)
        return bool(due)


def _note(peer: Peer, handle: int, folder: str, seconds: float = 0.0) -> None:
    if len(peer.recalls) < MAX_STREAMS_PER_SESSION:
        peer.recalls[handle] = (folder, time.monotonic() + seconds)
