"""One measurement, in a process of its own: ``python worker.py JSON`` prints a `Run` as JSON.

Nothing is measured before a first short recording has loaded the libraries and started what starts lazily.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import agents
import numpy as np
from recorders import FILES, RECORDERS, RENDER_ONLY, SB3

if TYPE_CHECKING:
    from collections.abc import Iterator

WARM_UP_STEPS = 3


@dataclass(frozen=True)
class Order:
    """What a worker is told.

    Attributes:
        recorder: a key of `RECORDERS`.
        env_id: the environment.
        steps: how many.
        repetition: number of the repetition, passed on.
        folder: where the videos go; exists and is empty.
        daemon: process id of the daemon, where the recorder has one.
        check: whether to compare the decoded pictures with what was rendered.
    """

    recorder: str
    env_id: str
    steps: int
    repetition: int
    folder: str
    daemon: int | None
    check: bool


@dataclass(frozen=True)
class Run:
    """What a worker measured. Times are wall-clock unless they are called CPU."""

    label: str
    env_id: str
    repetition: int
    steps: int
    loop_seconds: float
    longest_ms: float
    p99_ms: float
    beyond_us: float
    close_seconds: float
    cpu_seconds: float
    daemon_cpu_seconds: float
    client_mib: float
    daemon_mib: float
    files: int
    file_bytes: int
    expected: int
    found: int
    in_place: int | None
    psnr_db: float | None
    frame_shape: tuple[int, ...]
    disturbance: float = 1.0  # see `cores`: before the run, or after it if that was more
    attempts: int = 1


def measure(order: Order) -> Run:
    """Record, then count what was recorded."""
    _warm_up(order)
    folder = Path(order.folder)
    clock = agents.Clocked(agents.make(order.env_id))
    plan = agents.actions(clock, order.steps)
    env = RECORDERS[order.recorder](clock, folder, order.steps)
    cpu, daemon_cpu = _own_cpu(), cpu_of(order.daemon)
    times = agents.run(env, clock, plan)
    closing = time.perf_counter()
    env.close()
    closed = time.perf_counter()
    cpu, daemon_cpu = _own_cpu() - cpu, cpu_of(order.daemon) - daemon_cpu
    client_mib, daemon_mib = _peak_mib(os.getpid()), _peak_mib(order.daemon)
    files = sorted(folder.glob("*.mp4"))
    in_place, psnr_db = _compare(order) if order.check else (None, None)
    expected = order.steps + 1 if order.recorder == SB3 else times.frames
    return Run(
        label=order.recorder,
        env_id=order.env_id,
        repetition=order.repetition,
        steps=order.steps,
        loop_seconds=times.loop_seconds,
        longest_ms=float(times.step_ms.max()),
        p99_ms=float(np.percentile(times.step_ms, 99)),
        beyond_us=float(np.median(times.beyond_us)),
        close_seconds=closed - closing,
        cpu_seconds=cpu + daemon_cpu,
        daemon_cpu_seconds=daemon_cpu,
        client_mib=client_mib,
        daemon_mib=daemon_mib,
        files=len(files),
        file_bytes=sum(file.stat().st_size for file in files),
        expected=0 if order.recorder == RENDER_ONLY else expected,
        found=sum(sum(1 for _ in _decoded(file)) for file in files),
        in_place=in_place,
        psnr_db=psnr_db,
        frame_shape=_frame_shape(order.env_id),
    )


def _warm_up(order: Order) -> None:
    """Record a few steps elsewhere; a daemon warms up with it."""
    folder = Path(f"{order.folder}-warm-up")
    folder.mkdir()
    clock = agents.Clocked(agents.make(order.env_id))
    env = RECORDERS[order.recorder](clock, folder, WARM_UP_STEPS)
    agents.run(env, clock, agents.actions(clock, WARM_UP_STEPS))
    env.close()


# --- what a process has used ------------------------------------------------------------------------------


def _own_cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def cpu_of(pid: int | None) -> float:
    """CPU seconds of another process with all its threads and children, to the kernel's clock tick."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # those of ended children are in it
    children = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")).split()
    for child in children:
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            own += cpu_of(int(child))
    return own


def _peak_mib(pid: int | None) -> float:
    """The most memory a process ever had resident."""
    if pid is None:
        return 0.0
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


# --- what is in the files ---------------------------------------------------------------------------------


def _decoded(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """Every picture with the second at which it is shown."""
    import av  # noqa: PLC0415 - after the measurement, whose memory must not hold it

    with av.open(f"file:{path}") as container:
        for frame in container.decode(video=0):
            yield frame.time or 0.0, frame.to_ndarray(format="rgb24")


def _frame_shape(env_id: str) -> tuple[int, ...]:
    env = agents.make(env_id)
    env.reset()
    frame = np.asarray(env.render())
    env.close()
    return frame.shape


def _compare(order: Order) -> tuple[int, float]:
    """Play the same episodes again beside the videos.

    Returns:
        How many pictures are in their place, that is at least as close to the frame rendered there as to the one
        before and the one after it; and the PSNR in dB over all of those that were decoded.
    """
    fps = agents.make(order.env_id).metadata.get("render_fps", 30)
    in_place = pictures = 0
    squares = 0.0
    for episode, rendered in enumerate(agents.replay(order.env_id, order.steps)):
        path = Path(order.folder) / FILES.format(episode)
        for second, picture in _decoded(path) if path.exists() else ():
            place = min(round(second * fps), len(rendered) - 1)
            near = rendered[max(place - 1, 0) : place + 2]
            errors = [_mean_square(picture, frame) for frame in near]
            here = errors[min(place, 1)]
            in_place += here <= min(errors)
            pictures += 1
            squares += here
    return in_place, float(10 * np.log10(255**2 / max(squares / max(pictures, 1), 1e-9)))


def _mean_square(picture: np.ndarray, frame: np.ndarray) -> float:
    if picture.shape != frame.shape:
        return float("inf")
    import cv2  # noqa: PLC0415 - as av

    distance = cv2.norm(picture, np.ascontiguousarray(frame), cv2.NORM_L2SQR)
    return float(distance) / frame.size


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of envs and codecs, on every run
    print(json.dumps(asdict(measure(Order(**json.loads(sys.argv[1]))))))
