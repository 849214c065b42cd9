from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from offcam_proto.endpoints import SOCKET_NAME, parse_endpoint
from offcam_proto.errors import ConfigError, DaemonAlreadyRunning, DaemonError
from offcamd.process.instance_lock import (
    DaemonInfo,
    DaemonLock,
    daemon_paths,
    pid_namespace,
    prepare_directory,
    private_umask,
    read_lock,
)


def info(endpoint, pid=None, **changes):
    given = {"http": None, "version": "1", "log_file": None, "started": 0.0, "pid_namespace": pid_namespace()}
    return DaemonInfo(pid=pid or os.getpid(), endpoint=endpoint.url, **{**given, **changes})


HOLD = """
import sys, time
from offcam_proto.endpoints import parse_endpoint
from offcam_proto.errors import DaemonAlreadyRunning
from offcamd.process.instance_lock import DaemonInfo, DaemonLock, pid_namespace
import os
endpoint = parse_endpoint(sys.argv[1], "test")
try:
    DaemonLock(endpoint).acquire(DaemonInfo(os.getpid(), endpoint.url, None, "1", None, 0.0, pid_namespace()))
except DaemonAlreadyRunning:
    print("refused", flush=True)
else:
    print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(endpoint):
    """Start processes that take the lock, and hold it until they are ended."""
    processes = []

    def start() -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", HOLD, endpoint.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        with process:
            process.kill()


def test_one_holds_it_and_the_second_is_told_who(endpoint, holder):
    process = holder()
    assert process.stdout.readline() == "held\n"
    with pytest.raises(DaemonAlreadyRunning, match=f"pid {process.pid}.*offcam status") as caught:
        DaemonLock(endpoint).acquire(info(endpoint))
    assert caught.value.pid == process.pid
    assert read_lock(endpoint).pid == process.pid


def test_a_killed_holder_holds_nothing(endpoint, holder):
    process = holder()
    assert process.stdout.readline() == "held\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert daemon_paths(endpoint).lock.read_text().strip()
    assert read_lock(endpoint) is None
    lock = DaemonLock(endpoint)
    lock.acquire(info(endpoint))
    assert read_lock(endpoint).pid == os.getpid()
    lock.release()
    assert read_lock(endpoint) is None


def test_of_many_at_once_one_gets_it_though_readers_look_all_the_time(endpoint, holder):
    prepare_directory(daemon_paths(endpoint).directory)
    done = threading.Event()

    def look():
        while not done.is_set():
            read_lock(endpoint)

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    answers = [process.stdout.readline() for process in [holder() for _ in range(5)]]
    done.set()
    for reader in readers:
        reader.join()
    assert sorted(answers) == ["held\n", *["refused\n"] * 4]


def test_the_socket_a_dead_daemon_left_goes_only_under_the_lock(endpoint, holder):
    paths = daemon_paths(endpoint)
    prepare_directory(paths.directory)
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(paths.socket))
    process = holder()
    assert process.stdout.readline() == "held\n"
    assert not paths.socket.exists()
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(paths.socket))
        with pytest.raises(DaemonAlreadyRunning):
            DaemonLock(endpoint).acquire(info(endpoint))
        assert paths.socket.exists()


def test_what_a_daemon_says_of_itself(endpoint):
    lock = DaemonLock(endpoint)
    said = info(endpoint, http="http://127.0.0.1:1", log_file="/a/b")
    lock.acquire(said)
    assert read_lock(endpoint) == said
    assert said.ready_line == f"offcam ready pid={os.getpid()} endpoint={endpoint.url} http=http://127.0.0.1:1"
    lock.update(stopping=True)
    assert read_lock(endpoint).stopping
    lock.update(http="http://127.0.0.1:" + "2" * 2000)
    assert len(read_lock(endpoint).http) > 2000
    lock.release()
    lock.release()
    with pytest.raises(DaemonError):
        lock.update(stopping=True)


def test_a_pid_of_another_container_is_not_ours_to_signal(endpoint):
    assert info(endpoint).here
    assert not info(endpoint, pid_namespace="pid:[1]").here


def test_a_lock_that_says_nothing_is_reported(endpoint, monkeypatch):
    monkeypatch.setattr("offcamd.process.instance_lock._READ_SECONDS", 0.05)
    lock = DaemonLock(endpoint)
    lock.acquire(info(endpoint))
    daemon_paths(endpoint).lock.write_text("")
    with pytest.raises(DaemonError, match="does not say who"):
        read_lock(endpoint)
    lock.release()


def test_nobody_reads_what_a_dead_daemon_wrote_as_the_new_one(endpoint, monkeypatch):
    monkeypatch.setattr("offcamd.process.instance_lock._READ_SECONDS", 0.05)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lock = DaemonLock(endpoint)
    lock.acquire(info(endpoint, pid=gone.pid))
    with pytest.raises(DaemonError, match="does not say who"):
        read_lock(endpoint)
    lock.release()


def test_files_of_several_daemons_in_one_directory_are_apart(runtime):
    first, second = (parse_endpoint(f"ipc://{runtime}/d/{name}", "test") for name in (SOCKET_NAME, "b.sock"))
    assert daemon_paths(first).lock == runtime / "d" / f"{SOCKET_NAME}.lock"
    assert daemon_paths(second).lock == runtime / "d" / "b.sock.lock"
    locks = [DaemonLock(first), DaemonLock(second)]
    for lock, endpoint in zip(locks, (first, second), strict=True):
        lock.acquire(info(endpoint))
        assert read_lock(endpoint).endpoint == endpoint.url
        lock.release()


def test_the_directory_is_made_for_its_owner_alone(endpoint):
    prepare_directory(daemon_paths(endpoint).directory)
    assert daemon_paths(endpoint).directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_open_to_others_is_refused(runtime, mode):
    folder = runtime / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(ConfigError, match=f"open to others.*{mode:04o}.*chmod 700"):
        prepare_directory(folder)


def test_what_is_no_directory_is_refused(runtime):
    (runtime / "file").touch()
    (runtime / "own").mkdir(mode=0o700)
    (runtime / "link").symlink_to(runtime / "own")
    for name in ("file", "link"):
        with pytest.raises(ConfigError, match="is no directory"):
            prepare_directory(runtime / name)
    with pytest.raises(ConfigError, match=r"the runtime directory .* cannot be made"):
        prepare_directory(runtime / "file" / "below")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(runtime):
    folder = runtime / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to uid 12345"):
        prepare_directory(folder)


def test_tcp_has_no_lock():
    with pytest.raises(ConfigError, match=r"has no socket file.*ipc:///absolute/path"):
        read_lock(parse_endpoint("tcp://127.0.0.1:5", "test"))


def test_private_umask(runtime):
    with private_umask():
        Path("secret").touch()
    Path("plain").touch(0o644)
    assert Path("secret").stat().st_mode & 0o077 == 0
    assert Path("plain").stat().st_mode & 0o077 != 0
