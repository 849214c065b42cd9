"""No finished episode is lost, whatever dies: what its client's journal holds when nobody is left, and who takes it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import films
import offcam
from envs import Barcode, play
from offcam_proto import codec
from offcam_runs import journal
from offcam_runs.file_lock import held
from offcam_runs.format import LOST, PENDING_NAME
from offcam_runs.run import read_run
from waiting import HANG_SECONDS, freeze, wait_until

AGENT = """
import os, signal, sys, offcam
from envs import Barcode, play
env = offcam.RecordVideo(offcam.RecordEpisodeStatistics(Barcode(2)), sys.argv[1], lambda _: False)
for episode in range(int(sys.argv[2])):
    play(env)
    print(episode, flush=True)
{ending}
"""
ENDINGS = {
    "os._exit": ("os._exit(0)", 0),
    "sigkill": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "sigterm": ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    "error": ("1 / 0", 1),
    "end": ("", 0),
    "close": ("env.close()", 0),
}
MANY = 10**9


def agent(folder, episodes: int, ending: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", AGENT.format(ending=ending), str(folder), str(episodes)]
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(__file__).parents[1])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def journals(folder) -> list[Path]:
    return list(folder.glob(f"{PENDING_NAME}/*.rec"))


def journaled(folder) -> list[int]:
    """The episodes in a folder's journals, none of which anybody has."""
    found = []
    for path in journals(folder):
        assert not held(path)
        found += [codec.unpack_record(body).episode for seq, body in journal.frames(path.read_bytes()) if seq]
    return found


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_agent_without_a_daemon(folder, endpoint, monkeypatch, ending):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)  # nobody is there
    last, code = ENDINGS[ending]
    with agent(folder, 200, last) as process:
        _, said = process.communicate(timeout=HANG_SECONDS)
        assert process.returncode == code, said
    assert journaled(folder) == list(range(200))
    (stream,) = read_run(folder, "all").streams
    assert (stream.host, stream.pid, stream.state) == (socket.gethostname(), process.pid, LOST)
    if ending in ("close", "end", "error"):
        assert f"200 episodes are kept in {folder} " in said


@pytest.mark.parametrize("named", [True, False], ids=["no daemon", "a daemon that hangs"])
def test_an_agent_killed_at_any_moment(folder, serve, endpoint, monkeypatch, named):
    """What it said it had finished is in its journal or in the index; nothing that it did not finish is."""
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    daemon = None
    if not named:
        daemon, _ = serve()
    chance = random.Random(7)
    said = {}
    for run in [folder / str(number) for number in range(5)]:
        with agent(run, MANY) as process:
            for _ in range(chance.randrange(20, 400)):
                last = process.stdout.readline()
            if daemon is not None:
                freeze(daemon.pid)
            for _ in range(chance.randrange(20, 400)):
                last = process.stdout.readline()
            process.kill()
            said[run] = int((last + process.stdout.read()).split()[-1])
        if daemon is not None:
            daemon.send_signal(signal.SIGCONT)
    for run, last in said.items():
        stored = set()
        if daemon is not None:
            wait_until(
                lambda run=run: [each.state for each in read_run(run, "all").streams] == [LOST], "its end was noticed"
            )
            wait_until(lambda run=run: not journals(run), "what it left was taken in")
            stored = {row.episode for row in films.episodes(run)}
        found = sorted({*journaled(run), *stored})
        assert found in (list(range(last + 1)), list(range(last + 2)))


def test_the_same_client_when_a_daemon_comes(folder, serve, endpoint, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    monkeypatch.setattr("offcam_proto.backlog.MAX_UNACKED_RECORDS", 10)
    env = offcam.RecordVideo(offcam.RecordEpisodeStatistics(Barcode(2)), str(folder), lambda _: False)
    play(env, 3000)
    assert len(journals(folder)) == 1
    serve()
    play(env, 2)
    wait_until(env.flush, "the daemon has it all")
    assert [row.episode for row in films.episodes(folder)] == list(range(3002))
    env.close()
    assert not (folder / PENDING_NAME).exists()


def test_records_that_come_in_quick_succession_arrive_without_a_flush(folder, serve, endpoint, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    serve()
    env = offcam.RecordVideo(offcam.RecordEpisodeStatistics(Barcode(2)), str(folder), lambda _: False)
    play(env, 50)
    wait_until(lambda: len(films.episodes(folder)) == 50, "all are in the index")
    env.close()


def test_a_forked_child_leaves_its_parents_journal_alone(folder, endpoint, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)  # nobody is there
    env = offcam.RecordVideo(offcam.RecordEpisodeStatistics(Barcode(2)), str(folder), lambda _: False)
    play(env, 5)
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            play(env, 3)
        os._exit(0)
    os.waitpid(child, 0)
    play(env, 2)
    (theirs,) = [path for path in journals(folder) if not held(path)]
    records = [codec.unpack_record(body) for seq, body in journal.frames(theirs.read_bytes()) if seq]
    assert [record.episode for record in records] == [5, 6, 7]
    env.close()
    offcam.connection.process.shutdown_all()
    assert sorted(journaled(folder)) == [0, 1, 2, 3, 4, 5, 5, 6, 6, 7]


FULL = """
import resource, sys, offcam
from envs import Barcode, play
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
env = offcam.record(Barcode(1), sys.argv[1], episode_trigger=lambda _: False)
play(env, 8000)
env.close()
"""


def test_what_no_disk_has_room_for_is_not_called_kept(folder, endpoint, monkeypatch):
    """The disk of the run folder is full, and that of what stands for it, too: here, as no file may grow further."""
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)  # nobody is there
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", FULL, folder], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    kept = len(journaled(folder))
    assert 0 < kept < 8000
    assert f"{kept} episodes are kept in {folder} " in done.stderr
    assert f"{8000 - kept} more records are in no file, as no disk has room or answers" in done.stderr
    assert [row.episode for row in films.episodes(folder)] == list(range(kept))
