"""A short training on a strange host: records, and says as JSON what it was warned of and what it finds recorded."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import offcam
import offcam.connection.timeouts
from envs import Barcode, play
from offcam.connection import settings
from offcam_runs.format import INDEX_NAME

EPISODES = 3


def main(folder: str) -> None:
    offcam.connection.timeouts.START_SECONDS = 90.0  # what is recorded is asked here, not how soon
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = offcam.record(Barcode(4), folder, every=1)
        play(env, EPISODES)
        env.close()
        address = settings.daemon_endpoint()[0].url
    loaded = offcam.load(folder, session="all") if Path(folder, INDEX_NAME).exists() else None
    said = {
        "uid": os.getuid(),
        "address": address,
        "warnings": [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)],
        "episodes": len(loaded.episodes) if loaded else 0,
        "videos": [clip.state for clip in loaded.clips] if loaded else [],
    }
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
