"""A sink for tests: it keeps what it was sent in a list, and fails when it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from offcam.sync.sinks.sink import Sink

if TYPE_CHECKING:
    from offcam.sync.core import Batch


class Tracker(Sink):
    """Keeps batches.

    Attributes:
        sent: all that any of them was sent, in order.
        to_raise: errors that `send` raises, the next one first; None where it works.
        finished: how often all was sent.
    """

    sent: ClassVar[list[Batch]] = []
    to_raise: ClassVar[list[Exception | None]] = []
    finished: ClassVar[int] = 0

    def send(self, batch: Batch) -> dict[str, Any]:
        """Keep it, or fail."""
        self.where = "memory"
        error = self.to_raise.pop(0) if self.to_raise else None
        if error is not None:
            raise error
        self.sent.append(batch)
        self.saved["batches"] = self.saved.get("batches", 0) + 1
        return dict(self.saved)

    def finish(self) -> None:
        """Count it."""
        type(self).finished += 1
