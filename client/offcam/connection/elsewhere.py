"""Finding a full ``offcam`` of another installation on PATH, where this client's installation has no daemon."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Iterator, Mapping

from offcam_proto import __version__
from offcam_proto.errors import DaemonNotReady

VERSION_SECONDS = 20.0
"""Longest time that ``offcam --version`` may take. It runs off the agent's thread, once in a process."""

_OF_THIS_PYTHON = ("PYTHONHOME", "PYTHONPATH", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")
"""Environment variables by which the other installation would import this one's libraries."""


def commands(path: str) -> Iterator[str]:
    """The ``offcam`` commands on a PATH, in order. A command in the working directory is never run."""
    here = _real(os.curdir)
    for folder in dict.fromkeys(path.split(os.pathsep)):
        command = os.path.join(folder, "offcam")
        if os.path.isabs(folder) and _real(folder) != here and os.path.isfile(command) and os.access(command, os.X_OK):
            yield command


def problem(command: str) -> str:
    """Why an ``offcam`` cannot serve this client, with the fix; empty where it can.

    Raises:
        DaemonNotReady: it has not said its version in `VERSION_SECONDS`; it may when it is asked again.
    """
    try:
        found = _version(command, os.stat(command).st_mtime_ns)
    except subprocess.TimeoutExpired as error:
        raise DaemonNotReady(
            f"{command} on PATH has not said its version in {VERSION_SECONDS:g} s (a cold network disk?); it is asked "
            "again."
        ) from error
    except OSError as error:
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
    with subprocess.Popen(
        [command, "--version"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(os.environ),
    ) as asked:
        assert asked.stdout is not None  # noqa: S101 - for mypy: it is a pipe
        try:
            asked.wait(VERSION_SECONDS)
        except subprocess.TimeoutExpired:
            asked.kill()
            raise
        os.set_blocking(asked.stdout.fileno(), False)  # a child process of the command may still hold the pipe open
        said = os.read(asked.stdout.fileno(), 256)
    match = re.fullmatch(r"offcam (\S+)", said.decode(errors="replace").strip())
    return match[1] if match else ""


def _series(version: str) -> tuple[str, ...]:
    """The parts of a version that must be equal: major and minor."""
    return tuple(version.split(".")[:2])


def _real(path: str) -> str:
    try:
        return os.path.realpath(path)
    except OSError:  # the working directory was removed
        return ""
