"""What the last seconds cost: memory of the daemon that holds them for many streams, and time of an agent's thread.

``PYTHONPATH=tests python tests/bench/black_box.py [--streams 64] [--seconds 60]`` prints both. The memory is that of a
process that does what the daemon's encoders do, with pictures of 160x210 as an Atari game shows them: a still
background, a few sprites that move. The time is that of a step of an env whose picture is there already, beside the
same without a recorder.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import offcam
from envs import Barcode, Look
from offcam_proto.layout import FrameLayout
from offcamd.encode.clip_encoder import ClipSpec
from offcamd.encode.frame import Frame
from offcamd.encode.packet_ring import RingMemory
from offcamd.encode.ring_clip import RingClip
from offcamd.video.late_writers import ring_encoder

HEIGHT, WIDTH, FPS = 210, 160, 60
SPRITES, SIDE = 6, 8
MIB = 1 << 20


def game(seed: int) -> Any:
    """Endless pictures of a game."""
    random = np.random.default_rng(seed)
    field = np.kron(random.integers(0, 255, (21, 16, 3), np.uint8), np.ones((10, 10, 1), np.uint8))
    places, speeds = random.uniform(0, 150, (SPRITES, 2)), random.uniform(-3, 3, (SPRITES, 2))
    while True:
        picture = field.copy()
        for number, (y, x) in enumerate(places.astype(int)):
            picture[y : y + SIDE, x : x + SIDE] = 40 * number + 15
        places = (places + speeds) % 150
        yield picture


def memory(streams: int, seconds: float) -> None:
    """Fill rings, and then a half as much again."""
    process, shared = psutil.Process(), RingMemory()
    folder = Path(tempfile.gettempdir())
    spec = ClipSpec(folder / "x.part", folder / "x", Fraction(FPS), ring_frames=round(seconds * FPS))
    layout = FrameLayout((HEIGHT, WIDTH, 3), (3 * WIDTH, 3, 1), 0, HEIGHT * WIDTH * 3)
    warm = RingClip(spec, ring_encoder, RingMemory(), lambda *_: None)
    warm.encode(Frame(0, [(next(game(0)), layout)], layout.nbytes, 0.0), lambda: None)
    before = process.memory_info().rss
    rings = [RingClip(spec, ring_encoder, shared, lambda *_: None) for _ in range(streams)]
    games = [game(seed) for seed in range(streams)]
    for index in range(round(1.2 * seconds * FPS) + 1):
        for ring, pictures in zip(rings, games, strict=True):
            ring.encode(Frame(index, [(next(pictures).data.cast("B"), layout)], layout.nbytes, 0.0), lambda: None)
        if index == 0:
            encoders = process.memory_info().rss - before
    held = sum(ring.nbytes for ring in rings)
    all_of_it = process.memory_info().rss - before
    print(
        f"{streams} rings of {seconds:g} s, {WIDTH}x{HEIGHT} at {FPS} fps: {all_of_it / MIB:.0f} MiB in all, of which"
    )
    print(f"  encoders {encoders / MIB:.0f}, packets {held / MIB:.1f} ({held / streams / 1024:.0f} KiB a ring)")


def agent(steps: int = 4000) -> None:
    """Microseconds of a step, its picture made before: without, with a video, with the last seconds, and with both."""
    with tempfile.TemporaryDirectory() as place:
        for what, options in (
            ("a video of all", {"episode_trigger": lambda _: True}),
            ("the last 30 s", {"last_seconds": 30}),
            ("both", {"episode_trigger": lambda _: True, "last_seconds": 30}),
        ):
            bare = Still(10**9, Look(400, 600))
            env = offcam.RecordVideo(bare, str(Path(place) / what), **options)
            env.reset()
            times = []
            for _ in range(steps):
                time.sleep(0.003)
                began = time.perf_counter()
                env.step(0)
                times.append(time.perf_counter() - began)
            env.close()
            print(f"step of 600x400 with {what}: {statistics.median(times) * 1e6:.0f} us (median of {steps})")


class Still(Barcode):
    """Its picture is made once, so that a step costs what its recorder costs."""

    picture: Any = None

    def render(self) -> Any:
        if self.picture is None:
            self.picture = super().render()
        return self.picture


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--agent", action="store_true", help="time the agent's thread alone")
    options = parser.parse_args()
    if options.agent:
        agent()
    else:
        memory(options.streams, options.seconds)


if __name__ == "__main__":
    main()
