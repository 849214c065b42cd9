"""The video library (PyAV): its version, paths as it takes them, and its errors as EncodeErrors."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError

if TYPE_CHECKING:
    from pathlib import Path

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def libraries() -> str:
    """Names and versions of the libraries that make and read videos here, for people."""
    import av  # noqa: PLC0415 - a daemon takes records before it has loaded it

    codec = ".".join(map(str, av.library_versions.get("libavcodec", ())))
    return f"PyAV {av.__version__}, libavcodec {codec or 'of an unknown version'}"


def _library_errors() -> tuple[type[Exception], ...]:
    """The exceptions of the video library; none as long as it is not loaded."""
    return (sys.modules["av.error"].FFmpegError,) if "av.error" in sys.modules else ()


@contextmanager
def as_encode_error(doing: str, path: Path) -> Iterator[None]:
    """Turn what av or the operating system raises within the ``with`` block into an EncodeError with its reason."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, (OSError, *_library_errors())):
            if isinstance(error, ValueError):
                raise EncodeError(f"the encoder refused {doing} {path}: {error}") from error
            raise
        code = getattr(error, "errno", None)
        if code in _NO_SPACE:
            message = f"no space left while {doing} {path}: free some, or record elsewhere ({error})"
            raise EncodeError(message, "disk_full") from error
        if isinstance(error, OSError):
            raise EncodeError(f"the operating system failed {doing} {path}: {error}", "io") from error
        raise EncodeError(f"the encoder failed {doing} {path}: {error}") from error


def file_url(path: Path) -> str:
    """A path as a ``file:`` URL for av, so that no file name is taken for another protocol; or EncodeError."""
    text = os.fspath(path)
    if "\0" in text:
        raise EncodeError(f"a video's path cannot hold a NUL character: {text!r}", "io")
    return f"file:{text}"
