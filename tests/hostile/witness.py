"""Somebody who only wants to record, in a process of its own, while others misbehave. Says in JSON how it fared.

It plays episodes with a video of each until a file appears, and waits for its credit, however busy the machine is.
Beside that, a raw peer of it has one episode stored after the other, and takes the time until the ack.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zmq

import offcam
import offcam.connection.timeouts
from envs import Barcode, Look
from offcam_proto import messages as msg
from offcamd.video.probe import probe
from rawpeer import WAIT_SECONDS, RawPeer, episode
from waiting import HANG_SECONDS

PAUSE_SECONDS = 0.05
"""Between an ack and the next record."""


class Acks:
    """Has records stored one after the other, and times it, whatever the env beside it waits for."""

    def __init__(self, folder: Path) -> None:
        self.count = 0
        self.worst = 0.0
        self._folder = folder
        self._over = threading.Event()

    def run(self) -> None:
        with zmq.Context() as context, RawPeer(os.environ["OFFCAM_ADDR"], context) as peer:
            peer.greet()
            opened = peer.open_stream(1, self._folder)
            assert isinstance(opened, msg.StreamOpened), opened
            while not self._over.wait(PAUSE_SECONDS):
                self.count += 1
                sent = time.monotonic()
                peer.say(msg.Records(1, self.count, (episode(self.count),)))
                answer = peer.hear(WAIT_SECONDS)
                self.worst = max(self.worst, time.monotonic() - sent)
                assert answer == msg.Ack(1, self.count), answer

    def finish(self) -> None:
        self._over.set()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--until", type=Path, required=True)
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--pause", type=float, default=0.01)
    options = parser.parse_args()
    offcam.connection.timeouts.BLOCK_SECONDS = HANG_SECONDS
    env = offcam.RecordVideo(
        Barcode(options.length, Look(84, 84)), str(options.folder), lambda _: True, overflow="block"
    )
    episodes = 0
    acks = Acks(options.folder)
    with ThreadPoolExecutor(1) as other:
        told = other.submit(acks.run)
        print("recording", flush=True)
        while not options.until.exists():
            env.reset()
            for _ in range(options.length):
                time.sleep(options.pause)
                env.step(0)
            episodes += 1
        acks.finish()
        told.result()
    while not env.flush():
        pass
    env.close()
    clips = sorted(options.folder.glob("*.mp4"))
    whole = sum(probe(clip).frames == options.length + 1 for clip in clips)
    print(json.dumps({"episodes": episodes, "whole_clips": whole, "acks": acks.count, "worst_ack": acks.worst}))


if __name__ == "__main__":
    main()
