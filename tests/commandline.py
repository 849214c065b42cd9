"""The real command line, as tests run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from waiting import HANG_SECONDS

WAIT_SECONDS = HANG_SECONDS
COMMAND = [sys.executable, "-m", "offcamd"]


def run(*words, stdout=subprocess.PIPE, **more):
    """Run a verb to its end."""
    return subprocess.run(
        [*COMMAND, *map(os.fspath, words)],
        stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True, errors="surrogateescape",
        check=False, timeout=WAIT_SECONDS, **more,
    )  # fmt: skip


def only_json(text):
    """The one JSON object that a text is."""
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def one_line(done, code=2):
    """What a verb that failed says of it: one line."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("offcam: ")
    return done.stderr
