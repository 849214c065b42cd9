"""A connection that is cut while frames lie in shared memory: each of them is encoded or counted, and none is both."""

from __future__ import annotations

import random

import zmq
from proxy import Proxy

import films
import offcam
import offcam.connection.process
from envs import Barcode, play
from offcam.connection import timeouts
from waiting import wait_until

CUTS = 12


def test_no_frame_is_encoded_and_dropped(daemons, endpoint, runtime, tmp_path, stack, monkeypatch):
    """The daemon lives on and finds in the memory what the client could not say; the client goes on in another part."""
    monkeypatch.setattr(timeouts, "HELD_SECONDS", 1000.0)  # so that there always are some
    monkeypatch.setattr(timeouts, "LOOK_SECONDS", 1000.0)  # so that it is a frame that finds no connection
    daemons.start()
    proxy = Proxy(runtime / "p.sock", endpoint.path)
    stack.callback(proxy.close)
    monkeypatch.setenv("OFFCAM_ADDR", proxy.address)
    rng = random.Random(1)
    env = offcam.record(Barcode(10**6), str(tmp_path / "run"), every=1, overflow="block")
    env.reset()
    connection = offcam.connection.process.current()
    held = 0
    for _ in range(CUTS):
        wait_until(lambda: connection.pump() or connection.session.streams[1].live, "the connection is healed")
        env.step(0)
        wait_until(lambda: connection.pump() or connection.session.streams[1].arena, "the daemon has taken the memory")
        for _ in range(rng.randrange(1, 20)):
            env.step(0)
        held += connection.session.held
        proxy.cut(lambda: not connection.transport._socket.getsockopt(zmq.EVENTS) & zmq.POLLOUT)
        for _ in range(rng.randrange(1, 40)):
            env.step(0)
    env.unwrapped.length = env.unwrapped.number + 10
    while env.unwrapped.number < env.unwrapped.length:
        env.step(0)
    play(env)
    env.close()
    films.check(tmp_path / "run")
    clips = films.clips(tmp_path / "run").values()
    assert held > CUTS
    assert sum(clip.offered for clip in clips) == env.unwrapped.renders
    assert {reason for clip in clips for reason in clip.dropped} <= {"no_daemon", "lost"}
    shown = [number for clip in sorted(clips, key=lambda clip: clip.part) if clip.episode == 0 and clip.file
             for number in films.numbers(tmp_path / "run" / clip.file)]  # fmt: skip
    assert shown == sorted(set(shown))
