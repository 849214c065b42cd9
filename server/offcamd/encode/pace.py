"""Whether encoding gives way to the training: as long as there is room for what waits, and nobody waits for a video."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from offcamd.encode.budget import Budget

RISES_AT, FALLS_AT = 0.5, 0.25
"""Shares of the spool: with more than the first in use encoding does not give way, until it is less than the second."""


class PaceKeeper:
    """Decides it. Not thread-safe.

    Args:
        budget: counts what waits.
        pressed: as the attribute, until the first look.

    Attributes:
        pressed: whether encoding does not give way as the room for frames that wait runs short.
        wanted: what somebody waits for, or watches; as long as there is any, encoding does not give way.
        urgent: whether encoding does not give way, for any reason.
    """

    def __init__(self, budget: Budget, *, pressed: bool = False) -> None:
        self._budget = budget
        self.pressed = pressed
        self.wanted: set[object] = set()
        self.urgent = False

    def look(self, *, saturated: bool, closing: bool) -> bool:
        """Decide anew; returns whether encoding gave way and does so no longer.

        Args:
            saturated: whether frames of a clip find no room.
            closing: whether everything is to be encoded now.
        """
        limit, used = self._budget.spool_limit, self._budget.spool_bytes
        share = FALLS_AT if self.pressed else RISES_AT
        self.pressed = saturated or used >= share * limit  # without a spool, always
        before, self.urgent = self.urgent, self.pressed or bool(self.wanted) or closing
        return self.urgent and not before
