"""Somebody who only wants to record, in a process of its own, while others misbehave. Says in JSON how it fared.

It plays episodes with a video of each until a file appears, and waits for its credit, however busy the machine is.
Beside that, a raw peer of it has an episode stored every few steps, and takes the time until the ack.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import zmq

import offcam
import offcam.connection.timeouts
from envs import Barcode, Look
from offcam_proto import messages as msg
from offcamd.video.probe import probe
from rawpeer import WAIT_SECONDS, RawPeer, episode
from waiting import HANG_SECONDS


class Acks:
    """Has records stored one after the other, and times it."""

    def __init__(self, peer: RawPeer, folder: Path) -> None:
        self.peer = peer
        self.count = 0
        self.worst = 0.0
        peer.greet()
        opened = peer.open_stream(1, folder)
        assert isinstance(opened, msg.StreamOpened), opened
        self._sent: float | None = None

    def look(self, *, wait: bool = False) -> None:
        """Take in an ack if there is one, and send the next record."""
        if self._sent is not None:
            answer = self.peer.hear(WAIT_SECONDS if wait else 0.0)
            if answer is None:
                assert not wait, "no ack"
                return
            assert isinstance(answer, msg.Ack), answer
            assert answer.seq == self.count
            self.worst = max(self.worst, time.monotonic() - self._sent)
            self._sent = None
        if not wait:
            self.count += 1
            self._sent = time.monotonic()
            self.peer.say(msg.Records(1, self.count, (episode(self.count),)))


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
    with zmq.Context() as context, RawPeer(os.environ["OFFCAM_ADDR"], context) as peer:
        acks = Acks(peer, options.folder)
        print("recording", flush=True)
        while not options.until.exists():
            env.reset()
            for _ in range(options.length):
                time.sleep(options.pause)
                env.step(0)
                acks.look()
            episodes += 1
        acks.look(wait=True)
    while not env.flush():
        pass
    env.close()
    clips = sorted(options.folder.glob("*.mp4"))
    whole = sum(probe(clip).frames == options.length + 1 for clip in clips)
    print(json.dumps({"episodes": episodes, "whole_clips": whole, "acks": acks.count, "worst_ack": acks.worst}))


if __name__ == "__main__":
    main()
