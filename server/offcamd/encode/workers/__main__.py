"""``python -m offcamd.encode.workers``: an encoder process, started by a daemon and by nothing else."""

from __future__ import annotations

import sys

from offcamd.encode.workers.serving import main

if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
