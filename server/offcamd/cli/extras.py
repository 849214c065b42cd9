"""Libraries that some verbs need and the ``server`` extra does not bring."""

from __future__ import annotations

import importlib.util
import sys

from offcam_proto.errors import ConfigError


def require(module: str, *, extra: str, verb: str) -> None:
    """Make sure that a library is installed, without importing it.

    Raises:
        ConfigError: it is not; the message has the command that installs it.
    """
    if importlib.util.find_spec(module) is None:
        raise ConfigError(
            f"`offcam {verb}` needs {module}, which is not installed in {sys.prefix}. "
            f'Run: {sys.executable} -m pip install "offcam[{extra}]"'
        )
