"""``python -m offcam.sync``: sends a run to a tracker. Started by offcam, not by people: `offcam sync` is for them.

It reads one line, an `offcam_runs.sync.process.SyncRequest`, from stdin, and writes one line of JSON to stdout at its
end: the sending as status shows it, or ``{"error": ...}``.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from offcam.sync.worker import SyncWorker
from offcam_proto.errors import ConfigError, OffcamError
from offcam_runs.idle import give_way
from offcam_runs.json_text import dumps
from offcam_runs.sync.process import SyncRequest


def main() -> int:
    """Do the request. Returns 0 where all was sent, 1 where sending was given up, 2 where it cannot be done."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a tracker may print, which must not be among our output
    signal.signal(signal.SIGTERM, _leave)
    try:
        with open(0, "rb", buffering=0, closefd=False) as given:  # nothing is read ahead
            request = SyncRequest.parse(given.readline())
        if request.follow:  # else the user waits for it
            give_way()
        worker = SyncWorker(request)
        done = worker.run()
        said: dict[str, Any] = {} if worker.sending is None else worker.sending.as_dict()
        code = 0 if done else 1
    except OffcamError as error:
        said, code = {"error": str(error), "kind": type(error).__name__}, 2 if isinstance(error, ConfigError) else 1
    with out:
        print(dumps(said), file=out)
    return code


def _leave(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second SIGTERM ends the process at once
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
