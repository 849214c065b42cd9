"""Warnings to the user, as Gymnasium's logger gives them: at its level, and in its colour."""

from __future__ import annotations

import os
import sys
import warnings

from gymnasium import logger  # noqa: TID251 - imported here alone, and called with nothing to format

_LIBRARIES = ("offcam", "offcam_proto", "offcam_runs", "gymnasium")


def warn(text: str) -> None:
    """Warn, with the user's line that called into offcam; on a thread of offcam's own with the line that calls this.

    The text is taken as it is: a folder's name may have a percent sign, which Gymnasium's own ``warn`` would format.
    There is no colour where `NO_COLOR <https://no-color.org>`_ is set.
    """
    level = _level_of_user()
    if os.environ.get("NO_COLOR"):
        if logger.min_level <= logger.WARN:
            warnings.warn(f"WARN: {text}", stacklevel=level)
    else:
        logger.warn("%s", text, stacklevel=level)


def note(text: str) -> None:
    """Say what is no reason to worry: a line on stderr, where warnings are shown, too."""
    if logger.min_level <= logger.WARN and sys.stderr is not None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _level_of_user() -> int:
    """The stacklevel, counted from `warn`, of the first frame that is neither offcam's nor Gymnasium's."""
    frame, level = sys._getframe(2), 2  # noqa: SLF001 - Python has no other way that costs no traceback
    while frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES:
        if frame.f_back is None:
            return 2
        frame, level = frame.f_back, level + 1
    return level
