"""Runs and clips as HTML, for notebooks. Everything in it that came from a run is escaped."""

from __future__ import annotations

import base64
import math
import os
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offcam_runs.run import Clip, Run

INLINE_BYTES = 8 * 2**20
"""Largest file that is put into the notebook itself; of a larger one the path is shown."""

LAST = 100


def clip_html(clip: Clip) -> str:
    """A clip: its video, and its numbers under it."""
    numbers = [f"episode {clip.episode}", f"return {_number(clip.return_)}"]
    if clip.length is not None:
        numbers.append(f"{clip.length:,} steps")
    numbers.append(f"{clip.frames:,} frames at {_number(clip.fps)} fps")
    if dropped := sum(clip.dropped.values()):
        numbers.append(f"{dropped:,} dropped")
    if clip.state != "final":
        numbers.append(clip.state)
    if clip.error:
        numbers.append(clip.error)
    title = f"<b>{escape(clip.file or clip.name)}</b>"
    return f'<div style="max-width:640px">{_video(clip)}<div>{title}: {escape(", ".join(numbers))}</div></div>'


def run_html(run: Run) -> str:
    """A run: its numbers, and its last video that can be shown."""
    shown = next((clip for clip in reversed(run.clips) if clip.path and os.path.exists(clip.path)), None)
    return runs_html([run]) + (clip_html(shown) if shown else "")


def runs_html(runs: Sequence[Run]) -> str:
    """Runs: a table of their numbers."""
    heads = ("run", "env", "episodes", "steps", "return", f"last {LAST}", "length", "videos")
    head = "".join(f"<th>{text}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _cells(run))}</tr>" for run in runs)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(run: Run) -> list[str]:
    returns, lengths = run.episodes.return_, run.episodes.length
    finite, recent = returns[np.isfinite(returns)], returns[-LAST:][np.isfinite(returns[-LAST:])]
    with np.errstate(over="ignore", invalid="ignore"):
        return [
            run.folder,
            ", ".join(run.env_ids),
            f"{len(run.episodes):,}",
            f"{int(lengths.sum()):,}",
            f"{_number(finite.mean())} ± {_number(finite.std())}" if finite.size else "-",
            _number(recent.mean()) if recent.size else "-",
            _number(lengths.mean()) if lengths.size else "-",
            f"{len(run.clips):,}",
        ]


def _video(clip: Clip) -> str:
    path = clip.path
    try:
        if path is None or (not clip.frames and clip.state != "recording"):
            return "<div>(no video)</div>"
        if os.path.getsize(path) > INLINE_BYTES:
            return f"<div>The video is too large for a notebook: <code>{escape(path)}</code></div>"
        with open(path, "rb") as file:
            data = base64.b64encode(file.read()).decode()
    except OSError as error:
        return f"<div>(no video: {escape(str(error))})</div>"
    return f'<video controls loop style="max-width:100%" src="data:video/mp4;base64,{data}"></video>'


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) and abs(value) < 1e4 else f"{value:,.0f}"
