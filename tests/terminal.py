"""A terminal of one's own, to see what programs show to people."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

_CODES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[=>])")


class Terminal:
    """Runs a command in a terminal of a size; ``with`` ends it in any case.

    Attributes:
        process: the command's.
        raw: all it has written so far.
    """

    def __init__(self, command: Sequence[str], *, columns: int = 100, rows: int = 24) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._slave = slave  # kept, so that its state can be looked at when the command has gone
        self.before = termios.tcgetattr(slave)
        self.raw = ""
        self._read = 0
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - or Ctrl-C is a mere letter
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self._slave)
        os.close(self._master)

    def until(self, text: str) -> str:
        """Wait until it shows a text that was not shown before the last call; returns what came, without codes."""

        def is_shown() -> bool:
            over = self.process.poll() is not None  # asked before its last words are read
            self._take(0.05)
            assert text in plain(self.raw[self._read :]) or not over, f"it left without showing {text!r}"
            return text in plain(self.raw[self._read :])

        wait_until(is_shown, f"{text!r} is shown", self._all)
        shown = plain(self.raw[self._read :])
        self._read = len(self.raw)
        return shown

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def hang_up(self) -> None:
        """Close it under whatever runs in it."""
        os.close(self._master)
        self._master = os.open(os.devnull, os.O_RDWR)

    def left(self) -> int:
        """Wait until it has left; its exit code."""
        wait_until(lambda: self.process.poll() is not None or self._take(0.05), "it has left", self._all)
        self._take(0)
        return self.process.returncode

    def _all(self) -> str:
        return plain(self.raw)

    @property
    def as_before(self) -> bool:
        """Whether it left the terminal as it was: its mode, the screen and the cursor."""
        screens = re.findall(r"\x1b\[\?1049([hl])", self.raw)
        cursors = re.findall(r"\x1b\[\?25([hl])", self.raw)
        return termios.tcgetattr(self._slave) == self.before and screens[-1:] != ["h"] and cursors[-1:] != ["l"]

    def _take(self, seconds: float) -> None:
        with contextlib.suppress(OSError):
            while select.select([self._master], [], [], seconds)[0]:
                self.raw += os.read(self._master, 65536).decode(errors="replace")
                seconds = 0


def plain(raw: str) -> str:
    """What was written, without the codes for colours and places."""
    return _CODES.sub("", raw)
