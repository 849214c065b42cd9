"""A training whose user logs out: the runtime directory is removed in its midst, and with it goes the daemon."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import warnings

import offcam
import offcam.connection.timeouts
from envs import Barcode, play
from offcam.connection import settings
from offcamd.process.instance_lock import read_lock
from waiting import wait_until


def main(folder: str) -> None:
    offcam.connection.timeouts.START_SECONDS = 90.0  # what is recorded is asked here, not how soon
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = offcam.record(Barcode(4), folder, every=1)
        play(env, 1)
        env.flush()
        before = settings.daemon_endpoint()[0]
        daemon = read_lock(before)
        assert daemon is not None
        os.kill(daemon.pid, signal.SIGKILL)
        shutil.rmtree(os.environ["XDG_RUNTIME_DIR"])
        wait_until(lambda: play(env, 1) and env.flush(), "another daemon records")
        play(env, 1)
        played = env.env.episode_id + 1
        env.close()
    recorded = offcam.load(folder, session="all")
    print(
        json.dumps(
            {
                "before": before.url,
                "after": settings.daemon_endpoint()[0].url,
                "played": played,
                "episodes": len(recorded.episodes),
                "last": recorded.clips[-1].state,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
