"""Many streams that record at a time, over a real daemon: who comes late starts as well, and all progress alike."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import zmq

from offcam_proto import messages as msg
from offcam_proto.layout import FrameLayout
from offcamd.daemon.credit import KEPT_FOR_STREAMS, LEAST_FRAMES
from rawpeer import RawPeer

if TYPE_CHECKING:
    from pathlib import Path

HEIGHT, WIDTH = 210, 160
LAYOUT = FrameLayout((HEIGHT, WIDTH, 3), (WIDTH * 3, 3, 1), 0, HEIGHT * WIDTH * 3)
NOISE = secrets.token_bytes(LAYOUT.nbytes)
MIB = 1 << 20
BEGUN_FRAMES = 100
"""From here on all streams are on their way: what the first had before the last was opened does not count."""
UNFAIR = 0.10


def begin(peer: RawPeer, handle: int, folder: Path, credit: Counter[int]) -> None:
    """Open a stream and its first clip, and note its credit before that."""
    stream = secrets.token_bytes(16)
    peer.say(msg.OpenStream(handle, stream, str(folder), f"v{handle}", 0, True, "Raw-v0", 1, False, time.time()))
    while not credit[handle]:
        hear_credit(peer, credit)
    peer.say(msg.OpenClip(handle, 0, f"v{handle}-episode-0", 1, 30.0, 1, 1, 0, 0, time.time(), LAYOUT.nbytes))


def hear_credit(peer: RawPeer, credit: Counter[int]) -> None:
    match peer.await_(msg.StreamOpened, msg.Credit):
        case msg.StreamOpened(handle=handle, credit=first):
            credit[handle] = first
        case msg.Credit(handle=handle, nbytes=nbytes):
            credit[handle] += nbytes


def test_the_last_of_many_that_rest_has_credit_at_once(daemons, tmp_path):
    limit = 64 * MIB
    daemons.start("--memory-limit", str(limit), "--spool-limit", "0")
    credit: Counter[int] = Counter()
    with zmq.Context() as context, RawPeer(daemons.endpoint.url, context) as peer:
        peer.greet()
        for handle in range(1, KEPT_FOR_STREAMS + 1):
            begin(peer, handle, tmp_path / "run", credit)
            assert credit[handle] >= LAYOUT.nbytes, "its first frame need not wait"
            while credit[handle] < LEAST_FRAMES * LAYOUT.nbytes:
                hear_credit(peer, credit)
            assert credit.total() <= limit
        last = KEPT_FOR_STREAMS
        for index in range(LEAST_FRAMES):
            peer.say(msg.Frame(last, 0, index, (LAYOUT,), (NOISE,)))
        peer.say(msg.EndClip(last, 0, True))
        assert peer.await_(msg.ClipDone).encoded == LEAST_FRAMES
        assert daemons.stats()["breaches"] == {}
    daemons.stop()


@pytest.mark.parametrize("frames", [200, pytest.param(400, marks=pytest.mark.slow)])
def test_streams_progress_alike(daemons, tmp_path, frames):
    """Each sends what it may as soon as it may; what is encoded is granted anew, so grants show the progress.

    They share one encoder process: how fast several of them are beside each other is the system's to say.
    """
    streams, limit = 16, 64 * MIB
    daemons.start("--memory-limit", str(limit), "--spool-limit", "0", "--encoders", "1")
    credit: Counter[int] = Counter()
    sent: Counter[int] = Counter()
    most = 0
    with zmq.Context() as context, RawPeer(daemons.endpoint.url, context) as peer:
        peer.greet()
        for handle in range(1, streams + 1):
            begin(peer, handle, tmp_path / "run", credit)
        begun: Counter[int] = Counter()
        while min(sent[handle] for handle in credit) < frames:
            if not begun and min(sent[handle] for handle in credit) >= BEGUN_FRAMES:
                begun = Counter(sent)
            for handle in credit:
                while credit[handle] >= LAYOUT.nbytes:
                    peer.say(msg.Frame(handle, 0, sent[handle], (LAYOUT,), (NOISE,)))
                    credit[handle] -= LAYOUT.nbytes
                    sent[handle] += 1
            hear_credit(peer, credit)
            if sum(sent.values()) % 50 == 0:
                most = max(most, daemons.stats()["queue_bytes"])
        assert 0 < most <= limit
        progress = [sent[handle] - begun[handle] for handle in credit]
        fastest, slowest = max(progress), min(progress)
        # of what was sent a share may be waiting yet
        waiting = limit // streams // LAYOUT.nbytes
        print(f"{streams} streams: {slowest} to {fastest} frames, at most {most / MIB:.0f} MiB queued")
        assert fastest - slowest <= UNFAIR * fastest + waiting
        for handle in credit:
            peer.say(msg.EndClip(handle, 0, True))
        for _ in credit:
            done = peer.await_(msg.ClipDone)
            assert done.encoded == sent[done.handle]
    daemons.stop()
