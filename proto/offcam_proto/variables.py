"""The environment variables that offcam reads, on both sides, and those that were probably meant to be one of them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

PREFIX = "OFFCAM_"

CLIENT = ("OFFCAM", "OFFCAM_ADDR", "OFFCAM_DIR", "OFFCAM_KEYS", "OFFCAM_RUN", "OFFCAM_SESSION")
"""What the wrappers read."""

DAEMON = (
    "OFFCAM_ADDR",
    "OFFCAM_CRF",
    "OFFCAM_DISK_RESERVE",
    "OFFCAM_ENCODER",
    "OFFCAM_ENCODERS",
    "OFFCAM_HTTP",
    "OFFCAM_HTTP_TOKEN",
    "OFFCAM_IDLE_SECONDS",
    "OFFCAM_KEYS",
    "OFFCAM_LOG",
    "OFFCAM_LOG_FILE",
    "OFFCAM_MEMORY_LIMIT",
    "OFFCAM_PRESET",
    "OFFCAM_ROOT",
    "OFFCAM_SPOOL_DIR",
    "OFFCAM_SPOOL_LIMIT",
    "OFFCAM_STEPS_LIMIT",
    "OFFCAM_TCP",
    "OFFCAM_VIDEOS",
)
"""What the daemon and the command line read: one for each setting."""

KNOWN = frozenset((*CLIENT, *DAEMON))

LIKENESS = 0.85
"""How alike (0 to 1) a name must be to one of ours to count as its misspelling: one letter, or two, are wrong."""


def unknown(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that look like ours and are not, by name, each with the one that was probably meant, or ''."""
    strange = sorted(name for name in environ if name.startswith(PREFIX) and name not in KNOWN)
    return {name: next(iter(difflib.get_close_matches(name, sorted(KNOWN), 1, LIKENESS)), "") for name in strange}


def misspelt(environ: Mapping[str, str]) -> dict[str, str]:
    """The unknown variables that were probably meant to be one of ours; others may be some other program's."""
    return {name: near for name, near in unknown(environ).items() if near}
