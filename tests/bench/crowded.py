"""What a training feels of its recording, with cores that are free and with none that is: the figures to reach.

Each figure is a ratio, or a difference, of runs that follow each other in one repetition. Beside that of offcam stands
the one of a writer that people have otherwise: PyAV in the process of the training, with the preset ultrafast of x264.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, TypedDict

import harness
import numpy as np
from cores import BUSY, usable
from micro import ENV_IDS
from recorders import GYMNASIUM, OFFCAM, RENDER_ONLY, ULTRAFAST

from offcam_proto.layout import FrameLayout
from offcamd.encode.clip_encoder import ClipEncoder, ClipSpec
from offcamd.encode.frame import Frame
from offcamd.video.mp4 import VideoWriter
from offcamd.video.picture_encoder import SpareEncoders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from worker import Run

FREE, CROWDED = "free", "crowded"
CLIP_FRAMES = 22
CLIPS = 40


@dataclass(frozen=True)
class Goal:
    """A line of the table.

    Attributes:
        measure: what it is.
        load: with which cores, `FREE` or `CROWDED`.
        reach: what is aimed at, for each of `micro.ENV_IDS`; None for nothing.
        of: from a run, render-only's and the ultrafast writer's to the value; None where there is none.
        beside: whether the writer has a value of its own.
    """

    measure: str
    load: str
    reach: tuple[float | None, ...]
    of: Callable[[Run, Run, Run], float | None]
    beside: bool = True


GOALS = (
    Goal("loop / render-only's", CROWDED, (1.1, 1.1, 1.1), lambda run, base, _: run.loop_seconds / base.loop_seconds),
    Goal("p99 of a step beyond render-only's, ms", CROWDED, (1, 1, 1), lambda run, base, _: run.p99_ms - base.p99_ms),
    Goal("loop / render-only's", FREE, (1.05, 1.05, 1.05), lambda run, base, _: run.loop_seconds / base.loop_seconds),
    Goal(
        "CPU of all processes per frame beyond render-only's / the writer's", FREE, (0.6, 0.8, 0.9),
        lambda run, base, writer: (run.cpu_seconds - base.cpu_seconds) / (writer.cpu_seconds - base.cpu_seconds),
        beside=False,
    ),
    Goal(
        "a frame on the agent's thread, us", FREE, (None, None, 35),
        lambda run, base, _: run.beyond_us - base.beyond_us,
    ),
)  # fmt: skip


class Row(TypedDict):
    """A figure: medians with the least and the most, of offcam and of the writer beside it."""

    measure: str
    load: str
    env: str
    offcam: list[float]
    writer: list[float] | None
    reach: float | None


@contextlib.contextmanager
def busy_cores(count: int) -> Iterator[list[int]]:
    """So many loops that do nothing else, at this process's priority, for as long as the context lasts; their pids."""
    with contextlib.ExitStack() as stack:
        loops = []
        for _ in range(count):
            loop = stack.enter_context(subprocess.Popen([sys.executable, "-S", "-c", BUSY], stdout=subprocess.PIPE))
            stack.callback(loop.kill)  # before it is waited for
            assert loop.stdout is not None
            loop.stdout.readline()
            loops.append(loop.pid)
        yield loops


def measure_all(
    env_ids: Sequence[str], steps: int, repetitions: int, scratch: Path, said: Callable[[str], None]
) -> list[Row]:
    """Everything. A repetition after the other, with free cores and with busy ones, so that others' load is in all."""
    runs: dict[tuple[str, str, str], list[Run]] = {}
    for repetition in range(repetitions):
        for env_id in env_ids:
            for load in (FREE, CROWDED):
                with busy_cores(usable() if load == CROWDED else 0):
                    for recorder in (RENDER_ONLY, OFFCAM, ULTRAFAST):
                        who = harness.Contestant(recorder, recorder)
                        run = harness.measure(who, env_id, steps, repetition, scratch)
                        runs.setdefault((env_id, load, recorder), []).append(run)
                        said(f"repetition {repetition + 1} of {repetitions}: {env_id}, {load}, {recorder}")
    rows = [row for goal in GOALS for row in _rows(goal, env_ids, runs)]
    rows += [row for env_id in env_ids for row in _bytes(env_id, steps, runs[env_id, FREE, OFFCAM], scratch)]
    return [*rows, _clip(scratch)]


