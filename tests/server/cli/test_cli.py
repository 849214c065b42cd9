from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import typer

import offcamd
from commandline import COMMAND, WAIT_SECONDS
from fetching import fetch
from offcam_runs.accounts import EncodedResult
from offcam_runs.pins import write_pin
from offcamd import __version__
from offcamd.cli import app
from offcamd.cli.text import number, size, span
from offcamd.process.instance_lock import DaemonInfo, DaemonLock, daemon_paths, pid_namespace, read_lock
from offcamd.process.logs import MAX_LOG_BYTES, tail
from offcamd.store.index import RunIndex
from offcamd.video.mp4 import VideoWriter
from run_samples import PEER, A, clip, episode, open_clip, packed, stream
from waiting import freeze, wait_until

READY = re.compile(r"offcam ready pid=(\d+) endpoint=(ipc://\S+) http=(http://127\.0\.0\.1:\d+|off)")
STATUS_KEYS = {
    "pid", "version", "endpoint", "http", "uptime_seconds", "clients", "streams", "queue_bytes",
    "queue_limit_bytes", "encode_lag_seconds", "frames", "episodes", "clips", "runs",
}  # fmt: skip


def wait_until_free(endpoint):
    wait_until(lambda: not read_lock(endpoint), "the daemon has left")


def held(endpoint, **changes):
    """A lock held by this process, as by a daemon."""
    given = {"http": None, "version": "0", "log_file": None, "started": 0.0, "pid_namespace": pid_namespace()}
    lock = DaemonLock(endpoint)
    lock.acquire(DaemonInfo(pid=os.getpid(), endpoint=endpoint.url, **{**given, **changes}))
    return lock


def is_locked(path):
    """Whether somebody else holds a flock."""
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


# --- serve ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_serve_says_once_that_it_is_ready_and_leaves_in_good_order(serve, endpoint, number):
    process, line = serve()
    pid, url, http = READY.fullmatch(line).groups()
    assert (int(pid), url) == (process.pid, endpoint.url)
    assert fetch(f"{http}/healthz").text == "ok"
    assert fetch(f"{http}/api/stats").json()["pid"] == process.pid
    process.send_signal(number)
    out, _err = process.communicate(timeout=WAIT_SECONDS)
    assert (process.returncode, out) == (0, "")
    assert read_lock(endpoint) is None
    assert not daemon_paths(endpoint).socket.exists()


def test_serve_logs_json_lines_where_nobody_watches(serve):
    process, _line = serve("--log-level", "debug")
    process.terminate()
    _out, err = process.communicate(timeout=WAIT_SECONDS)
    assert err
    for text in err.splitlines():
        assert {"event", "level", "timestamp"} <= set(json.loads(text))


def test_a_second_daemon_is_refused(serve, offcam):
    process, _line = serve()
    done = offcam("serve")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"pid {process.pid}" in done.stderr
    assert "Traceback" not in done.stderr
    assert process.poll() is None


