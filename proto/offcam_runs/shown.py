"""What `offcam.show` shows of runs, as HTML and as text: numbers, curves, the newest videos, and one run's parts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from offcam_runs import format as fmt
from offcam_runs import notebook
from offcam_runs.analysis import STAGES
from offcam_runs.analysis.curves import default_window
from offcam_runs.chart import Line, sparkline, svg
from offcam_runs.discover import labels
from offcam_runs.filmed import PICKS
from offcam_runs.run import HEADS, cells

if TYPE_CHECKING:
    from offcam_runs.clips import Clip
    from offcam_runs.filmed import Filmed, Shot
    from offcam_runs.run import Run

    _Part = tuple[str, list[tuple[str, Shot]]]

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
        filmed: the run with its videos, where it is one: of each part the best, median and worst are shown, too.
    """

    runs: tuple[Run, ...]
    quantity: str = "return"
    videos: int = 3
    filmed: Filmed | None = None

    def __repr__(self) -> str:
        """Text."""
        return "\n".join(self._lines()) if self.runs else "nothing is recorded yet"

    def _repr_html_(self) -> str:
        """HTML of at most `MOST_BYTES`, in the theme's own colours. A video that has no room in it is named."""
        if not self.runs:
            return f"<div>{self!r}</div>"
        parts = [notebook.table(HEADS, map(cells, self.runs)), svg(self._curves(), self.quantity)]
        clips, stages = self._newest(), self._parts()
        captions = len(clips) + sum(len(picks) for _, picks in stages) + 1
        left = MOST_BYTES - sum(len(part.encode()) for part in parts) - FOR_A_CAPTION * captions
        for clip in clips:
            part = clip.as_html(most_bytes=max(left, 0) * 3 // 4)  # base64 has four characters for three bytes
            parts.append(part)
            left -= max(len(part) - FOR_A_CAPTION, 0)
        begin, rest = "".join(parts[:2]), "".join(parts[2:])
        return f'{begin}<div style="display:flex;flex-wrap:wrap;gap:8px">{rest}</div>{_strip(stages, left)}'

    def _lines(self) -> Iterator[str]:
        yield from notebook.text_table(HEADS, map(cells, self.runs))
        for line in self._curves():
            if bars := sparkline(line.curve.y):
                yield f"{self.quantity} {bars} {line.name if len(self.runs) > 1 else ''}".rstrip()
        for clip in self._newest():
            yield f"{clip.path}: {', '.join(clip.numbers)}"
        for heading, picks in self._parts():
            said = [f"{pick} {notebook.number(shot.episode.return_)} ({shot.clip.path})" for pick, shot in picks]
            yield f"{heading}: {', '.join(said)}"

    def _parts(self) -> list[_Part]:
        """Of each part of the run in which there is a video: which episodes it has, and what was chosen of them."""
        found: list[_Part] = []
        filmed = self.filmed
        if filmed is None:
            return found
        for stage in filmed.stages(STAGES):
            picks = [(pick, stage.picked(pick)) for pick in PICKS]
            shots: list[tuple[str, Shot]] = [(pick, filmed.at(place)) for pick, place in picks if place is not None]
            if shots:
                found.append((f"episodes {stage.begin + 1:,} to {stage.end:,} of all", shots))
        return found

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
            if (path := clip.fetch()) is not None and os.path.exists(path):
                found.append(clip)
        return found


def _strip(stages: Sequence[_Part], left: int) -> str:
    """The parts of a run side by side; of their videos those that have room in so many bytes, each once."""
    parts, there = [], set[str]()
    for heading, picks in stages:
        cells = []
        for pick, shot in picks:
            clip, title = shot.clip, f"{pick}: episode {shot.episode.episode}"
            numbers = [f"return {notebook.number(shot.episode.return_)}"]
            if clip.path in there:
                cells.append(f"<div><b>{title}</b>: {numbers[0]}</div>")
                continue
            there.add(str(clip.path))
            cells.append(notebook.captioned_video(clip.fetch(), title, numbers, max(left, 0) * 3 // 4))
            left -= max(len(cells[-1]) - FOR_A_CAPTION, 0)
        parts.append(f'<div style="flex:1 0 110px">{heading}{"".join(cells)}</div>')
    return f'<div style="display:flex;overflow-x:auto;gap:8px">{"".join(parts)}</div>' if parts else ""
