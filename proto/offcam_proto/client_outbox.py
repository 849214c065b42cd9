"""What a client has to send, in order: messages, and frames in slots that wait to be named together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from offcam_proto import codec
from offcam_proto.limits import MAX_SLOT_FRAMES
from offcam_proto.messages import ClientMessage, SlotFrames

if TYPE_CHECKING:
    from offcam_proto.codec import Parts
    from offcam_proto.layout import FrameLayout

FrameKind: TypeAlias = "tuple[int, int, tuple[FrameLayout, ...]]"
"""What frames in slots share that one message can name: their stream's handle, their clip and their layouts."""


class Outbox:
    """All that a session's streams and the session itself have to say. `ClientSession.take` hands it over.

    Attributes:
        messages: what is to be sent, in order, but for what is held back.
        held: frames in slots that are held back, of all streams.
        holders: for each stream that holds records back, by its handle, the function that queues them.
    """

    def __init__(self) -> None:
        self.held = 0
        self.holders: dict[int, Callable[[], None]] = {}
        self.messages: list[Parts] = []
        # by the stream's handle: the kind of its last frames in slots, and the index and slot of those held back
        self._kinds: dict[int, tuple[FrameKind, list[tuple[int, int]]]] = {}

    def take(self) -> list[Parts]:
        """Hand over what is to be sent, in order, but for what is held back."""
        messages, self.messages = self.messages, []
        return messages

    def send(self, message: ClientMessage) -> None:
        """Queue a message, behind the frames that are held back."""
        self.flush_slots()
        self.messages.append(codec.encode(message))

    def flush_slots(self) -> None:
        """Queue the frames in slots that are held back, so that one message names several of a stream's."""
        for kind, frames in self._kinds.values() if self.held else ():
            if frames:
                self.messages.append(codec.encode(SlotFrames(*kind, tuple(frames))))
                frames.clear()
        self.held = 0

    def hold(self, kind: FrameKind, index: int, slot: int) -> None:
        """Hold back a frame in a slot; what it cannot share a message with is queued first.

        The first of its kind is not held back: it tells the daemon how the pixels lie in those that follow, should
        this process be killed before it names them.
        """
        known, frames = self._kinds.get(kind[0], (None, []))
        if known != kind or len(frames) == MAX_SLOT_FRAMES:
            self.flush_slots()
        if known == kind:
            frames.append((index, slot))
            self.held += 1
        else:
            self._kinds[kind[0]] = (kind, [])
            self.messages.append(codec.encode(SlotFrames(*kind, ((index, slot),))))

    def forget(self, handle: int) -> None:
        """A stream is over: its handle is never used again."""
        self._kinds.pop(handle, None)

    def discard(self) -> None:
        """Drop everything: there is nobody to say it to."""
        self.messages.clear()
        self._kinds.clear()
        self.held = 0
