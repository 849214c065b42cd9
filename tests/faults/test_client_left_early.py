"""A client that leaves while the daemon is behind: what it sent is taken in before its streams are ended."""

from __future__ import annotations

from pathlib import Path

import zmq

import films
from offcam_proto import messages as msg
from offcam_proto.limits import MAX_RECORDS_PER_MESSAGE
from rawpeer import RawPeer, episode
from waiting import HANG_SECONDS, wait_until

BEHIND_DAEMON = Path(__file__).parents[1] / "peers" / "behind_daemon.py"
EACH = min(1024, MAX_RECORDS_PER_MESSAGE)
MESSAGES = 16
"""More than the daemon reads ahead of its store, fewer than libzmq receives ahead of the daemon."""


def test_its_last_records_wait_for_the_store(daemons, tmp_path):
    gate, looked = tmp_path / "gate", tmp_path / "looked"
    daemons.start(BEHIND_DAEMON, str(gate), str(looked))
    with zmq.Context() as context:
        peer = RawPeer(daemons.endpoint.url, context)
        peer.greet()
        peer.open_stream(1, tmp_path / "run")
        gate.touch()
        for number in range(MESSAGES):
            bodies = tuple(episode(number * EACH + each) for each in range(EACH))
            peer.say(msg.Records(1, 1 + number * EACH, bodies))
        peer.socket.linger = int(HANG_SECONDS * 1000)
        peer.close()
    wait_until(looked.exists, "the daemon has looked at a client that is gone", daemons.log.read_text)
    gate.unlink()
    wait_until(lambda: daemons.events("a client vanished"), "its streams are ended", daemons.log.read_text)
    daemons.stop()
    assert [row.episode for row in films.episodes(tmp_path / "run")] == list(range(MESSAGES * EACH))
