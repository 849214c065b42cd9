"""The videos of a stream that are final."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any


class FinalVideos:
    """The newest of a stream's videos that is final, and those that the user was not told of yet.

    Args:
        on_video: is called with each one's path.

    Attributes:
        newest: path of the newest one, or None.
    """

    def __init__(self, on_video: Callable[[str], object] | None = None) -> None:
        self.newest: str | None = None
        self._on_video = on_video
        self._untold: deque[str] = deque()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process has videos of its own."""
        return FinalVideos, (self._on_video,)

    def __deepcopy__(self, memo: dict[int, Any]) -> FinalVideos:
        """One in this process tells the same function, not a copy of the object that it is a method of."""
        return FinalVideos(self._on_video)

    def add(self, path: str) -> None:
        """One became final. On whatever thread took in the daemon's word."""
        self.newest = path
        if self._on_video is not None:
            self._untold.append(path)

    def forget(self) -> None:
        """A fork's are its parent's."""
        self.newest = None
        self._untold.clear()

    def tell(self) -> None:
        """Call ``on_video``, on the user's thread; what it raises comes through, and no video is told twice."""
        while self._untold:
            path = self._untold.popleft()
            if self._on_video is not None:
                self._on_video(path)
