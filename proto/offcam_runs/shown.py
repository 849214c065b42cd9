"""What `offcam.show` shows of runs: their numbers, their curves, and their newest videos, as HTML and as text."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from offcam_runs import format as fmt
from offcam_runs import notebook
from offcam_runs.analysis.curves import default_window
from offcam_runs.chart import Line, sparkline, svg
from offcam_runs.discover import labels
from offcam_runs.run import HEADS, cells

if TYPE_CHECKING:
    from offcam_runs.clips import Clip
    from offcam_runs.run import Run

MOST_BYTES: Final = 2_000_000
"""Most bytes that are put into a notebook, which is saved with them."""

FOR_A_CAPTION: Final = 4_000
"""Bytes reserved for the text of each video."""


@dataclass(frozen=True, repr=False)
class Shown:
    """Runs, as a notebook or a terminal shows them.

    Attributes:
        runs: the runs.
        quantity: what the curves are of: returns, lengths, durations, or a value by its name in ``episodes.info``.
        videos: how many of the newest videos are shown at most.
    """

    runs: tuple[Run, ...]
    quantity: str = "return"
    videos: int = 3

    def __repr__(self) -> str:
        """Text."""
        return "\n".join(self._lines()) if self.runs else "nothing is recorded yet"

    def _repr_html_(self) -> str:
        """HTML of at most `MOST_BYTES`, in the theme's own colours. A video that has no room in it is named."""
        if not self.runs:
            return f"<div>{self!r}</div>"
        parts = [notebook.table(HEADS, map(cells, self.runs)), svg(self._curves(), self.quantity)]
        clips = self._newest()
        left = MOST_BYTES - sum(len(part.encode()) for part in parts) - FOR_A_CAPTION * (len(clips) + 1)
        for clip in clips:
            part = clip.as_html(most_bytes=max(left, 0) * 3 // 4)  # base64 has four characters for three bytes
            parts.append(part)
            left -= max(len(part) - FOR_A_CAPTION, 0)
        begin, rest = "".join(parts[:2]), "".join(parts[2:])
        return f'{begin}<div style="display:flex;flex-wrap:wrap;gap:8px">{rest}</div>'

    def _lines(self) -> Iterator[str]:
        yield from notebook.text_table(HEADS, map(cells, self.runs))
        for line in self._curves():
            if bars := sparkline(line.curve.y):
                yield f"{self.quantity} {bars} {line.name if len(self.runs) > 1 else ''}".rstrip()
        for clip in self._newest():
            yield f"{clip.path}: {', '.join(clip.numbers)}"

    def _curves(self) -> list[Line]:
        names = labels([run.folder for run in self.runs])
        curves = [run.smooth(self.quantity, "episode", default_window(len(run.episodes))) for run in self.runs]
        return [Line(name, curve) for name, curve in zip(names, curves, strict=True)]

    def _newest(self) -> list[Clip]:
        """The newest videos that are whole, the last one first."""
        clips = [clip for run in self.runs for clip in run.clips if clip.state != fmt.RECORDING]
        clips.sort(key=lambda clip: clip.started)
        found: list[Clip] = []
        for clip in reversed(clips):
            if len(found) == self.videos:
                break
            if clip.path is not None and os.path.exists(clip.path):
                found.append(clip)
        return found
