"""A connection that is cut while frames lie in shared memory: each of them is encoded or counted, and none is both."""

from __future__ import annotations

import random
from functools import partial

import zmq
from actors import SLOW_DAEMON
from proxy import Proxy

import films
import offcam
import offcam.connection.process
from begun import begun, gone_on
from envs import Barcode, Look, play
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


def test_what_lies_on_disk_is_encoded_although_its_client_has_a_new_connection(
    daemons, endpoint, runtime, tmp_path, stack, monkeypatch
):
    """The daemon encodes nothing before the client goes on with the same memory."""
    look, gate, folder = Look(400, 600), tmp_path / "gate", tmp_path / "run"
    daemons.start(SLOW_DAEMON, "0", "--gate", str(gate))
    proxy = Proxy(runtime / "p.sock", endpoint.path)
    stack.callback(proxy.close)
    monkeypatch.setenv("OFFCAM_ADDR", proxy.address)
    env = offcam.record(Barcode(10**6, look), str(folder), every=1, overflow="block")
    connection, wire = begun(env)
    for _ in range(100):
        env.step(0)
    wait_until(lambda: daemons.stats()["spool_bytes"] > 20 * 400 * 600 * 3, "much is on disk")
    epoch = wire.epoch
    proxy.cut(lambda: not connection.transport._socket.getsockopt(zmq.EVENTS) & zmq.POLLOUT)
    wait_until(partial(gone_on, wire, epoch, connection), "the connection is healed")
    env.step(0)
    wait_until(lambda: connection.pump() or wire.arena, "the daemon has taken the memory")
    gate.touch()
    env.unwrapped.length = env.unwrapped.number + 1
    env.step(0)
    env.close()
    wait_until(lambda: all(clip.state != "recording" for clip in films.clips(folder).values()), "all is encoded")
    films.check(folder)
    clips = films.clips(folder).values()
    assert [clip.error for clip in clips if clip.error] == []
    assert {reason for clip in clips for reason in clip.dropped} <= {"no_daemon", "lost"}
    assert sum(clip.frames for clip in clips) >= 100
    daemons.stop()
