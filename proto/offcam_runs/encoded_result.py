"""How the encoder ended a clip: what it makes, and what the index keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class EncodedResult:
    """How the encoder ended a clip.

    Attributes:
        state: ``final``, ``recovered`` (found after a crash) or ``aborted`` (cut off or failed).
        file: file name within the folder, None where no file was written. One that is cut off has its final name only
            where no older file had it.
        encoded: frames in it.
        dropped: frames that came and are not in it, by one of `offcam_runs.format.ENCODER_DROPS`: ``disk_full``,
            ``encoder`` and ``io`` name what failed, ``frame`` one whose pixels are no picture, ``order`` one whose
            index did not grow, ``shutdown`` those for which no time was left.
        width: of the video in pixels, None where no file was written; so are the next four.
        height: of the video in pixels.
        file_bytes: size of the file.
        duration: of the video in seconds.
        encode_seconds: time spent encoding.
        error: what went wrong, for people; empty where nothing did.
    """

    state: Literal["final", "recovered", "aborted"]
    file: str | None
    encoded: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    width: int | None = None
    height: int | None = None
    file_bytes: int | None = None
    duration: float | None = None
    encode_seconds: float | None = None
    error: str = ""
