"""The real command line, as tests run it."""

from __future__ import annotations

import atexit
import contextlib
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

    With ``script`` it runs that file in place of the module: a daemon that differs from it in one thing.

    It is not where something is asked for that only a new interpreter heeds, such as a locale or a closed stream, and
    no `ForkServer` of the test's own began with that. A test of the start itself uses `COMMAND`.

    Attributes:
        server: of which it is forked; the one for all unless a test has one of its own.
        forked: whether it was.
        environment: its variables; ``/proc/PID/environ`` shows the fork server's.
        test: which one started it.
    """

    def __init__(
        self,
        *words: str | os.PathLike[str],
        script: Path | None = None,
        server: ForkServer | None = None,
        **options,
    ) -> None:
        self._command = [sys.executable, str(script)] if script else COMMAND
        self._script = str(script or "")
        self.environment = dict(options.get("env") or os.environ)
        self.test = self.environment.get("PYTEST_CURRENT_TEST", "some test")
        self.server = server or _server_for_all()
        self.forked = _can_fork(self.environment, options, self.server)
        if server and not self.forked:
            options["preexec_fn"] = server.preexec_fn
        super().__init__([*self._command, *map(os.fspath, words)], **options)
        _living[:] = [process for process in _living if process.returncode is None] + [self]

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, *rest) -> None:
        if not self.forked:
            return super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, cwd, *rest)
        pipes = rest[4:10]  # behind env, startupinfo, creationflags and shell
        given = [pipes[0], pipes[3], pipes[5]]
        place = os.open(cwd or ".", os.O_PATH | os.O_DIRECTORY)
        try:
            self.pid = self.server.fork(
                [number if descriptor == -1 else descriptor for number, descriptor in enumerate(given)] + [place],
                self._script,
                args[len(self._command) :],
                self.environment,
            )
        finally:
            os.close(place)
        self._child_created = True
        self._close_pipe_fds(*pipes)
        return None


def _at_start(environment):
    return {name: value for name, value in environment.items() if name.startswith(_AT_START)}


def _can_fork(environment, options, server):
    return (
        sys.platform == "linux"
        and options.keys() <= _FORKABLE
        and _at_start(environment) == _at_start(server.environment)
        and not any(name.startswith("COVERAGE_") for name in os.environ)  # it begins with an interpreter
    )


class ForkServer:
    """Runs `forkserver`, from the first that is forked until it is closed.

    Attributes:
        environment: the variables that it starts with, and what is forked as well where that is read at a start.
        preexec_fn: called in it before it starts: what that does to it holds for all that is forked.
    """

    def __init__(self, environment=None, preexec_fn=None):
        self.environment = environment or _ENVIRONMENT
        self.preexec_fn = preexec_fn
        self._stack = contextlib.ExitStack()

    @functools.cached_property
    def _connection(self):
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            process = subprocess.Popen(
                [sys.executable, _SERVER, str(its.fileno())], pass_fds=[its.fileno()], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, env=self.environment, cwd="/",
                preexec_fn=self.preexec_fn,  # noqa: PLW1509 - a test's own, of which no other thread knows
            )  # fmt: skip
        self._stack.callback(process.wait)
        self._stack.callback(ours.close)
        return ours

    def close(self):
        self._stack.close()

    def fork(self, descriptors, script, words, environment):
        """Have a process made that is the caller's own, and return its pid."""
        umask = os.umask(0o077)
        os.umask(umask)
        request = {
            "script": script,
            "words": [_bytes(word) for word in words],
            "environment": {_bytes(name): _bytes(value) for name, value in environment.items()},
            "umask": umask,
        }
        with _asking:
            server, prctl = self._connection, ctypes.CDLL(None).prctl
            prctl(_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(server, [json.dumps(request).encode()], descriptors)
                pid = server.recv(100)
                assert pid, "the fork server has died"
                assert server.recv(100)  # its parent has left
            finally:
                prctl(_SUBREAPER, 0, 0, 0, 0)  # daemons in the background are nobody's, as elsewhere
        return int(pid)


def _bytes(text):
    """A word's bytes for JSON; which text they are is for the locale of whoever takes them."""
    return os.fsencode(text).decode("latin-1")


@functools.cache
def _server_for_all():
    server = ForkServer()
    atexit.register(server.close)
    return server


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
