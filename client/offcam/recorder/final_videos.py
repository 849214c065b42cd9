"""The videos of a stream that are final."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any


class FinalVideos:
    """The newest final video of a stream, and the final videos that the user has yet to be told of.

    Args:
        on_video: called with the path of each final video.

    Attributes:
        newest: path of the newest final video, or None.
    """

    def __init__(self, on_video: Callable[[str], object] | None = None) -> None:
        self.newest: str | None = None
        self._on_video = on_video
        self._untold: deque[str] = deque()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process begins without videos."""
        return FinalVideos, (self._on_video,)

    def __deepcopy__(self, memo: dict[int, Any]) -> FinalVideos:
        """A copy in this process calls the same function, rather than a copy of the object that it is a method of."""
        return FinalVideos(self._on_video)

    def add(self, path: str) -> None:
        """A video became final. Called on whatever thread received the daemon's message."""
        self.newest = path
        if self._on_video is not None:
            self._untold.append(path)

    def forget(self) -> None:
        """In a forked child: forget the parent's videos."""
        self.newest = None
        self._untold.clear()

    def tell(self) -> None:
        """Call ``on_video``, on the user's thread. What it raises passes through; no video is passed twice."""
        while self._untold:
            path = self._untold.popleft()
            if self._on_video is not None:
                self._on_video(path)
