"""Records and streams that were refused while an index could not be written: clients are asked for them again later."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from offcam_proto.limits import MAX_STREAMS_PER_SESSION

if TYPE_CHECKING:
    from offcam_proto import messages as msg
    from offcamd.daemon.state import LiveStream, Peer
    from offcamd.store.store import Store

NO_ROOM = "the index of {} cannot be written and too much waits for it: is its disk full?"

REFUSED_SECONDS = 5.0
"""How soon a client whose stream was refused is told to ask once more: the disk may have room then."""


def admits(store: Store, peer: Peer, stream: LiveStream, message: msg.Records) -> bool:
    """Whether the store takes a stream's records now; else they are asked for again, in order."""
    if stream.missing is not None and message.first_seq > stream.missing:
        return False  # they will be sent again, after the missing ones
    if not store.takes(stream.info.folder):
        stream.missing = message.first_seq if stream.missing is None else stream.missing
        refused(peer, message.handle, stream.info.folder, seconds=0.0)
        return False
    stream.missing = None
    return True


def committed(stream: LiveStream, last_seq: int) -> None:
    """Note that records of a stream are in its index, so that they are not missing."""
    if stream.missing is not None:
        stream.missing = max(stream.missing, last_seq + 1)


def refused(peer: Peer, handle: int, folder: str, seconds: float = REFUSED_SECONDS) -> None:
    """Have a client asked, after so long, for a stream or records that were refused."""
    if len(peer.recalls) < MAX_STREAMS_PER_SESSION:
        peer.recalls[handle] = (folder, time.monotonic() + seconds)


def ask_again(store: Store, peer: Peer) -> bool:
    """Ask a client for what is due and can be taken now. Returns whether there was anything."""
    now = time.monotonic()
    due = [handle for handle, (folder, start) in peer.recalls.items() if now >= start and store.takes(folder)]
    for handle in due:
        del peer.recalls[handle]
        peer.session.again(handle)
    return bool(due)
