"""Many raw peers in one process: each has episodes stored, one after the other. Says in JSON how they fared."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import zmq

from offcam_proto import codec
from offcam_proto import messages as msg
from rawpeer import WAIT_SECONDS, RawPeer, episode, hello

PER_FOLDER = 25


class Member:
    """One of the crowd."""

    def __init__(self, peer: RawPeer, folder: Path, number: int, episodes: int) -> None:
        self.peer = peer
        self.acked = 0
        self.worst = 0.0
        self._episodes = episodes
        self._sent = 0.0
        self._due = 0.0
        self._stream = msg.OpenStream(
            1, number.to_bytes(16, "big"), str(folder), "", 0, False, "Raw-v0", 1, False, time.time()
        )
        peer.say(hello())

    @property
    def done(self) -> bool:
        return self.acked == self._episodes

    def hear(self, pause: float) -> None:
        """Act on one answer."""
        match codec.decode_server(self.peer.socket.recv_multipart()):
            case msg.Welcome():
                self.peer.say(self._stream)
            case msg.StreamOpened():
                self._due = time.monotonic()
            case msg.Ack(seq=seq):
                self.worst = max(self.worst, time.monotonic() - self._sent)
                self.acked = seq
                self._due = self._sent + pause
            case other:
                raise AssertionError(other)

    def act(self) -> None:
        """Send the next record, if it is time."""
        if self._due and time.monotonic() >= self._due and not self.done:
            self._due, self._sent = 0.0, time.monotonic()
            self.peer.say(msg.Records(1, self.acked + 1, (episode(self.acked),)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--peers", type=int, required=True)
    parser.add_argument("--episodes", type=int, required=True)
    parser.add_argument("--pause", type=float, default=0.5)
    options = parser.parse_args()
    with zmq.Context() as context:
        context.set(zmq.MAX_SOCKETS, 4096)
        poller = zmq.Poller()
        members: dict[object, Member] = {}
        for number in range(options.first, options.first + options.peers):
            peer = RawPeer(options.address, context)
            folder = options.folder / str(number // PER_FOLDER)
            members[peer.socket] = Member(peer, folder, number, options.episodes)
            poller.register(peer.socket, zmq.POLLIN)
        heard = time.monotonic()
        while not all(member.done for member in members.values()):
            for socket, _ in poller.poll(20):
                members[socket].hear(options.pause)
                heard = time.monotonic()
            assert time.monotonic() - heard < WAIT_SECONDS, "no answer to anybody"
            for member in members.values():
                member.act()
        worst = max(member.worst for member in members.values())
        print(json.dumps({"episodes": sum(member.acked for member in members.values()), "worst_ack": worst}))
        for member in members.values():
            member.peer.say(msg.Goodbye("done"))
            member.peer.socket.linger = 1000
            member.peer.close()


if __name__ == "__main__":
    main()
