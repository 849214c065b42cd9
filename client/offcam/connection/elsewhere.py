"""A full ``offcam`` of another installation on PATH, for a client whose own has no daemon."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Iterator, Mapping

from offcam_proto import __version__

VERSION_SECONDS = 20.0
"""Longest time that ``offcam --version`` may take; it runs beside the agent's thread, and once a process."""

_OF_THIS_PYTHON = ("PYTHONHOME", "PYTHONPATH", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")
"""Variables that would have the other installation import this one's libraries."""


def commands(path: str) -> Iterator[str]:
    """The ``offcam`` commands on a PATH, the first one first. What lies in the working directory is never run."""
    here = _real(os.curdir)
    for folder in dict.fromkeys(path.split(os.pathsep)):
        command = os.path.join(folder, "offcam")
        if os.path.isabs(folder) and _real(folder) != here and os.path.isfile(command) and os.access(command, os.X_OK):
            yield command


def problem(command: str) -> str:
    """Why an ``offcam`` cannot serve this client, with the fix; empty where it can."""
    try:
        found = _version(command, os.stat(command).st_mtime_ns)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{command} on PATH does not say its version ({error})."
    if _series(found) == _series(__version__):
        return ""
    return (
        f"{command} on PATH is offcam {found or 'of no known version'}, and this client is {__version__}: give both "
        f'the same version, for example with `pipx install "offcam[server]=={__version__}"`.'
    )


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for another installation's command."""
    return {name: value for name, value in environ.items() if name not in _OF_THIS_PYTHON}


@functools.lru_cache(maxsize=16)
def _version(command: str, _changed: int) -> str:
    done = subprocess.run(
        [command, "--version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=VERSION_SECONDS,
        check=False,
        env=environment(os.environ),
    )
    match = re.fullmatch(r"offcam (\S+)", done.stdout.strip())
    return match[1] if match else ""


def _series(version: str) -> tuple[str, ...]:
    """What has to be the same: major and minor version."""
    return tuple(version.split(".")[:2])


def _real(path: str) -> str:
    try:
        return os.path.realpath(path)
    except OSError:  # the working directory was removed
        return ""
