"""A daemon like `offcam serve` whose encoder takes the seconds a frame that its first argument says.

With ``--fail-after N`` its encoder fails as if the disk were full after N frames of each clip. With ``--gate FILE`` it
takes no frame until there is that file: a test that needs frames to wait says so, and depends on nobody's speed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import likeserve

from offcam_proto.errors import EncodeError
from offcamd.video.mp4 import VideoWriter


class SlowWriter(VideoWriter):
    """Encodes like the real one, only later."""

    seconds = 0.0
    fail_after = sys.maxsize
    gate: Path | None = None

    def write(self, i420, pts):
        while self.gate and not self.gate.exists():
            time.sleep(0.005)
        time.sleep(self.seconds)
        if pts >= self.fail_after:
            raise EncodeError("no space left: this is a test", "disk_full")
        super().write(i420, pts)


def main() -> None:
    SlowWriter.seconds = float(sys.argv[1])
    flags = dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
    SlowWriter.fail_after = int(flags.pop("--fail-after", sys.maxsize))
    SlowWriter.gate = Path(flags.pop("--gate")) if "--gate" in flags else None
    likeserve.run(SlowWriter, {name[2:].replace("-", "_"): value for name, value in flags.items()})


if __name__ == "__main__":
    main()
