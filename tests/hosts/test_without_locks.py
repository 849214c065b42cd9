"""File systems without locks: what is recorded there, who may write, and who takes over from the dead."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import nolocks
import pytest

import offcam
from commandline import WAIT_SECONDS
from offcam_proto.endpoints import SOCKET_NAME
from offcam_runs import file_lock
from offcam_runs.file_lock import CLAIM_ENDING, FileLock, held
from offcam_runs.folder_lock import FolderLock, writer_of
from offcam_runs.format import INDEX_NAME, LOCK_NAME
from offcam_runs.run import read_run
from offcamd.reports.verify import verify
from waiting import freeze, wait_until

HERE = Path(__file__).parent
TRAINING = HERE / "training.py"
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in nolocks.NUMBERS, reason="seccomp filters are Linux's"
)


def without_locks(*command, error="ENOSYS"):
    """The command line of Python on a file system without locks."""
    return [sys.executable, str(HERE / "nolocks.py"), error, sys.executable, *map(str, command)]


def run(*command, error="ENOSYS"):
    return subprocess.run(
        without_locks(*command, error=error),
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    )


@pytest.mark.parametrize("error", ["ENOSYS", pytest.param("ENOLCK", marks=pytest.mark.slow)])
def test_everything_is_recorded_and_can_be_read_meanwhile(embedded, tmp_path, error):
    folder = tmp_path / "run"
    done = run(TRAINING, folder, error=error)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["episodes"], said["videos"], said["warnings"]) == (3, ["final"] * 3, [])
    log = embedded / "r" / "offcam" / f"{SOCKET_NAME}.log"
    for place in (folder, log.parent):  # it says so once it takes records, which may be over by then
        wait_until(lambda place=place: f"the file system of {place} has no locks" in log.read_text(), "it is said")
    assert not list((embedded / "r" / "offcam").glob(f"{SOCKET_NAME}.launch.lock{CLAIM_ENDING}")), (
        "the next may start one"
    )
    for verb in ("ls", "verify"):
        done = run("-m", "offcamd", verb, folder, error=error)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(offcam.load(folder, session="all").clips) == 3  # and by one who has locks
    done = run("-m", "offcamd", "stop", error=error)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".mp4") == [INDEX_NAME]
    assert verify(folder).ok


def test_an_index_that_a_dead_daemon_left_with_its_log_is_read_and_written(runtime, tmp_path):
    """It had locks, on another host: SQLite's write-ahead log lies beside the index."""
    code = """
import os, sys
from pathlib import Path
from offcamd.store.index_file import open_to_write
from offcamd.store.index import RunIndex
folder = Path(sys.argv[1])
RunIndex.open(folder)
database = open_to_write(folder)
print(database.execute("PRAGMA journal_mode").fetchone()[0], flush=True)
database.execute("CREATE TABLE IF NOT EXISTS more(x)")
database.execute("INSERT INTO more VALUES (1)")
os._exit(0)
"""
    folder = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert done.stdout == "wal\n"
    assert (folder / f"{INDEX_NAME}-wal").stat().st_size
    reading = "import offcam, sys; print(len(offcam.load(sys.argv[1], session='all').episodes))"
    assert run("-c", reading, folder).stdout == "0\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("offcam_proto.host.locks_missing", lambda *_: True)
        assert list(read_run(folder, "all").episodes) == []
    done = run("-c", code, folder)
    assert done.stdout == "delete\n", done.stderr


