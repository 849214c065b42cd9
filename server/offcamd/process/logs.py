"""The daemon's log: readable on a terminal, JSON lines elsewhere, never larger than two bounded files."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO, cast

import structlog

from offcamd.process.atomic_file import destination

if TYPE_CHECKING:
    from pathlib import Path

MAX_LOG_BYTES = 4 * 1024 * 1024
"""Size at which a log file is set aside as ``<name>.1``, in place of an earlier one."""


class BoundedLog:
    """A text stream onto a file that is set aside when it is full. Safe for threads.

    File descriptor 2 follows the file, so that what C libraries and the interpreter print is in it too. Links are
    followed; a pipe or a device is written into and never set aside.
    """

    def __init__(self, path: Path, limit: int = MAX_LOG_BYTES) -> None:
        to = destination(path)
        self._path = to.file or path
        self._is_file = to.file is not None
        self._limit = limit
        self._mutex = threading.RLock()  # a signal's handler may come in the midst of a write
        self._open()

    def write(self, text: str) -> int:
        """Append text. Where the disk is full it is lost: the daemon has more to lose than its log."""
        with self._mutex, suppress(OSError):
            if self._is_file and os.fstat(2).st_size >= self._limit:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
                self._open()
            _write_all(text.encode(errors="backslashreplace"))
        return len(text)

    def reopen(self) -> None:
        """Go on in the file that has the name now, made where there is none: the other was moved away.

        Raises:
            OSError: it cannot be opened; then the log goes on where it is.
        """
        with self._mutex:
            self._open()

    def flush(self) -> None:
        """Nothing is ever buffered."""

    def isatty(self) -> bool:
        """It is a file."""
        return False

    def _open(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(fd, 2)
        os.close(fd)


class Forgiving:
    """Standard error, but what cannot be written is lost: whoever read it may be gone."""

    def write(self, text: str) -> int:
        """Write text, or lose it."""
        with suppress(OSError):
            return sys.stderr.write(text)
        return 0

    def flush(self) -> None:
        """Flush, if it can be."""
        with suppress(OSError):
            sys.stderr.flush()

    def isatty(self) -> bool:
        """Whether a person reads it."""
        return sys.stderr.isatty()


def configure(level: str, log_file: Path | None = None) -> BoundedLog | None:
    """Set up structlog, and the standard library's logging behind it, for this process.

    Args:
        level: one of `config.LOG_LEVELS`.
        log_file: the file that takes the place of stderr, if any.

    Returns:
        The log, where it has a file.

    Raises:
        ConfigError: the log file cannot be found, as links lead in a circle.
        OSError: it cannot be written.
    """
    if log_file is not None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
    # the methods loggers use; a TextIOWrapper would keep its own position across the files
    own = BoundedLog(log_file) if log_file is not None else Forgiving()
    stream = cast("TextIO", own)
    number = getattr(logging, level.upper())
    before: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*before, *_renderers(tty=stream.isatty())],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(tty=stream.isatty())],
        )
    )
    # other people's libraries tell what is wrong, or everything when we are asked to
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    return own if isinstance(own, BoundedLog) else None


def tail(path: Path, offset: int = 0, lines: int = 10) -> list[str]:
    """The last lines that were written to a log at or behind a byte offset."""
    try:
        with path.open("rb") as file:
            file.seek(max(offset, path.stat().st_size - 64 * 1024))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-lines:]


def _renderers(*, tty: bool) -> list[structlog.typing.Processor]:
    if tty:
        return [structlog.dev.ConsoleRenderer(colors=not os.environ.get("NO_COLOR"))]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(2, data) :]
