"""A daemon like `offcam serve` that notes, in a place that outlives it, how many frames its muxer has taken.

Its first argument is a folder: for each video there is a file in it, whose first eight bytes are that number. They
are shared memory: what was written there before a SIGKILL is there after it.
"""

from __future__ import annotations

import mmap
import struct
import sys
from pathlib import Path

import likeserve

from offcamd.video.mp4 import VideoWriter

COUNT = struct.Struct("<Q")


class CountingWriter(VideoWriter):
    """Counts a picture once the muxer has taken it, which is when `write` returns."""

    folder = Path()

    def __init__(self, path, **settings):
        super().__init__(path, **settings)
        with (self.folder / path.name).open("wb+") as file:
            file.truncate(COUNT.size)
            self._shared = mmap.mmap(file.fileno(), COUNT.size)
        self._count = 0

    def write(self, i420, pts):
        super().write(i420, pts)
        self._count += 1
        COUNT.pack_into(self._shared, 0, self._count)

    def close(self):
        super().close()
        if not self._shared.closed:
            self._shared.close()


def main() -> None:
    CountingWriter.folder = Path(sys.argv[1])
    likeserve.run(CountingWriter)


if __name__ == "__main__":
    main()
