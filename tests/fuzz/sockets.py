"""Altered messages over sockets, to a daemon in a process of its own."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import zmq
from msgspec.structs import replace
from mutations import Mutator, corpus
from sessions import CLIPS, STREAMS

from offcam_proto import codec
from offcam_proto import messages as msg
from offcam_proto.errors import RemoteProtocolError
from rawpeer import WAIT_SECONDS, RawPeer, hello
from witnesses import witnessed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PEERS = 16
BURST = 4
WINDOW = 64
MOST_GROWTH_MIB = 128.0


class _Fuzzer:
    """One peer that says valid things first, so that what follows gets further, then a few altered messages."""

    def __init__(self, peer: RawPeer, mutator: Mutator, folder: Path, number: int) -> None:
        self.refused: Counter[str] = Counter()
        self._peer = peer
        self._mutator = mutator
        self._folder = folder
        self._stream = replace(STREAMS[1], stream=number.to_bytes(16, "big"), folder=str(folder), prefix=f"v{number}")

    def burst(self) -> int:
        """Say it all; returns how many altered messages that were."""
        self._peer.say(hello(), self._stream, CLIPS[1])
        for _ in range(BURST):
            self._peer.send(self._tamed(self._mutator.one()))
        self.hear()
        return BURST

    def _tamed(self, parts: list[bytes]) -> list[bytes]:
        """The same, but a valid stream is one in this test's folders."""
        try:
            message = codec.decode_client(parts)
        except RemoteProtocolError:
            return parts
        if isinstance(message, msg.OpenStream):
            return [
                bytes(part) for part in codec.encode(replace(message, folder=f"{self._folder}/{message.handle % 4}"))
            ]
        return parts

    def hear(self) -> None:
        """Read the answers that there are."""
        while (answer := self._peer.hear(0.0)) is not None:
            self._note(answer)

    def _note(self, answer: msg.ServerMessage) -> None:
        if isinstance(answer, msg.Refused):
            self.refused[answer.code] += 1

    def settle(self) -> None:
        """Return when the daemon has handled everything that was said."""
        self._peer.say(hello(), msg.StatsRequest(2**40))
        while True:
            answer = self._peer.hear(WAIT_SECONDS)
            assert answer is not None, "the daemon does not answer"
            self._note(answer)
            if isinstance(answer, msg.StatsReply) and answer.token == 2**40:
                return


def fuzz_daemon(address: str, folder: Path, count: int, seed: int) -> tuple[int, Counter[str], float]:
    """Send at least ``count`` altered messages.

    Returns:
        How many were sent, what the daemon said to have refused them for, and how many seconds it took.
    """
    began = time.monotonic()
    messages = corpus("client")
    with zmq.Context() as context:
        peers = [RawPeer(address, context) for _ in range(PEERS)]
        fuzzers = [_Fuzzer(peer, Mutator(messages, seed + i), folder, i) for i, peer in enumerate(peers)]
        try:
            sent, rounds = 0, 0
            while sent < count:
                sent += sum(fuzzer.burst() for fuzzer in fuzzers)
                rounds += 1
                if rounds % WINDOW == 0:  # or all of it would wait in our own memory
                    for fuzzer in fuzzers:
                        fuzzer.settle()
            for fuzzer in fuzzers:
                fuzzer.settle()
        finally:
            for peer in peers:
                peer.close()
    refused = sum((fuzzer.refused for fuzzer in fuzzers), Counter[str]())
    return sent, refused, time.monotonic() - began


def fuzz_with_witness(base: Path, count: int, seed: int, within: Callable[[float, float], None]) -> str:
    """Do that to a daemon of its own while somebody records, check how both fared, and describe it."""
    with witnessed(base) as observed:
        sent, refused, seconds = fuzz_daemon(observed.address, base / "fuzzed", count, seed)
    observed.check(within)
    breaches = {reason: number for reason, number in observed.stats["breaches"].items() if reason != "gap"}
    assert breaches == dict(refused), f"{breaches} were counted, but {refused} were refused"
    before, after, _ = observed.mib
    assert after - before < MOST_GROWTH_MIB, str(observed)
    return f"{sent:,} messages at the daemon in {seconds:.0f} s\n{observed}"
