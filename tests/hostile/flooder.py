"""A client that takes no heed of anything, until a file appears. Says in JSON what it sent.

``records``: as many episodes as fit a message, one message after the other, acks unread. ``frames``: pictures without
credit for them, and a new session each time it is thrown out. ``questions``: statistics and flushes, answers unread.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import zmq

from offcam_proto import codec
from offcam_proto import messages as msg
from offcam_proto.limits import MAX_RECORDS_PER_MESSAGE
from rawpeer import RawPeer, episode, hello, picture

KINDS = ("records", "frames", "questions")
OWN_QUEUE = 100


class Flooder:
    """One connection that is always full."""

    def __init__(self, kind: str, address: str, folder: Path, context: zmq.Context) -> None:
        self.sent = 0
        self._kind = kind
        self._folder = folder
        self._peer = RawPeer(address, context)
        self._peer.socket.sndhwm = OWN_QUEUE
        self._bodies = tuple(episode(number) for number in range(MAX_RECORDS_PER_MESSAGE))
        self._queue: list[msg.ClientMessage] = []
        self._index = 0
        if kind != "frames":
            self._peer.greet()
            self._peer.open_stream(1, folder, kind)

    def push(self) -> None:
        """Send until nothing more is taken."""
        while True:
            if not self._queue:
                self._queue = self._next()
            try:
                self._peer.socket.send_multipart(codec.encode(self._queue[0]), zmq.DONTWAIT)
            except zmq.Again:
                return
            self._queue.pop(0)
            self.sent += 1

    def _next(self) -> list[msg.ClientMessage]:
        self._index += 1
        match self._kind:
            case "records":
                return [msg.Records(1, 1 + (self._index - 1) * MAX_RECORDS_PER_MESSAGE, self._bodies)]
            case "questions":
                return [msg.StatsRequest(self._index), msg.Flush(self._index)]
            case _:
                stream = msg.OpenStream(1, bytes(16), str(self._folder), "f", 0, True, "Raw-v0", 1, False, time.time())
                clip = msg.OpenClip(1, 0, "f", 1, 30.0, 1, 1, 0, 0, time.time(), 640_000)
                return [hello(), stream, clip, *(picture(1, 0, index, 800) for index in range(10))]

    def close(self) -> None:
        self._peer.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--until", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", default=KINDS)
    options = parser.parse_args()
    with zmq.Context() as context:
        flooders = {kind: Flooder(kind, options.address, options.folder / kind, context) for kind in options.kinds}
        print("flooding", flush=True)
        while not options.until.exists():
            for flooder in flooders.values():
                flooder.push()
            time.sleep(0.001)
        for flooder in flooders.values():
            flooder.close()
        print(json.dumps({kind: flooder.sent for kind, flooder in flooders.items()}))


if __name__ == "__main__":
    main()
