"""The daemon as it is, but that it does not know the question of how far a run came, as an earlier one does not."""

from __future__ import annotations

import sys

import likeserve

from offcam_proto import codec
from offcam_proto.resuming import RunRequest

del codec._CLIENT[RunRequest.TYPE]


if __name__ == "__main__":
    likeserve.run(flags={name[2:]: value for name, value in zip(sys.argv[1::2], sys.argv[2::2], strict=True)})
