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
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._pressed = False

    def pressed(self, *, saturated: bool) -> bool:
        """Whether the room for frames that wait runs short.

        Args:
            saturated: whether frames of a clip find none.
        """
        limit, used = self._budget.spool_limit, self._budget.spool_bytes
        share = FALLS_AT if self._pressed else RISES_AT
        self._pressed = saturated or used >= share * limit  # without a spool, always
        return self._pressed