def test_the_port_that_was_asked_for_or_none(serve, offcam):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = offcam("serve", "--http", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 2
    assert "--http HOST:PORT" in done.stderr
    _process, line = serve("--http", "off")
    assert READY.fullmatch(line)[3] == "off"


def test_serve_outlives_whoever_waited_for_its_ready_line(runtime, endpoint, offcam):
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen([*COMMAND, "serve"], stdout=write, stderr=subprocess.DEVNULL) as process:
        os.close(write)
        while not (info := read_lock(endpoint)):
            time.sleep(0.02)
        assert info.pid == process.pid
        assert offcam("status").returncode == 0
        assert offcam("stop").returncode == 0
        assert process.wait(WAIT_SECONDS) == 0


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux's")
def test_no_thread_of_the_daemon_takes_a_core_by_waking_up(serve):
    process, _ = serve()
    policies = {task: os.sched_getscheduler(int(task.name)) for task in Path(f"/proc/{process.pid}/task").iterdir()}
    assert len(policies) > 3
    assert set(policies.values()) == {os.SCHED_BATCH}, policies


# --- start, stop ------------------------------------------------------------------------------------------


def test_start_is_idempotent_and_stop_waits(offcam, endpoint):
    first, second = offcam("start"), offcam("start")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert first.stdout == second.stdout
    pid, url, http = READY.fullmatch(first.stdout.strip()).groups()
    assert url == endpoint.url
    assert os.getsid(int(pid)) == int(pid)
    assert Path(f"/proc/{pid}/cwd").resolve() == Path("/")
    assert fetch(f"{http}/healthz").text == "ok"
    stopped = offcam("stop")
    assert (stopped.returncode, stopped.stdout) == (0, f"Stopped the offcam daemon (pid {pid}).\n")
    assert read_lock(endpoint) is None
    again = offcam("stop")
    assert (again.returncode, again.stdout) == (0, f"No offcam daemon is running at {endpoint.url}.\n")


def test_starters_at_once_get_one_daemon(offcam):
    with ThreadPoolExecutor() as pool:
        done = [run.result() for run in [pool.submit(offcam, "start", "--embedded") for _ in range(4)]]
    assert [one.returncode for one in done] == [0] * 4, [one.stderr for one in done]
    assert len({one.stdout for one in done}) == 1


def test_an_embedded_daemon_leaves_when_idle(offcam, endpoint):
    assert offcam("start", "--embedded", "--idle-seconds", "3").returncode == 0  # so long it may take to be seen
    wait_until_free(endpoint)
    log = daemon_paths(endpoint).log
    assert log.stat().st_mode & 0o077 == 0
    assert "idle" in log.read_text()


def test_settings_reach_the_daemon_it_starts(offcam, runtime):
    Path("offcam.toml").write_text('memory_limit = "7MiB"\nlog_file = "my.log"\n')
    assert offcam("start", "--crf", "30").returncode == 0
    assert json.loads(offcam("status", "--json").stdout)["queue_limit_bytes"] == 7 * 2**20
    assert (runtime / "cwd" / "my.log").exists()


def test_a_start_that_fails_says_why_in_a_line(offcam, endpoint):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = offcam("start", "--http", f"127.0.0.1:{taken.getsockname()[1]}")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "cannot serve HTTP" in done.stderr
    assert read_lock(endpoint) is None


def test_a_start_that_takes_long_is_left_alone(offcam, endpoint):
    done = offcam("start", "--timeout", "0.1")
    assert done.returncode == 1
    pid = int(re.search(r"daemon \(pid (\d+)\) is still starting.*`kill \1`", done.stderr)[1])
    patient = offcam("start")
    assert patient.returncode == 0, patient.stderr
    assert int(READY.fullmatch(patient.stdout.strip())[1]) == read_lock(endpoint).pid == pid
    assert not is_locked(daemon_paths(endpoint).launch_lock)


def test_who_starts_one_that_is_starting_waits_for_that(offcam, endpoint):
    """The lock is the daemon's own, so that it says so also when whoever launched it has left."""
    lock = daemon_paths(endpoint).launch_lock
    lock.parent.mkdir(mode=0o700, exist_ok=True)
    with lock.open("w") as file:
        file.write("4711")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        done = offcam("start", "--timeout", "0.1")
    assert done.returncode == 1
    assert "pid 4711" in done.stderr
    assert read_lock(endpoint) is None


def test_a_daemon_that_is_leaving_is_waited_for(offcam, endpoint):
    lock = held(endpoint)
    lock.update(stopping=True)
    with ThreadPoolExecutor() as pool:
        started = pool.submit(offcam, "start")
        while not is_locked(lock.paths.launch_lock):
            assert not started.done()
            time.sleep(0.01)
        assert not started.done()
        lock.release()
        done = started.result()
    assert done.returncode == 0, done.stderr
    assert int(READY.fullmatch(done.stdout.strip())[1]) == read_lock(endpoint).pid != os.getpid()


def test_a_killed_daemon_leaves_nothing_in_the_way(offcam, serve, endpoint):
    process, _line = serve()
    process.kill()
    process.wait(WAIT_SECONDS)
    assert daemon_paths(endpoint).socket.exists()
    assert offcam("status", "--timeout", "0.3").returncode == 1
    assert offcam("start").returncode == 0
    assert offcam("status").returncode == 0


def test_a_daemon_in_another_container_is_not_ours_to_stop(offcam, endpoint):
    lock = held(endpoint, pid_namespace="pid:[1]")  # its pid is this process's here, and a SIGTERM would end it
    done = offcam("stop")
    lock.release()
    assert done.returncode == 2
    assert "another container" in done.stderr


def test_a_named_socket_in_a_directory_open_to_others_is_refused(offcam, runtime):
    (runtime / "open").mkdir()
    (runtime / "open").chmod(0o777)
    for verb in ("serve", "start"):
        done = offcam(verb, OFFCAM_ADDR=f"ipc://{runtime}/open/a.sock")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"chmod 700 {runtime}/open" in done.stderr


def test_stop_gives_up_waiting_and_says_so(offcam, serve):
    process, _line = serve()
    freeze(process.pid)
    try:
        done = offcam("stop", "--timeout", "0.2")
    finally:
        process.send_signal(signal.SIGCONT)
    assert done.returncode == 1
    assert f"pid {process.pid} is still finalising" in done.stderr
    assert process.wait(WAIT_SECONDS) == 0


# --- status -----------------------------------------------------------------------------------------------


def test_status(offcam, serve):
    process, line = serve()
    shown = offcam("status")
    assert shown.returncode == 0
    assert f"pid {process.pid}, offcam {__version__}" in shown.stdout
    done = offcam("status", "--json")
    stats = json.loads(done.stdout)
    assert set(stats) >= STATUS_KEYS
    assert set(stats["frames"]) == {"offered", "encoded", "dropped"}
    assert stats["http"] == READY.fullmatch(line)[3]
    served = fetch(f"{stats['http']}/api/stats").json()
    assert served.keys() == stats.keys()
    assert served["pid"] == process.pid


def test_status_without_a_daemon(offcam, endpoint):
    done = offcam("status")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"no offcam daemon at {endpoint.url}" in done.stderr
    assert "offcam start" in done.stderr
    done = offcam("status", "--json")
    assert done.returncode == 1
    assert "no offcam daemon" in json.loads(done.stdout)["error"]


# --- ls, verify -------------------------------------------------------------------------------------------


@pytest.fixture
def run_folder(tmp_path):
    """A run of 30 episodes, one of them with a NaN return, and one video."""
    folder = tmp_path / "run[bold]"
    index = RunIndex.open(folder)
    with contextlib.closing(index):
        index.open_stream(stream(), PEER)
        index.clip_opened(A, open_clip(), "rl-video-episode-0.mp4")
        writer = VideoWriter(
            folder / "rl-video-episode-0.mp4", width=64, height=48, fps=Fraction(30), preset="ultrafast", crf=30
        )
        for pts in range(21):
            writer.write(np.full((72, 64), pts * 10, np.uint8), pts)
        writer.close()
        index.clip_encoded(
            A, 0, EncodedResult("final", "rl-video-episode-0.mp4", 21, width=64, height=48, duration=0.7)
        )
        episodes = [episode(number, **({"return_": math.nan} if number == 9 else {})) for number in range(30)]
        index.apply(A, 1, packed(*episodes, clip()))
    return folder


def test_ls(offcam, run_folder):
    done = offcam("ls", str(run_folder), COLUMNS="200")
    assert done.returncode == 0
    for text in ("1 video", "rl-video-episode-0.mp4", "final", "30 episodes, the last 20", "39", "terminated"):
        assert text in done.stdout
    assert offcam("ls", "--all", str(run_folder), COLUMNS="200").stdout.count("terminated") == 30


def test_ls_json(offcam, run_folder):
    done = offcam("ls", "--json", str(run_folder))
    listed = json.loads(done.stdout, parse_constant=pytest.fail)
    (video,) = listed["clips"]
    keys = {"file", "state", "frames", "fps", "duration_seconds", "episode", "return", "length", "dropped"}
    assert video.keys() >= keys
    assert (video["file"], video["frames"], video["return"]) == ("rl-video-episode-0.mp4", 21, 10.0)
    keys = {"stream", "episode", "return", "length", "duration_seconds", "seed", "terminated", "truncated"}
    assert all(row.keys() >= keys for row in listed["episodes"])
    assert [row["return"] for row in listed["episodes"][8:11]] == [18.0, None, 20.0]


def test_ls_pinned(offcam, run_folder):
    assert offcam("ls", "--pinned", str(run_folder)).stdout == "0 pinned videos\n"
    write_pin(run_folder, f"{A.hex()}-0", "jumps over the wall")
    write_pin(run_folder, f"{A.hex()}-7", "was let go")
    done = offcam("ls", "--pinned", str(run_folder), COLUMNS="200")
    for text in ("1 pinned video", "rl-video-episode-0.mp4", "note", "jumps over the wall"):
        assert text in done.stdout
    assert "episodes" not in done.stdout
    listed = json.loads(offcam("ls", "--pinned", "--json", str(run_folder)).stdout)
    (video,) = listed["clips"]
    assert (video["file"], video["pin"]["note"], listed["episodes"]) == (
        "rl-video-episode-0.mp4", "jumps over the wall", [],
    )  # fmt: skip


def test_verify(offcam, run_folder):
    done = offcam("verify", str(run_folder))
    assert (done.returncode, done.stdout) == (0, "1 video, 21 frames checked: all is well.\n")
    (run_folder / "rl-video-episode-0.mp4").unlink()
    done = offcam("verify", str(run_folder))
    assert done.returncode == 1
    assert "missing_file: rl-video-episode-0.mp4" in done.stdout
    done = offcam("verify", "--json", str(run_folder))
    assert done.returncode == 1
    assert [problem["kind"] for problem in json.loads(done.stdout)["problems"]] == ["missing_file"]


@pytest.mark.parametrize("verb", ["ls", "verify"])
def test_a_folder_that_is_no_run(offcam, tmp_path, verb):
    done = offcam(verb, str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


# --- usage ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["nonsense"], ["status", "--nonsense"], ["ls"], [], ["stop", "--timeout", "x"]])
def test_wrong_usage(offcam, words):
    assert offcam(*words).returncode == 2


def test_help_and_version(offcam):
    assert offcam("--version").stdout == f"offcam {__version__}\n"
    shown = offcam("serve", "--help", COLUMNS="200", TERM="dumb").stdout
    for text in ("--memory-limit", "OFFCAM_MEMORY_LIMIT", "512MiB", "--config"):
        assert text in shown


def test_help_tells_verbs_by_what_they_are_for_and_breaks_lines_where_the_terminal_ends(offcam):
    lines = [line.strip("│ ") for line in offcam("--help", COLUMNS="80", TERM="dumb").stdout.splitlines()]
    heads = [line.strip("╭─╮ ") for line in lines if "╭" in line]
    assert heads == ["Options", "To begin with", "The recorder", "Runs", "Videos", "Other places"]
    assert all(any(line.startswith(f"{verb} ") for line in lines) for verb in typer.main.get_command(app).commands)
    prose = offcam("show", "--help", COLUMNS="80", TERM="dumb").stdout.partition("╭")[0].splitlines()
    pairs = [(one.strip(), other.split()[:1]) for one, other in itertools.pairwise(prose)]
    assert [line for line, after in pairs if line and after and len(line) + 1 + len(after[0]) < 78] == []


def test_a_wrong_setting_is_one_friendly_message_and_debug_shows_more(offcam):
    done = offcam("serve", "--crf", "99")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith("offcam: --crf must be an integer from 0 to 51")
    assert "Traceback" in offcam("serve", "--crf", "99", OFFCAM_LOG="debug").stderr
    done = offcam("status", OFFCAM_ADDR="nonsense")
    assert done.returncode == 2
    assert "OFFCAM_ADDR" in done.stderr


@pytest.mark.usefixtures("offcam")  # stops the daemon
def test_a_training_s_own_modules_are_not_taken_for_libraries():
    for name in ("typer", "logging", "zmq"):
        Path(f"{name}.py").write_text("raise RuntimeError('imported from the training folder')\n")
    command = [*COMMAND, "start"]  # an interpreter of its own: what it imports is what this is about
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def bare(tmp_path):
    """The command line in a base install: without any site-packages."""
    server = Path(offcamd.__file__).parents[1]
    metadata = tmp_path / f"offcam-{__version__}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: offcam\nVersion: {__version__}\n")

    def run(*words):
        return subprocess.run(
            [sys.executable, "-S", "-m", "offcamd", *words],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={"PYTHONPATH": f"{server}:{server.parent / 'proto'}:{tmp_path}"},
        )

    return run


def test_without_the_server_extra_it_says_what_to_install(bare):
    done = bare("start", "--embedded")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert 'pip install "offcam[server]"' in done.stderr
    assert "av, cv2" in done.stderr
    done = bare("status", "--json")
    assert (done.returncode, done.stderr) == (2, "")
    assert json.loads(done.stdout)["type"] == "DaemonNotInstalled"
    for flag in ("-V", "--version"):
        done = bare(flag)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"offcam {__version__}\n", "")


