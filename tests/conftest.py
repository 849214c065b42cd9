"""Daemons for the tests: one for all that need none of their own, and the means to have one's own; none is left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

import commandline
import offcam.connection.process
import offcam.connection.timeouts
from commandline import COMMAND, WAIT_SECONDS
from offcam_proto import host
from offcamd.process.instance_lock import read_lock
from offcamd.store import left_frames
from waiting import POLL_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from offcam_proto.endpoints import Endpoint

LEAVING_SECONDS = 60.0
"""A process that is still there so long after its test is left behind: longer than leaving takes on a busy machine."""

settings.register_profile("offcam", deadline=None)  # of time there is pytest-timeout; a busy machine is no failure
settings.register_profile("thorough", settings.get_profile("offcam"), max_examples=1000)  # .ci/run asks for it
settings.load_profile("offcam")

for _number, _usual in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    if signal.getsignal(_number) is signal.SIG_IGN:  # `nohup pytest`, `pytest &` in a script: children inherit that
        signal.signal(_number, _usual)


MARKED = {"faults": "faults", "hostile": "faults", "fuzz": "faults", "e2e": "e2e", "browser": "e2e"}
"""Folders of tests that have commands of their own, and the marks by which those choose them."""


@pytest.hookimpl(tryfirst=True)  # before any are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of those folders."""
    for item in items:
        if mark := MARKED.get(item.path.relative_to(Path(__file__).parent).parts[0]):
            item.add_marker(mark)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder that is not there yet."""
    return tmp_path / "run"


# --- times -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["event", "seconds"])
def within(request: pytest.FixtureRequest) -> Callable[[float, float], None]:
    """``within(took, most)`` requires that something took at most so many seconds, in the long tests only.

    A promise in seconds is tested twice: by default by its event alone, as how long that takes is the machine's to
    say; and under ``-m slow``, with the machine to itself, by the seconds.
    """

    def check(took: float, most: float) -> None:
        assert took <= most or not request.param, f"it took {took:.2f} s, which is more than {most:g} s"

    return check


# --- places -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def session_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A short directory (Unix socket paths are short) for all of this session's daemons; checked at its end.

    What a test leaves behind in its own `runtime` is found after that test already. Memory of those that were killed
    on purpose, which nobody came for, is given back.
    """
    with tempfile.TemporaryDirectory(prefix="oc", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)
        left = _processes_that_stay_in(name)
        left += [f"socket {path}" for path in Path(name).rglob("*") if path.is_socket() and _answers(path)]
        left += [f"thread {thread.name}" for thread in threading.enumerate() if not _stays(thread)]
        assert not left, "the tests left behind: " + "; ".join(left)
        for arena in left_frames._arenas():
            with contextlib.suppress(OSError):
                stream, _ = left_frames._whose(arena)
                if stream and stream.folder.startswith((name, str(tmp_path_factory.getbasetemp()))):
                    arena.unlink()


@pytest.fixture(scope="session", autouse=True)
def nobodys_runtime(session_root: Path) -> Iterator[Path]:
    """Where a test would start a daemon that asks for none: a place that is neither its user's nor another test's."""
    place, patch = session_root / "nobodys", pytest.MonkeyPatch()
    place.mkdir(mode=0o700)
    patch.setenv("XDG_RUNTIME_DIR", str(place))
    yield place
    patch.undo()


