"""Looking at what was recorded: pictures and times in a file, and what the index says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import av
import numpy as np

from envs import decode
from offcam_runs.run import read_run
from offcamd.reports.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction
    from pathlib import Path

    from numpy.typing import NDArray

    from offcam_runs.clips import Clip
    from offcam_runs.episodes import Episode


class Shot(NamedTuple):
    """One picture of a film: when it is shown, and its RGB pixels ``(height, width, 3)``."""

    time: Fraction
    rgb: NDArray[np.uint8]


def shots(path: Path) -> Iterator[Shot]:
    """The pictures of a video."""
    with av.open(f"file:{path}") as container:
        for frame in container.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            yield Shot(frame.pts * frame.time_base, frame.to_ndarray(format="rgb24"))


def numbers(path: Path, height: int = 84, width: int = 84) -> list[int]:
    """The numbers that the frames of a `Barcode` env show."""
    return [decode(shot.rgb, height, width) for shot in shots(path)]


def videos(folder: Path) -> list[str]:
    """Names of the videos in a folder."""
    return sorted(path.name for path in folder.glob("*.mp4*"))


def clips(folder: Path) -> dict[str, Clip]:
    """The clips of a run by file name; where there is no file by name, and by name and part beyond the first."""
    return {
        clip.file or (clip.name if clip.part == 1 else f"{clip.name}-part{clip.part}"): clip
        for clip in read_run(folder, "all").clips
    }


def episodes(folder: Path) -> list[Episode]:
    """The episodes of a run in order of arrival."""
    return list(read_run(folder, "all").episodes)


def check(folder: Path) -> None:
    """Require what `offcam verify` requires, and that every offered frame of every clip is accounted for."""
    verdict = verify(folder)
    clips = read_run(folder, "all").clips
    blank = bool(clips) and not any(clip.frames for clip in clips)  # there is no video to look into, which verify says
    assert [problem for problem in verdict.problems if not (blank and problem.kind == "unchecked")] == []
    assert not verdict.notes, verdict.notes
    for clip in clips:
        assert clip.state != "recording"
        assert clip.offered == clip.frames + sum(clip.dropped.values()), clip


def close(one: NDArray[np.uint8], other: NDArray[np.uint8], levels: float = 4.0) -> bool:
    """Whether two pictures differ by only a few levels on average, as they may after compression."""
    height, width = min(one.shape[0], other.shape[0]), min(one.shape[1], other.shape[1])
    difference = np.abs(one[:height, :width].astype(float) - other[:height, :width].astype(float))
    return float(difference.mean()) < levels
