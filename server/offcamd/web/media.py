"""Video files and their posters. A request names a clip's key, never a path: the run's index says the file."""

from __future__ import annotations

import email.utils
import logging
import os
import re
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from offcam_proto.errors import ConfigError, EncodeError, RunFolderError
from offcam_runs import format as fmt
from offcam_runs.objects.copies import open_video
from offcam_runs.sessions import ALL
from offcamd.video.thumbnails import jpeg, middle_picture
from offcamd.web.lru import LruCache
from offcamd.web.queries import find_clip
from offcamd.web.reading import NoPictureYet, NotHere, NothingNow, is_plain, reading_clips

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from offcam_runs.clips import Clip

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 18
"""Bytes of a video that are read and sent at a time."""

MOST_POSTER_BYTES = 16 << 20
"""Most posters that are kept in memory."""

POSTER_SIDE = 480
"""Longest side of a poster in pixels."""

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open video.

    Attributes:
        source: the file, or the object, open for reading, by one thread at a time.
        name: its file name in the folder.
        size: in bytes.
        changed: when it was last written, in nanoseconds since the epoch.
        lasting: whether it never changes: a clip that is recorded anew has another key.
    """

    source: BufferedReader
    name: str
    size: int
    changed: int
    lasting: bool

    def close(self) -> None:
        """Close it."""
        self.source.close()

    @property
    def cache_control(self) -> str:
        """How long a browser may show it without asking again."""
        return "private, max-age=3600" if self.lasting else "private, no-cache"

    @property
    def etag(self) -> str:
        """A strong entity tag: it differs if any byte does."""
        return f'"{self.changed:x}-{self.size:x}"'

    @property
    def modified(self) -> str:
        """The Last-Modified header: ``changed`` as an HTTP date."""
        return email.utils.formatdate(self.changed // 10**9, usegmt=True)


def open_clip(folder: Path, key: str) -> OpenFile:
    """Open the file of a clip, for reading. The caller closes it.

    Raises:
        NotHere: there is no such clip, it has no file yet, or the file is gone.
        RunFolderError: see `reading`.
    """
    with reading_clips(folder, ALL) as database:
        clip = find_clip(database, folder, key)
    if clip.file is None or clip.state == fmt.RECORDING:
        raise NotHere(f"{clip.name} has no file {'yet: it is being recorded' if clip.file else 'to show'}")
    _check_plain(clip.file)
    if not clip.can_be_had:
        raise NotHere(f"{clip.file} is elsewhere, at {clip.place}: look at it there")
    if not (folder / clip.file).exists() and (found := _open_object(clip)) is not None:
        return found
    return _open_file(folder, clip.file)


def _open_object(clip: Clip) -> OpenFile | None:
    """Open the file of a clip in object storage, of which then only what is looked at is fetched; None for no such."""
    name = str(clip.file)
    try:
        found = open_video(clip.folder, clip.stream_id, clip.clip, clip.stored)
    except (ConfigError, RunFolderError) as error:
        raise NotHere(f"{name} cannot be fetched: {error}") from error
    if found is None:
        return None
    return OpenFile(source=BufferedReader(found), name=name, size=found.size, changed=found.changed, lasting=True)


def open_recording(folder: Path, key: str) -> OpenFile:
    """Open the file of a clip that is being recorded, for reading. The caller closes it.

    Raises:
        NotHere: there is no such clip.
        NothingNow: it is not being recorded.
        NoPictureYet: it has no file yet, or was over just now.
        RunFolderError: see `reading`.
    """
    with reading_clips(folder, ALL) as database:
        clip = find_clip(database, folder, key)
    if clip.file is None or clip.state != fmt.RECORDING:
        raise NothingNow
    try:
        return _open_file(folder, clip.file + fmt.PART_EXTENSION)
    except NotHere as error:
        raise NoPictureYet from error


def _check_plain(name: str) -> None:
    if "/" in name or "\0" in name or name in (".", ".."):
        raise NotHere(f"{name!r} is no plain file name: it is not looked for")


def _open_file(folder: Path, name: str) -> OpenFile:
    """Open a file that an index names. Raises NotHere if it is none of that folder, or cannot be read."""
    _check_plain(name)
    try:
        fd = _open_within(folder, name)
    except OSError as error:
        raise NotHere(f"{name} cannot be read ({error.strerror}): was it moved, or replaced by a link?") from error
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode):
        os.close(fd)
        raise NotHere(f"{name} is no file")
    file = os.fdopen(fd, "rb")
    return OpenFile(source=file, name=name, size=facts.st_size, changed=facts.st_mtime_ns, lasting=not is_plain(folder))


def _open_within(folder: Path, name: str) -> int:
    """Open a file of a folder; it must not be a link, and opening it must not block."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    finally:
        os.close(directory)


