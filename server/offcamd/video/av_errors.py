"""The video library: which it is, how it takes a path, and what its errors mean to whoever records."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import av
import av.error

from offcam_proto.errors import EncodeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def libraries() -> str:
    """The libraries that make and read videos here, and their versions."""
    codec = ".".join(map(str, av.library_versions.get("libavcodec", ())))
    return f"PyAV {av.__version__}, libavcodec {codec or 'of an unknown version'}"


@contextmanager
def as_encode_error(doing: str, path: Path) -> Iterator[None]:
    """Turn what av or the operating system raises into an EncodeError with its reason."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        code = error.errno
        if code in _NO_SPACE:
            message = f"no space left while {doing} {path}: free some, or record elsewhere ({error})"
            raise EncodeError(message, "disk_full") from error
        if isinstance(error, OSError):
            raise EncodeError(f"the operating system failed {doing} {path}: {error}", "io") from error
        raise EncodeError(f"the encoder failed {doing} {path}: {error}") from error
    except ValueError as error:
        raise EncodeError(f"the encoder refused {doing} {path}: {error}") from error


def file_url(path: Path) -> str:
    """A path as av takes it; with the prefix no name is mistaken for another protocol."""
    text = os.fspath(path)
    if "\0" in text:
        raise EncodeError(f"a video's path cannot hold a NUL character: {text!r}", "io")
    return f"file:{text}"
