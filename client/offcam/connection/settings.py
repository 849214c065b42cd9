"""Where the daemon is, by the environment at the moment of the call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from offcam import logger
from offcam_proto import host
from offcam_proto.endpoints import ADDR_VARIABLE, Endpoint
from offcam_proto.variables import misspelt

_said: set[str] = set()
_before: list[Callable[[], None]] = []


def before_first_use(work: Callable[[], None]) -> None:
    """Have something done once, before this process looks for its daemon: it may set ``OFFCAM_ADDR``.

    Args:
        work: run on the thread that records first. What it raises, the wrapper's constructor raises.
    """
    _before.append(work)


def daemon_endpoint() -> tuple[Endpoint, bool]:
    """The daemon's endpoint, and whether ``OFFCAM_ADDR`` names it (then no daemon is started here).

    Where better places for the daemon's socket cannot be used, a warning says so, once.

    Raises:
        ConfigError: ``OFFCAM_ADDR`` is malformed.
    """
    while _before:
        _before.pop(0)()
    found = _find(os.environ)
    return found.endpoint, found.named


def embedded_endpoint() -> Endpoint:
    """The endpoint of this user's own daemon, running or not, whatever ``OFFCAM_ADDR`` says. Warns as above."""
    return _find({**os.environ, ADDR_VARIABLE: ""}).endpoint


def _find(environ: Mapping[str, str]) -> host.Found:
    found = host.find(environ, os.getuid())
    if found.usable and found.warning and found.warning not in _said:  # if unusable, the daemon's start fails with it
        _said.add(found.warning)
        logger.warn(found.warning)
    return found


def warn_of_misspelt() -> None:
    """Warn of environment variables whose names are probably misspelt ones of offcam's."""
    for name, near in misspelt(os.environ).items():
        logger.warn(f"{name} is set and means nothing. Did you mean {near}?")
