"""What other hosts push to their hub besides episodes: which clips they have, and which are gone there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from offcam_proto.pushing import ClipElsewhere, ClipsGone
from offcamd.daemon.recalls import NO_ROOM
from offcamd.store import tasks
from offcamd.store.elsewhere import admitted

if TYPE_CHECKING:
    from offcam_runs.objects.layout import ObjectPlace
    from offcamd.daemon.state import LiveStream
    from offcamd.store.store import Store


def take(
    store: Store, stream: LiveStream, message: ClipElsewhere | ClipsGone, videos: ObjectPlace | None
) -> tasks.Pushed | None:
    """Hand a message to the store. Returns the answer where the store has no room, else it comes as an event.

    Args:
        store: the store.
        stream: of which the message is.
        message: what its host has told.
        videos: what the URL of a clip may begin with; None for none.
    """
    folder, hello = stream.info.folder, stream.peer and stream.peer.session.hello
    if isinstance(message, ClipElsewhere):
        message = replace(message, place=admitted(message.place, hello.host if hello else "", videos))
    if not store.takes(folder):
        return tasks.Pushed(stream, message, NO_ROOM.format(folder))
    store.put(tasks.PushedTask(folder, stream.info.stream, message, stream))
    return None


def answer(stream: LiveStream, event: tasks.Pushed) -> None:
    """Tell a stream's client, if it is there, what came of its message."""
    if stream.peer is not None:
        file, encoded = ("", 0) if isinstance(event.message, ClipsGone) else (event.message.file, event.message.encoded)
        stream.peer.session.clip_done(
            stream.handle, event.message.clip, file=file, encoded=encoded, error=event.error[:1000]
        )
