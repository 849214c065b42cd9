"""The real command line, as tests run it."""

import sys

from waiting import HANG_SECONDS

WAIT_SECONDS = HANG_SECONDS
COMMAND = [sys.executable, "-m", "offcamd"]
