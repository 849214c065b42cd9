"""A clip's video while it is recorded: its file is sent as it grows, so that nothing is made for who looks."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from offcamd.video.growing import GrowingVideo, codec_of
from offcamd.web.media import open_recording
from offcamd.web.reading import NoPictureYet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import ExitStack

    from starlette.types import Receive, Scope, Send

    from offcamd.web.reading import AskedRun

LOOK_SECONDS = 0.1
"""How often the file is looked at for what has been written since, in seconds."""

FIRST_PICTURE_SECONDS = 5.0
"""How long somebody who cannot wait for other programs is let wait for a clip's first picture."""

MOST_WATCHED = 16
"""Most clips that are watched at a time, of all pages together."""


class LiveVideo:
    """The file of one clip that is being recorded, from its start on. The owner closes it.

    Args:
        asked: the run.
        key: of the clip.

    Raises:
        NotHere: there is no such clip.
        NothingNow: it is not being recorded.
        NoPictureYet: it is, and nothing of it has been encoded.
        RunFolderError: see `reading`.
    """

    def __init__(self, asked: AskedRun, key: str) -> None:
        self._file = open_recording(asked.folder, key)
        self._path = asked.folder / self._file.name
        self._growing = GrowingVideo(self._file.source.fileno())
        try:
            self.beginning = self._growing.more()
        except OSError:
            self.close()
            raise
        codec = codec_of(self.beginning)
        if codec is None:
            self.close()
            raise NoPictureYet
        self.media_type = f'video/mp4; codecs="{codec}"'

    def more(self) -> bytes | None:
        """What has been written since; None once nothing more is to come."""
        # First: what is written before its name goes is still read.
        gone = not self._named()
        piece = self._growing.more()
        return None if not piece and (gone or self._growing.over) else piece

    def _named(self) -> bool:
        """Whether the file still has its name: it loses it when the clip is over, whatever becomes of that."""
        try:
            return os.path.samestat(os.lstat(self._path), os.fstat(self._file.source.fileno()))
        except OSError:
            return False

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class LiveVideos:
    """Sends clips while they are recorded, to as many pages as may look. For the event loop's thread.

    Args:
        stopping: whether the server is about to stop.
    """

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self._stopping = stopping
        self._watched: set[LiveVideo] = set()

    @property
    def full(self) -> bool:
        """Whether as many are watched as may be."""
        return len(self._watched) >= MOST_WATCHED

    async def begin(self, opened: Callable[[], Awaitable[LiveVideo]], patience: float) -> LiveVideo:
        """Open a clip's video.

        Args:
            opened: opens it.
            patience: how long its first picture is waited for, in seconds.

        Raises:
            NothingNow: it is not being recorded, or has still no picture.
        """
        give_up = time.monotonic() + patience
        while True:
            try:
                return await opened()
            except NoPictureYet:
                if self._stopping() or time.monotonic() >= give_up:
                    raise
            await asyncio.sleep(LOOK_SECONDS)

    async def pieces(self, video: LiveVideo) -> AsyncIterator[bytes]:
        """A clip's bytes, until it is over or the server stops."""
        self._watched.add(video)
        try:
            piece: bytes | None = video.beginning
            while piece is not None and not self._stopping():
                if piece:
                    yield piece
                else:
                    await asyncio.sleep(LOOK_SECONDS)
                piece = await run_in_threadpool(video.more)
        finally:
            self._watched.discard(video)


class LiveResponse(StreamingResponse):
    """Sends a `LiveVideo` until it is over or whoever asked has gone, and then closes what is to be closed."""

    def __init__(self, video: LiveVideo, videos: LiveVideos, closing: ExitStack) -> None:
        self._closing = closing
        super().__init__(videos.pieces(video), media_type=video.media_type, headers={"x-accel-buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; to a HEAD request, without a body."""
        if scope["method"] == "HEAD":
            self.body_iterator = _nothing()
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._closing.close()


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield
