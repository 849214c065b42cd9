"""Warnings that are given once."""

from __future__ import annotations

from offcam import logger


class WarnsOnce:
    """Warns once of each thing that is the matter with what one object records.

    Attributes:
        about: what was warned of.
    """

    def __init__(self) -> None:
        self.about: set[str] = set()

    def __call__(self, about: str, text: str) -> None:
        """Warn, but for what was warned ``about`` before."""
        if about not in self.about:
            self.about.add(about)
            logger.warn(f"{text} (Said once.)")
