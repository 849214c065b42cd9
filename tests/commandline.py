"""The real command line, as tests run it."""

import sys

WAIT_SECONDS = 30
COMMAND = [sys.executable, "-m", "offcamd"]
