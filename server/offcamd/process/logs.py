"""The daemon's log: readable on a terminal, JSON lines elsewhere, never larger than two bounded files.

structlog is loaded with the first line: that takes as long as all else that a daemon needs to take records.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO, cast

from offcamd.process.atomic_file import destination

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import structlog

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


_MOST_HELD = 64
_PATIENT = ("debug", "info")  # methods whose lines can wait
_loading = threading.RLock()
_configure: Callable[[], None] | None = None  # structlog, as `configure` was told; None where that is done


_held: list[Callable[[], object]] = []  # lines that are written once structlog is loaded


class Logger:
    """A logger of structlog's that is made when it is first used.

    Where `configure` was called and structlog is not loaded yet, what is no warning is held back until `load`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._logger: Any = None

    def __getattr__(self, method: str) -> Any:  # noqa: ANN401 - whatever structlog's loggers have
        """A method such as ``info``, which takes what happened, and values by name."""
        if self._logger is None:
            if method in _PATIENT and _configure is not None:
                return partial(self._hold, method)
            self._logger = load().get_logger(self._name)
        return getattr(self._logger, method)

    def _hold(self, method: str, *arguments: object, **values: object) -> None:
        with _loading:
            if _configure is not None and len(_held) < _MOST_HELD:
                _held.append(partial(self._write, method, *arguments, **values))
                return
        load()
        self._write(method, *arguments, **values)

    def _write(self, method: str, *arguments: object, **values: object) -> None:
        getattr(self, method)(*arguments, **values)


def load() -> Any:  # noqa: ANN401 - a module
    """Load structlog, set it up as `configure` was told, and write what was held back. Returns the module."""
    global _configure
    import structlog  # noqa: PLC0415 - see above; not under the lock, which the service's thread takes to hold a line

    with _loading:
        configure_, _configure = _configure, None
        if configure_ is not None:
            configure_()
        held = _held[:]
        _held.clear()
        for line in held:
            line()
    return structlog


class _LateFormatter(logging.Formatter):
    """Formats records of the standard library's as structlog does, which it loads for the first one."""

    def __init__(self, *, tty: bool) -> None:
        super().__init__()
        self._tty = tty
        self._formatter: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._formatter is None:
            stdlib = load().stdlib
            self._formatter = stdlib.ProcessorFormatter(
                foreign_pre_chain=_before(),
                processors=[stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(tty=self._tty)],
            )
        return self._formatter.format(record)


def configure(level: str, log_file: Path | None = None) -> BoundedLog | None:
    """Set up the standard library's logging for this process, and `Logger` behind it.

    Args:
        level: one of `config.LOG_LEVELS`.
        log_file: the file that takes the place of stderr, if any.

    Returns:
        The log, where it has a file.

    Raises:
        ConfigError: the log file cannot be found, as links lead in a circle.
        OSError: it cannot be written.
    """
    global _configure  # noqa: PLW0603 - see `load`
    if log_file is not None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
    # the methods loggers use; a TextIOWrapper would keep its own position across the files
    own = BoundedLog(log_file) if log_file is not None else Forgiving()
    stream = cast("TextIO", own)
    number, tty = getattr(logging, level.upper()), stream.isatty()
    with _loading:
        _configure = partial(_configure_structlog, number, stream, tty=tty)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_LateFormatter(tty=tty))
    # other people's libraries tell what is wrong, or everything when we are asked to
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    return own if isinstance(own, BoundedLog) else None


def _configure_structlog(number: int, stream: TextIO, *, tty: bool) -> None:
    import structlog  # noqa: PLC0415 - see above

    structlog.configure(
        processors=[*_before(), *_renderers(tty=tty)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )


def _before() -> list[structlog.typing.Processor]:
    """What is done to a record before it is written."""
    import structlog  # noqa: PLC0415 - see above

    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


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
    import structlog  # noqa: PLC0415 - see above

    if tty:
        return [structlog.dev.ConsoleRenderer(colors=not os.environ.get("NO_COLOR"))]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(2, data) :]
