"""A line on stderr for waits that last longer than a blink."""

from __future__ import annotations

import sys
import time

BLINK_SECONDS = 0.5
_EVERY_SECONDS = 0.2


class Progress:
    """Shows ``title: state`` while a ``with`` block lasts; on a terminal the line is rewritten in place.

    Args:
        title: what is going on.
        always: whether to show it at once, and also where stderr is no terminal (then one line at the start).
    """

    def __init__(self, title: str, *, always: bool = False) -> None:
        self._title = title
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._silent = sys.stderr is None or not (always or self._terminal)
        self._next = time.monotonic() + (0.0 if always else BLINK_SECONDS)
        self._width = 0
        self._shown = False

    def __enter__(self) -> Progress:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        return self

    def show(self, state: str) -> None:
        """Say where things stand, at most a few times a second."""
        now = time.monotonic()
        if self._silent or now < self._next or (self._shown and not self._terminal):
            return
        self._next = now + _EVERY_SECONDS
        line = f"{self._title}: {state}"
        if self._terminal:
            sys.stderr.write(f"\r{line.ljust(self._width)}")
            self._width = len(line)
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
        self._shown = True

    def __exit__(self, *_: object) -> None:
        if self._shown and self._terminal:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
