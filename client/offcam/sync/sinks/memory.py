"""A sink for tests: it keeps what it was sent in a list, and fails when it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from offcam.sync.sinks.sink import Sink

if TYPE_CHECKING:
    from offcam.sync.core import Batch


class Tracker(Sink):
    """Keeps batches.

    Attributes:
        sent: the batches that all objects of this class were sent, in order.
        to_raise: what the next calls of `send` raise, in order; None for a call that works.
        finished: how often `finish` was called.
    """

    sent: ClassVar[list[Batch]] = []
    to_raise: ClassVar[list[Exception | None]] = []
    finished: ClassVar[int] = 0

    def send(self, batch: Batch) -> dict[str, Any]:
        """Keep a batch, or fail."""
        self.where = "memory"
        error = self.to_raise.pop(0) if self.to_raise else None
        if error is not None:
            raise error
        self.sent.append(batch)
        self.saved["batches"] = self.saved.get("batches", 0) + 1
        return dict(self.saved)

    def finish(self) -> None:
        """Count the call."""
        type(self).finished += 1
