"""Files that a user named: they appear whole or not at all, and only regular files are replaced."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from offcam_proto.errors import ConfigError

STDOUT = Path("-")

_MOST_LINKS = 40
_OPEN_FILES = ("/proc/", "/dev/fd")
"""Folders whose links lead to files that are open already. These have no path at which they could be replaced."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where data written to a path goes.

    Attributes:
        path: as the user gave it; ``-`` is stdout.
        file: the file that is made or replaced, links followed. None for something that is open or is written into:
            stdout, a pipe, a device.
        is_stdout: whether it is this process's stdout, however it was named.
    """

    path: Path
    file: Path | None
    is_stdout: bool = False

    @property
    def exists(self) -> bool:
        """Whether there is a file that would be replaced."""
        return self.file is not None and self.file.exists()


def destination(path: Path) -> Destination:
    """Where data written to a path goes.

    Raises:
        ConfigError: that cannot be found out, as links form a circle, or a folder may not be looked into.
    """
    if path == STDOUT:
        return Destination(path, None, is_stdout=True)
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        status = None
    except OSError as error:
        raise _cannot(path, error) from error
    if status is not None:
        if _is_stdout(status):
            return Destination(path, None, is_stdout=True)
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            return Destination(path, None)
    return Destination(path, _follow(path))


@contextmanager
def replacing(path: Path, ending: str | None = None) -> Iterator[Path]:
    """Write a file that replaces what a path leads to once it is whole; on an error it is removed.

    A link stays, and its target is replaced. For stdout, a pipe or a device the whole file is copied there in the end.

    Args:
        path: the path as the user gave it.
        ending: of the path that is yielded; by default that of ``path``.

    Yields:
        The path of a hidden file in the folder of the file that it is to replace.

    Raises:
        ConfigError: ``path`` cannot be written.
        OSError: ``path`` is stdout, which cannot be written.
    """
    to = destination(path)
    ending = path.suffix if ending is None else ending
    if to.file is None:
        try:
            with tempfile.TemporaryDirectory(prefix="offcam-") as scratch:
                unfinished = Path(scratch, f"whole{ending}")
                yield unfinished
                _pour(unfinished, to)
        except OSError as error:
            if to.is_stdout:
                raise  # `exit_codes.after` tells of errors of stdout
            raise _cannot(path, error) from error
        return
    unfinished = to.file.with_name(f".{to.file.stem[:200]}-{secrets.token_hex(4)}{ending}")
    try:
        to.file.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        with unfinished.open("rb+") as file:
            if to.exists:
                os.fchmod(file.fileno(), stat.S_IMODE(to.file.stat().st_mode))
            os.fsync(file.fileno())
        unfinished.replace(to.file)
    except OSError as error:
        raise _cannot(path, error) from error
    finally:
        with suppress(OSError):  # the file was renamed, or never made
            unfinished.unlink()


def _pour(whole: Path, to: Destination) -> None:
    with whole.open("rb") as source:
        if to.is_stdout:
            sys.stdout.flush()
            shutil.copyfileobj(source, sys.stdout.buffer)
            sys.stdout.flush()
            return
        with to.path.open("wb") as sink:
            shutil.copyfileobj(source, sink)


def _is_stdout(status: os.stat_result) -> bool:
    try:
        return os.path.samestat(status, os.fstat(1))
    except OSError:  # stdout is closed
        return False


def _follow(path: Path) -> Path | None:
    """The path that links lead to in the end; None if they lead through one of the system's to an open file."""
    for _ in range(_MOST_LINKS):
        if f"{path.parent.resolve()}/".startswith(_OPEN_FILES):
            return None
        if not path.is_symlink():
            return path
        path = path.parent / path.readlink()
    raise _cannot(path, OSError(errno.ELOOP, os.strerror(errno.ELOOP)))


def _cannot(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path} cannot be written ({error.strerror or error}): give another path, or make room")
