"""Warnings that are given once."""

from __future__ import annotations

from offcam import logger


class WarnsOnce:
    """Warns once of each problem with what one object records.

    Attributes:
        about: the problems that were warned of.
    """

    def __init__(self) -> None:
        self.about: set[str] = set()

    def __call__(self, about: str, text: str) -> None:
        """Warn, unless there was a warning ``about`` the same before."""
        if about not in self.about:
            self.about.add(about)
            logger.warn(f"{text} (Said once.)")