# --- the log, and numbers for people ----------------------------------------------------------------------

FILL = """
import os, sys
from pathlib import Path
from offcamd.process import logs
logs.configure("info", Path(sys.argv[1]))
log = logs.Logger("test")
log.debug("too quiet")
for number in range(100):
    log.info("line", number=number, filler="x" * 100_000)
os.write(2, b"from a C library\\n")
import logging
logging.getLogger("uvicorn.error").warning("from the standard library")
"""


def test_the_log_is_bounded_and_holds_what_others_print(tmp_path):
    path = tmp_path / "logs" / "daemon.log"
    subprocess.run([sys.executable, "-c", FILL, str(path)], check=True, timeout=WAIT_SECONDS)
    sizes = {file.name: file.stat().st_size for file in path.parent.iterdir()}
    assert sizes.keys() == {"daemon.log", "daemon.log.1"}
    assert max(sizes.values()) < MAX_LOG_BYTES + 200_000
    text = path.read_text()
    assert "from a C library" in text
    assert '"event": "from the standard library"' in text
    assert '"number": 99' in text
    assert "too quiet" not in text


def test_tail(tmp_path):
    path = tmp_path / "log"
    assert tail(path) == []
    path.write_text("old\n" + "".join(f"{number}\n" for number in range(30)))
    assert tail(path, offset=4, lines=2) == ["28", "29"]
    assert tail(path, offset=4, lines=100)[0] == "0"


def test_numbers_for_people():
    assert [number(value) for value in (None, 1.0, 0.123456, 200.5, 123456.7, -12345.0)] == [
        "-", "1", "0.1235", "200.5", "123,457", "-12,345",
    ]  # fmt: skip
    assert [size(value) for value in (None, 0, 1023, 1024, 3 * 2**29, 2**50)] == [
        "-", "0 B", "1023 B", "1 KiB", "1.5 GiB", "1024 TiB",
    ]  # fmt: skip
    assert [span(value) for value in (None, 0.0, 0.000443, 0.1, 1.25, 61, 3600, 90061)] == [
        "-", "0 s", "0.443 ms", "0.1 s", "1.25 s", "1 min 1 s", "1 h 0 min", "1 d 1 h",
    ]  # fmt: skip
