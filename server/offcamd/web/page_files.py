"""The page's own files, from memory: it loads dozens of them at once, and to read one takes longer than to send it."""

from __future__ import annotations

import hashlib
import mimetypes
from typing import TYPE_CHECKING, NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import Response

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

mimetypes.add_type("text/javascript", ".js")  # whatever this host's tables say: browsers run nothing else as a module


class _File(NamedTuple):
    content: bytes
    media_type: str
    etag: str


class PageFiles:
    """The files of a folder, by their names.

    They are read at once, so that all of them are of the version that serves them, whatever is installed meanwhile.

    Args:
        folder: of the page.

    Raises:
        OSError: a file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._files = {path.name: _read(path) for path in folder.iterdir() if path.is_file()}

    def answer(self, name: str, request: Request) -> Response:
        """A file, or that the browser has it already. Raises HTTPException if there is none of that name."""
        file = self._files.get(name)
        if file is None:
            raise HTTPException(404)
        headers = {"etag": file.etag, "cache-control": "no-cache"}  # so that the browser asks for a newer version
        if request.headers.get("if-none-match") == file.etag:
            return Response(None, 304, headers)
        return Response(file.content, headers=headers, media_type=file.media_type)


def _read(path: Path) -> _File:
    content = path.read_bytes()
    kind, _ = mimetypes.guess_type(path.name)
    tag = hashlib.blake2b(content, digest_size=8).hexdigest()
    return _File(content, kind or "application/octet-stream", f'"{tag}"')
