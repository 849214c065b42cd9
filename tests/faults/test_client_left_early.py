"""A client that leaves early: what it sent to a daemon that is behind is taken in, and what it could not name, too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import zmq
from actors import TESTS, WAIT_SECONDS

import films
from offcam.connection import shared_memory
from offcam_proto import messages as msg
from offcam_proto.limits import MAX_RECORDS_PER_MESSAGE
from rawpeer import RawPeer, episode
from waiting import HANG_SECONDS, wait_until

BEHIND_DAEMON = Path(__file__).parents[1] / "peers" / "behind_daemon.py"
EACH = min(1024, MAX_RECORDS_PER_MESSAGE)
MESSAGES = 16
"""More than the daemon reads ahead of its store, fewer than libzmq receives ahead of the daemon."""

KILLED = """
import os, signal, sys
import offcam
import offcam.connection.process
from envs import Barcode
from offcam_proto.codec import decode_server
from offcam_proto.messages import ArenaReply
from waiting import wait_until

env = offcam.record(Barcode(10), sys.argv[1], every=1)
connection = offcam.connection.process.current()
wait_until(lambda: connection.pump() or connection.session.streams[1].live, "the daemon has opened the folder")
replies, received = [], connection.transport.received


def all_but_replies():
    for parts in received():
        if isinstance(decode_server(parts), ArenaReply):
            replies.append(parts)
        else:
            yield parts


connection.transport.received = all_but_replies
env.reset()
for _ in range(4):
    env.step(0)
wait_until(lambda: connection.pump() or replies, "the daemon has the memory")
os.kill(os.getpid(), signal.SIGKILL)
"""


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


@pytest.mark.skipif(not shared_memory.POSSIBLE, reason="no anonymous files here that can be sealed")
def test_its_first_frames_are_found_in_its_memory(daemons, tmp_path):
    """It dies before it hears that the daemon has that, and so has not named a frame."""
    daemons.start()
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, timeout=WAIT_SECONDS, check=False)
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: daemons.events("a client vanished"), "its streams are ended", daemons.log.read_text)
    daemons.stop()
    assert films.numbers(tmp_path / "run" / "rl-video-episode-0.mp4") == list(range(5))
    films.check(tmp_path / "run")