# --- videos -------------------------------------------------------------------------------------------------


def requested_range(header: str, size: int) -> tuple[int, int] | None:
    """The first byte, and the one behind the last, that a Range header asks for.

    Returns:
        None if the whole file is to be sent: for no range, several, or one that is not understood (RFC 9110, 14.2).
        An empty range if none of the bytes exists.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        return max(0, size - int(match[2])), size
    first = int(match[1])
    behind = min(size, int(match[2]) + 1) if match[2] else size
    if match[2] and int(match[2]) < first:
        return None
    return first, max(first, behind)


class VideoResponse(Response):
    """A file, or a range of it, read in chunks off the event loop. Always closes the file."""

    def __init__(self, file: OpenFile, request: Mapping[str, str], *, download: bool) -> None:
        self._file = file
        self._begin, self._end = 0, file.size
        status = 200
        kind = "attachment" if download else "inline"
        headers = {
            "accept-ranges": "bytes",
            "etag": file.etag,
            "last-modified": file.modified,
            "cache-control": file.cache_control,
            "content-disposition": f"{kind}; filename*=utf-8''{quote(file.name, safe='')}",
        }
        if request.get("if-none-match") in (file.etag, "*"):
            status, self._end = 304, 0
        elif request.get("if-range", file.etag) in (file.etag, file.modified):
            wanted = requested_range(request.get("range", ""), file.size)
            if wanted is not None and wanted[0] >= wanted[1]:
                status, self._end = 416, 0
                headers["content-range"] = f"bytes */{file.size}"
            elif wanted is not None:
                status, (self._begin, self._end) = 206, wanted
                headers["content-range"] = f"bytes {self._begin}-{self._end - 1}/{file.size}"
        if status != 304:
            headers["content-length"] = str(self._end - self._begin)
        super().__init__(None, status, headers, media_type="video/mp4")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send the answer; to a HEAD request, without a body."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            at = self._begin if scope["method"] != "HEAD" else self._end
            while at < self._end:
                size = min(CHUNK_BYTES, self._end - at)
                chunk = await run_in_threadpool(self._read, size, at)
                if not chunk:
                    return  # the file was truncated, or its storage fails: uvicorn closes the connection
                at += len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._file.close()

    def _read(self, size: int, at: int) -> bytes:
        try:
            self._file.source.seek(at)
            return self._file.source.read(size)
        except OSError as error:
            log.warning("%s could not be read: %s", self._file.name, error)
            return b""


# --- posters ------------------------------------------------------------------------------------------------


class Posters:
    """Pictures from the middle of videos; the latest are kept. Thread-safe; one thread decodes at a time."""

    def __init__(self, most_bytes: int = MOST_POSTER_BYTES) -> None:
        self._decoding = threading.Lock()
        self._kept: LruCache[tuple[Path, str, str], bytes] = LruCache(most_bytes, len)

    def get(self, folder: Path, key: str) -> tuple[bytes, OpenFile]:
        """The JPEG of a clip, and its file, which is closed by then.

        Raises:
            NotHere: there is no such clip, or no picture in it.
            RunFolderError: see `reading`.
        """
        file = open_clip(folder, key)
        try:
            return self._kept.get((folder, file.name, file.etag), lambda: self._make(file)), file
        finally:
            file.close()

    def _make(self, file: OpenFile) -> bytes:
        with self._decoding:  # one at a time: the encoders need the processor more
            try:
                return jpeg(middle_picture(file.source, file.name), POSTER_SIDE)
            except EncodeError as error:
                raise NotHere(f"{file.name} has no picture to show: {error}") from error