def _rows(goal: Goal, env_ids: Sequence[str], runs: dict[tuple[str, str, str], list[Run]]) -> Iterator[Row]:
    for env_id in env_ids:
        base, own, writer = (runs[env_id, goal.load, who] for who in (RENDER_ONLY, OFFCAM, ULTRAFAST))
        yield Row(
            measure=goal.measure,
            load=goal.load,
            env=env_id,
            offcam=_spread(map(goal.of, own, base, writer)),
            writer=_spread(map(goal.of, writer, base, writer)) if goal.beside else None,
            reach=dict(zip(ENV_IDS, goal.reach, strict=True)).get(env_id),
        )


def _spread(values: Iterable[float | None]) -> list[float]:
    known = [value for value in values if value is not None]
    return [statistics.median(known), min(known), max(known)]


def _bytes(env_id: str, steps: int, runs: list[Run], scratch: Path) -> Iterator[Row]:
    """Size of the files against Gymnasium's, where that can be had. Both have the same frames, so one run is enough."""
    try:
        theirs = harness.measure(harness.Contestant(GYMNASIUM, GYMNASIUM), env_id, steps, 0, scratch)
    except RuntimeError:  # it needs moviepy
        return
    ours = runs[0]
    ratio, psnr = ours.file_bytes / theirs.file_bytes, (ours.psnr_db or 0) - (theirs.psnr_db or 0)
    yield Row(
        measure=f"bytes / Gymnasium's, at {psnr:+.1f} dB",
        load=FREE,
        env=env_id,
        offcam=[ratio] * 3,
        writer=None,
        reach=1,
    )


def _clip(scratch: Path) -> Row:
    """First to last byte of a short clip: CPU of opening, finishing and publishing it, not of its frames between."""
    folder = scratch / "clips"
    folder.mkdir()
    make = partial(VideoWriter, spares=SpareEncoders())
    pixels = np.full((400, 600, 3), 255, np.uint8)
    layout = FrameLayout(pixels.shape, pixels.strides, 0, pixels.nbytes)
    took: list[float] = []
    for number in range(CLIPS):
        final = folder / f"{number}.mp4"
        encoder = ClipEncoder(ClipSpec(folder / f"{number}.mp4.part", final, Fraction(50)), make)
        marks = [time.thread_time()]
        for index in range(CLIP_FRAMES):
            pixels[100:140, 20 * index : 20 * index + 40] = 10 * index
            encoder.encode(Frame(index, [(pixels.data.cast("B"), layout)], pixels.nbytes, 0.0), lambda: None)
            marks.append(time.thread_time())
        encoder.finish()
        frame = statistics.median(np.diff(marks)[1:])
        took.append(1000 * (marks[1] - marks[0] - frame + time.thread_time() - marks[-1]))
    spread = _spread(took[1:])
    return Row(
        measure=f"a clip of {CLIP_FRAMES} frames, open to published, CPU ms",
        load=FREE,
        env="-",
        offcam=spread,
        writer=None,
        reach=1.2,
    )


def text(rows: Sequence[Row]) -> list[str]:
    """The table."""
    lines = [["measure", "cores", "env", "offcam", "PyAV ultrafast", "reach"]]
    for row in rows:
        writer = "-" if row["writer"] is None else _written(row["writer"])
        reach = "-" if row["reach"] is None else f"{row['reach']:g}"
        lines.append([row["measure"], row["load"], row["env"], _written(row["offcam"]), writer, reach])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return [
        *table,
        "",
        "Medians over the repetitions; in brackets the least and the most. Crowded: a busy loop for each core, at",
        "normal priority. How 16 streams share the cores, `--reach` says.",
    ]


def _written(spread: list[float]) -> str:
    middle, least, most = spread
    return f"{middle:.2f} [{least:.2f}, {most:.2f}]" if least < most else f"{middle:.2f}"
