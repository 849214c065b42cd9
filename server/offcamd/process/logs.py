"""The daemon's log: for people on a terminal, JSON lines elsewhere; never larger than two bounded files."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TextIO, cast

from offcamd.process.atomic_file import destination

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter  # Python 3.10 cannot subscript it

MAX_LOG_BYTES = 4 * 1024 * 1024
"""Size in bytes at which a log file is renamed to ``<name>.1``, replacing an earlier one."""


class BoundedLog:
    """A text stream to a file that is renamed when it is full. Thread-safe.

    File descriptor 2 follows the file, so that the output of C libraries and of the interpreter is in it, too. Links
    are followed; a pipe or a device is never renamed.
    """

    def __init__(self, path: Path, limit: int = MAX_LOG_BYTES) -> None:
        to = destination(path)
        self._path = to.file or path
        self._is_file = to.file is not None
        self._limit = limit
        self._mutex = threading.RLock()  # reentrant, as a signal's handler may log in the midst of a write
        self._open()

    def write(self, text: str) -> int:
        """Append text. On a full disk the text is lost: recording matters more than the log."""
        with self._mutex, suppress(OSError):
            if self._is_file and os.fstat(2).st_size >= self._limit:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
                self._open()
            _write_all(text.encode(errors="backslashreplace"))
        return len(text)

    def reopen(self) -> None:
        """Go on in the file that has the name now, or in a new one: the old one was moved away.

        Raises:
            OSError: the file cannot be opened; the log then stays where it is.
        """
        with self._mutex:
            self._open()

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def _open(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(fd, 2)
        os.close(fd)


class Logger(_Adapter):
    """A logger whose methods take named values, as in ``log.info("a client came", pid=7)``."""

    def __init__(self, name: str) -> None:
        super().__init__(logging.getLogger(name), {})

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401 - as it is there
        """Move the values into ``extra``, where the formatters find them; see `logging.LoggerAdapter`."""
        return msg, {"exc_info": kwargs.pop("exc_info", None), "extra": {"values": kwargs}}


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Whether a record is logged: of other packages, only warnings and errors."""
    return hasattr(record, "values") or record.levelno >= logging.WARNING


class _JsonLines(logging.Formatter):
    """Formats a record as a line of JSON: its values, ``event``, ``level``, ``timestamp``, maybe ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        said = {**getattr(record, "values", {}), "event": record.getMessage(), "level": record.levelname.lower()}
        said["timestamp"] = _time_of(record)
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str)


class _PlainLines(logging.Formatter):
    """Formats a record as a line for people, with colours unless NO_COLOR is set (https://no-color.org)."""

    def format(self, record: logging.LogRecord) -> str:
        values = "".join(f" {name}={value!r}" for name, value in getattr(record, "values", {}).items())
        level = f"{record.levelname.lower():7}"
        if record.levelno >= logging.WARNING and not os.environ.get("NO_COLOR"):
            level = f"\033[{31 if record.levelno >= logging.ERROR else 33}m{level}\033[0m"
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{_time_of(record)} {level} {record.getMessage()}{values}{trace}"


def _time_of(record: logging.LogRecord) -> str:
    return f"{datetime.fromtimestamp(record.created, timezone.utc).replace(tzinfo=None).isoformat()}Z"


def configure(level: str, log_file: Path | None = None) -> BoundedLog | None:
    """Set up logging for this process.

    Args:
        level: one of `config.LOG_LEVELS`.
        log_file: a file in place of stderr, if any.

    Returns:
        The log file's stream; None for stderr.

    Raises:
        ConfigError: the log file cannot be found, as links form a circle.
        OSError: it cannot be written.
    """
    if log_file is not None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
    own = BoundedLog(log_file) if log_file is not None else None
    # BoundedLog has the methods that a handler uses. It is no TextIOWrapper, which would buffer across the files.
    handler = logging.StreamHandler(cast("TextIO", own) if own else sys.stderr)
    handler.setFormatter(_PlainLines() if own is None and sys.stderr.isatty() else _JsonLines())
    handler.addFilter(_is_worth_a_line)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    return own


def tail(path: Path, offset: int = 0, lines: int = 10) -> list[str]:
    """The last lines that were written to a log from a byte offset on."""
    try:
        with path.open("rb") as file:
            file.seek(max(offset, path.stat().st_size - 64 * 1024))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-lines:]


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(2, data) :]