HOLD = """
import sys
from pathlib import Path
from offcam_runs.folder_lock import FolderLock
from offcam_proto.errors import DaemonAlreadyRunning
try:
    lock = FolderLock.acquire(Path(sys.argv[1]), "a test")
except DaemonAlreadyRunning as error:
    print(error, flush=True)
else:
    print("held", flush=True)
    sys.stdin.read()
    lock.release()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of a folder, without locks."""
    with subprocess.Popen(
        without_locks("-c", HOLD, tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_writer_is_told_of_the_first_whether_or_not_it_sees_locks(holder, tmp_path):
    assert f"pid {holder.pid} " in run("-c", HOLD, tmp_path).stdout
    assert writer_of(tmp_path).pid == holder.pid
    with pytest.raises(offcam.OffcamError, match=f"pid {holder.pid} "):
        FolderLock.acquire(tmp_path, "one with locks")
    holder.communicate("")
    assert list(tmp_path.iterdir()) == []
    assert writer_of(tmp_path) is None


def test_the_claim_of_a_process_that_is_gone_is_taken_over_at_once(holder, tmp_path):
    holder.kill()
    holder.wait()
    assert (tmp_path / (LOCK_NAME + CLAIM_ENDING)).exists()
    assert writer_of(tmp_path) is None
    assert run("-c", HOLD, tmp_path).stdout == "held\n"
    assert list(tmp_path.iterdir()) == []


def test_the_claim_of_a_process_that_is_frozen_holds(holder, tmp_path, monkeypatch):
    monkeypatch.setattr(file_lock, "STALE_SECONDS", 0.0)
    freeze(holder.pid)
    try:
        assert writer_of(tmp_path).pid == holder.pid
    finally:
        holder.send_signal(signal.SIGCONT)


@pytest.fixture
def claims(monkeypatch):
    """This process is told that there are no locks."""

    def none(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(file_lock.fcntl, "flock", none)


def rewritten(path, **changes):
    """Say something else in a claim."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_claim_of_another_host_holds_as_long_as_it_is_touched(claims, tmp_path):
    file, claim = tmp_path / "a", tmp_path / f"a{CLAIM_ENDING}"
    lock = FileLock.take(file, 0o600)
    rewritten(claim, host="another")
    assert held(file)
    assert FileLock.take(file, 0o600) is None
    long_ago = time.time() - 2 * file_lock.STALE_SECONDS
    os.utime(claim, (long_ago, long_ago))
    assert not held(file)
    second = FileLock.take(file, 0o600)
    assert second is not None
    assert held(file)
    second.release(remove=True)
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_pid_that_was_given_anew_is_nobody(claims, tmp_path):
    lock = FileLock.take(tmp_path / "a", 0o600)
    rewritten(tmp_path / f"a{CLAIM_ENDING}", born="yesterday")
    assert not held(tmp_path / "a")
    lock.release(remove=True)


def test_a_claim_that_says_nothing_holds_until_it_is_old(claims, tmp_path):
    """Its maker is about to write it, or died over it."""
    claim = tmp_path / f"a{CLAIM_ENDING}"
    (tmp_path / "a").touch()
    claim.touch()
    assert held(tmp_path / "a")
    os.utime(claim, (1.0, 1.0))
    lock = FileLock.take(tmp_path / "a", 0o600)
    assert lock is not None
    lock.release(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_the_heartbeat_keeps_a_claim_fresh(claims, tmp_path, monkeypatch):
    monkeypatch.setattr(file_lock, "HEARTBEAT_SECONDS", 0.01)
    claim = tmp_path / f"a{CLAIM_ENDING}"
    lock = FileLock.take(tmp_path / "a", 0o600)
    os.utime(claim, (1.0, 1.0))
    deadline = time.monotonic() + WAIT_SECONDS
    while claim.stat().st_mtime < 2.0:
        assert time.monotonic() < deadline, "nobody touched it"
        time.sleep(0.01)
    lock.release()


def test_a_lock_that_was_handed_on_ends_with_the_heir(claims, tmp_path):
    path = tmp_path / "a"
    lock = FileLock.take(path, 0o600)
    fd = os.dup(lock.fd)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as heir:
        lock.hand_to(heir.pid)
        assert held(path)
        heir.communicate(b"\n")
    assert not held(path)
    FileLock.end_inherited(path, fd)
    assert list(tmp_path.iterdir()) == [path]


MORTAL = """
import os, random, sys, time
from pathlib import Path
from offcam_runs.file_lock import FileLock
folder, number = Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(number)
for _ in range(20):
    while (lock := FileLock.take(folder / "lock", 0o600)) is None:
        time.sleep(0.001)
    (folder / "inside").mkdir()  # fails where somebody else is inside
    (folder / "inside").rmdir()
    if chance.random() < 0.2:
        print("died", flush=True)
        os._exit(0)  # and leaves its claim
    lock.release(remove=chance.random() < 0.5)
"""


def test_one_at_a_time_though_holders_die_and_many_want_to_take_over(tmp_path):
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    without_locks("-c", MORTAL, tmp_path, number),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(5)
        ]
        for process in processes:
            stack.callback(process.kill)
        said = [process.communicate(timeout=WAIT_SECONDS) for process in processes]
    assert [process.returncode for process in processes] == [0] * 5, said
    assert sum(out.count("died") for out, _ in said) > 1, "none died, so nothing was shown"
