"""An agent in a process of its own, which records until a file appears, and then says how many episodes it finished.

Each episode's return says which one it is: ``1,000,000 * number + episode``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import offcam
from envs import Barcode, Look

STRIDE = 1_000_000


class Named(Barcode):
    """A `Barcode` env whose episodes' returns are told apart."""

    first = 0.0

    def step(self, action):
        observation, _, terminated, truncated, info = super().step(action)
        return observation, self.first if self.number == 1 else 0.0, terminated, truncated, info


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--until", type=Path, required=True, help="leave after the episode in which it appears")
    parser.add_argument("--number", type=int, default=0)
    parser.add_argument("--least", type=int, default=0, help="episodes to play in any case")
    parser.add_argument("--most", type=int, default=10**9)
    parser.add_argument("--length", type=int, default=10)
    parser.add_argument("--whole", type=int, default=10**9, help="after so many episodes the next one never ends")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that a step takes")
    parser.add_argument("--side", type=int, default=84)
    parser.add_argument("--every", type=int, default=1, help="record a video of each so many episodes; 0 for none")
    parser.add_argument("--overflow", default="drop")
    options = parser.parse_args()

    bare = Named(options.length, Look(options.side, options.side))
    env = offcam.RecordEpisodeStatistics(bare)
    if options.every:
        env = offcam.RecordVideo(
            env, options.folder, lambda episode: episode % options.every == 0, name_prefix=f"agent-{options.number}",
            overflow=options.overflow,
        )  # fmt: skip
    print("recording", flush=True)
    episode = 0
    while episode < options.most and (episode < options.least or not options.until.exists()):
        bare.first = float(STRIDE * options.number + episode)
        bare.length = options.length if episode < options.whole else 10**9
        env.reset()
        over = False
        while not over:
            time.sleep(options.pause)
            _, _, terminated, truncated, _ = env.step(0)
            over = terminated or truncated
        episode += 1
    began = time.perf_counter()
    env.close()
    print(f"finished {episode} episodes, closed in {time.perf_counter() - began:.3f} s", flush=True)


if __name__ == "__main__":
    main()
