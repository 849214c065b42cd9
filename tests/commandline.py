"""The real command line, as tests run it."""

from __future__ import annotations

import atexit
import ctypes
import functools
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

from waiting import HANG_SECONDS

WAIT_SECONDS = HANG_SECONDS
COMMAND = [sys.executable, "-m", "offcamd"]

_SERVER = Path(__file__).with_name("forkserver.py")
_AT_START = (
    "LANG", "LC_", "LD_PRELOAD", "GLIBC_", "MALLOC_", "PYTHON", "TZ", "OMP_", "OPENBLAS_",
    "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "TERMINAL_WIDTH", "TYPER_",
)  # fmt: skip
"""How variables begin that are read as an interpreter starts, or as a library is imported, and never again.

LD_LIBRARY_PATH is none: OpenCV sets it."""
_ENVIRONMENT = dict(os.environ)  # before any test
_SUBREAPER = 36  # prctl's
_FORKABLE = {"stdin", "stdout", "stderr", "text", "encoding", "errors", "env", "cwd"}

_asking = threading.Lock()
_living: list[Offcam] = []


class Offcam(subprocess.Popen):
    """A process that runs ``python -m offcamd WORDS``, forked from one that has imported it where that is the same.

    It is not where something is asked for that only a new interpreter heeds: what is done before it starts, the
    locale, or a closed stream. A test of the start itself uses `COMMAND`.

    Attributes:
        forked: whether it was.
        environment: its variables; ``/proc/PID/environ`` shows the fork server's.
        test: which one started it.
    """

    def __init__(self, *words: str | os.PathLike[str], **options) -> None:
        self.environment = dict(options.get("env") or os.environ)
        self.test = self.environment.get("PYTEST_CURRENT_TEST", "some test")
        self.forked = _can_fork(self.environment, options)
        super().__init__([*COMMAND, *map(os.fspath, words)], **options)
        _living[:] = [process for process in _living if process.returncode is None] + [self]

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, *rest) -> None:
        if not self.forked:
            return super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, cwd, *rest)
        pipes = rest[4:10]  # behind env, startupinfo, creationflags and shell
        given = [pipes[0], pipes[3], pipes[5]]
        place = os.open(cwd or ".", os.O_PATH | os.O_DIRECTORY)
        try:
            self.pid = _fork(
                [number if descriptor == -1 else descriptor for number, descriptor in enumerate(given)] + [place],
                list(map(os.fsdecode, args[len(COMMAND) :])),
                self.environment,
            )
        finally:
            os.close(place)
        self._child_created = True
        self._close_pipe_fds(*pipes)
        return None


def _at_start(environment):
    return {name: value for name, value in environment.items() if name.startswith(_AT_START)}


def _can_fork(environment, options):
    return (
        sys.platform == "linux"
        and options.keys() <= _FORKABLE
        and _at_start(environment) == _at_start(_ENVIRONMENT)
        and not any(name.startswith("COVERAGE_") for name in os.environ)  # it begins with an interpreter
    )


@functools.cache
def _server():
    """A connection to the fork server, which leaves when that is closed."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [sys.executable, _SERVER, str(its.fileno())],
            pass_fds=[its.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=_ENVIRONMENT, cwd="/",
        )  # fmt: skip
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def _fork(descriptors, words, environment):
    umask = os.umask(0o077)
    os.umask(umask)
    request = {"words": words, "environment": environment, "umask": umask}
    with _asking:
        server, prctl = _server(), ctypes.CDLL(None).prctl
        prctl(_SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(server, [json.dumps(request).encode()], descriptors)
            pid = server.recv(100)
            assert pid, "the fork server has died"
            assert server.recv(100)  # its parent has left
        finally:
            prctl(_SUBREAPER, 0, 0, 0, 0)  # daemons in the background are nobody's, as elsewhere
    return int(pid)


def forked():
    """The processes that were forked and still live: ``/proc/PID/environ`` and ``cmdline`` are not theirs."""
    return [process for process in list(_living) if process.forked and process.poll() is None]


def run(*words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **more):
    """Run a verb to its end."""
    options = {"text": True, "errors": "surrogateescape", **more}
    with Offcam(*words, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, **options) as process:
        try:
            out, err = process.communicate(timeout=WAIT_SECONDS)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def only_json(text):
    """The one JSON object that a text is."""
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def one_line(done, code=2):
    """What a verb that failed says of it: one line."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("offcam: ")
    return done.stderr
