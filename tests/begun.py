"""The first step of an env whose daemon is to have its frames in shared memory."""

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