def _answers(path: Path) -> bool:
    """Whether somebody listens; a daemon that was killed leaves its socket's file to the next one."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _stays(thread: threading.Thread) -> bool:
    """The main thread, and the one that pyzmq keeps for messages that it sent without a copy."""
    return thread is threading.main_thread() or type(thread).__name__ == "GarbageCollectorThread"


def _processes_that_stay_in(root: str) -> list[str]:
    """Those that are not about to leave: `offcam stop` returns when a daemon has given its endpoint back."""
    deadline = time.monotonic() + LEAVING_SECONDS
    while (found := _processes_in(root)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return found


def _processes_in(root: str) -> list[str]:
    """Processes whose environment says that they belong below a directory, but for Python's own helpers.

    Which test started them stands there, too: pytest puts it there.
    """
    found = [
        f"process {process.pid}: {' '.join(process.args)} of {process.test}"
        for process in commandline.forked()
        if any(f"{root}/" in value for value in process.environment.values())
    ]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (process / "environ").read_bytes()
            if int(process.name) != os.getpid() and f"{root}/".encode() in environment:
                command = (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                test = environment.partition(b"PYTEST_CURRENT_TEST=")[2].partition(b"\0")[0].decode(errors="replace")
                found.append(f"process {process.name}: {command} of {test or 'some test'}")
    return [line for line in found if "from multiprocessing." not in line]


def _launchers_in(root: str) -> list[str]:
    """Those of these processes that start a daemon, and leave once it listens."""
    return [line for line in _processes_in(root) if " start --embedded " in line]


def _furnish(base: Path) -> dict[str, str]:
    """Make the directories of a user of one's own below ``base`` and return the variables that name them."""
    variables = {"XDG_RUNTIME_DIR": "r", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache", "HOME": "home"}
    for folder in (*variables.values(), "cwd"):
        (base / folder).mkdir(mode=0o700)
    return {variable: str(base / folder) for variable, folder in variables.items()} | {"OFFCAM_HTTP": "127.0.0.1:0"}


def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [variable for variable in os.environ if variable.startswith("OFFCAM")]:
        monkeypatch.delenv(variable)
    # for a test that records, how soon one gives up waiting for a daemon is the machine's speed: see test_starting
    for name in ("START_SECONDS", "REOPEN_SECONDS"):
        monkeypatch.setattr(offcam.connection.timeouts, name, float(WAIT_SECONDS))


@pytest.fixture
def runtime(session_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that is this test's whole environment, with no daemon in it yet."""
    base = Path(tempfile.mkdtemp(dir=session_root, prefix=""))
    _clean(monkeypatch)
    for variable, value in _furnish(base).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(base / "cwd")
    with _connections_of_its_own():
        yield base


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Once all that ends its processes has done so, none of a test may be left in its `runtime`, or in nobody's."""
    used = getattr(item, "funcargs", {})
    base, nobodys = used.get("runtime"), used.get("nobodys_runtime")
    yield
    if base is not None:
        left = _processes_that_stay_in(str(base))
        assert not left, "this test left behind: " + "; ".join(left)
    if nobodys is not None and (sockets := [path for path in nobodys.rglob("*") if path.is_socket()]):
        commandline.run("stop", env={**os.environ, "XDG_RUNTIME_DIR": str(nobodys)})
        sockets[0].unlink(missing_ok=True)
        pytest.fail("this test started a daemon where it asks for none: it needs `daemon` or `embedded`")


@pytest.fixture
def endpoint(runtime: Path) -> Endpoint:
    """Where this test's own daemon listens."""
    return host.find(os.environ, os.getuid()).endpoint


# --- daemons of one's own -----------------------------------------------------------------------------------


@pytest.fixture
def offcam_command(runtime: Path, endpoint: Endpoint) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run the command line to its end. A daemon left in the background is stopped after the test."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return commandline.run(*arguments, env={**os.environ, **environment})

    yield run
    _leave()
    wait_until(lambda: not _launchers_in(str(runtime)), "no daemon is being started for a client that was killed")
    if read_lock(endpoint):
        run("stop")


@pytest.fixture(name="offcam")
def offcam_alias(
    offcam_command: Callable[..., subprocess.CompletedProcess[str]],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`offcam_command` for tests that do not import the package of that name."""
    return offcam_command


@pytest.fixture
def embedded(offcam_command: object, runtime: Path) -> Path:
    """A test's own place, in which wrappers start their daemon themselves; it is stopped after the test."""
    return runtime


@pytest.fixture
def serve(runtime: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Start `offcam serve` (or a script that does alike) and return it with its ready line; ended after the test.

    With ``fresh`` it is an interpreter of its own: its memory is a daemon's, and nothing is imported before it begins.
    """
    with contextlib.ExitStack() as stack:

        def run(*arguments: str, script: Path | None = None, fresh: bool = False) -> tuple[subprocess.Popen[str], str]:
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            if fresh:
                command = [sys.executable, str(script)] if script else [*COMMAND, "serve"]
                process = stack.enter_context(subprocess.Popen([*command, *arguments], **pipes))
            else:
                words = arguments if script else ("serve", *arguments)
                process = stack.enter_context(commandline.Offcam(*words, script=script, **pipes))
            stack.callback(_end, process)
            assert process.stdout is not None
            return process, process.stdout.readline().strip()

        yield run
        _leave()  # first, so that the daemon need not wait for clients that vanish


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.communicate(timeout=LEAVING_SECONDS)
        except subprocess.TimeoutExpired:  # it hangs, or is stopped: its test has failed by now
            process.kill()


# --- the daemon for all -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SharedDaemon:
    """The daemon of the session.

    Attributes:
        address: for ``OFFCAM_ADDR``.
        environment: what a subprocess needs to find it.
    """

    address: str
    environment: dict[str, str]


@pytest.fixture(scope="session")
def shared_daemon(session_root: Path) -> Iterator[SharedDaemon]:
    """One running daemon for all tests that do nothing to it."""
    base = Path(tempfile.mkdtemp(dir=session_root, prefix=""))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OFFCAM")}
    environment = {**inherited, **_furnish(base), "OFFCAM_HTTP": "off", "OFFCAM_LOG": "warning"}
    address = host.find(environment, os.getuid()).endpoint.url
    log = base / "log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [*COMMAND, "serve"], stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment, cwd=base / "cwd"
        ) as process,
    ):
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert address in ready, f"the daemon did not start: {ready!r} {log.read_text()}"
        yield SharedDaemon(address, {**environment, "OFFCAM_ADDR": address})
        process.terminate()
        assert process.wait(WAIT_SECONDS) == 0, log.read_text()
        assert "Traceback" not in log.read_text(), log.read_text()


@pytest.fixture
def daemon(shared_daemon: SharedDaemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SharedDaemon]:
    """Record with the session's daemon: nothing to start, nothing to stop. The working directory is `tmp_path`."""
    _clean(monkeypatch)
    monkeypatch.setenv("OFFCAM_ADDR", shared_daemon.address)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    with _connections_of_its_own():
        yield shared_daemon


@contextlib.contextmanager
def _connections_of_its_own() -> Iterator[None]:
    """Each test is to the client like a process of its own: its warnings are said anew, its connections end with it."""
    _leave()
    yield
    _leave()


def _leave() -> None:
    """What the client does at the interpreter's exit."""
    offcam.connection.process.shutdown_all()
    offcam.connection.process._current = None
