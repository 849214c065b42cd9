"""Streams that a daemon is to have before a test goes on: the first one, and the next after a kill."""

from __future__ import annotations

import offcam.connection.process
from waiting import wait_until


def begun(env):
    """Play a first step, by which the daemon comes to have the env's memory. Returns the connection and the stream."""
    connection = offcam.connection.process.current()
    wire = connection.session.streams[1]
    wait_until(lambda: connection.pump() or wire.live, "the daemon has opened the folder")
    env.reset()
    env.step(0)
    wait_until(lambda: connection.pump() or wire.arena, "the daemon can use the memory")
    return connection, wire


def gone_on(wire, epoch: int, connection=None):
    """Whether the next daemon has a stream that was in an epoch when the last one died, which may not be known yet."""
    if connection is not None:
        connection.pump()
    return wire.live and wire.epoch > epoch
