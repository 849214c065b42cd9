"""A folder and an address have one daemon at a time; the second is told the pid of the first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import films
import offcam
from envs import Barcode, Look, play
from offcam_proto.errors import DaemonAlreadyRunning, FolderNotWritable
from offcam_runs.folder_lock import FolderLock, writer_of
from offcam_runs.format import INDEX_NAME, LOCK_NAME
from offcam_runs.run import read_run
from offcamd.video.files import count_fragments
from waiting import Process, wait_until

PEERS = Path(__file__).parents[1] / "peers"

pytestmark = pytest.mark.filterwarnings("ignore:.*(Overwriting existing videos|frames of .* are missing)")


def test_a_second_daemon_on_the_same_endpoint_is_refused(daemons, offcam_command):
    first = daemons.start()
    done = offcam_command("serve")
    assert done.returncode == 2
    assert f"pid {first.pid}" in done.stderr
    assert daemons.stats()["pid"] == first.pid  # and nobody took its socket
    daemons.stop()


def test_daemons_of_two_versions_serve_side_by_side(serve, tmp_path):
    """Each client meets the daemon that speaks its version, in the same directory; nobody has to end anything."""
    old, _ = serve()
    script = PEERS / "next_version.py"
    serve(script=script, fresh=True)
    env = offcam.record(Barcode(4), str(tmp_path / "old"), every=1, strict=True)
    newer = subprocess.run(
        [sys.executable, str(script), "record", str(tmp_path / "new")],
        env={**os.environ, "PYTHONPATH": str(PEERS.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert newer.returncode == 0, newer.stderr
    play(env, 2)
    env.close()
    for folder in (tmp_path / "old", tmp_path / "new"):
        films.check(folder)
        assert [clip.state for clip in read_run(folder, "all").clips] == ["final", "final"]
    assert old.poll() is None


def test_a_daemon_of_another_version_does_not_take_a_socket_that_is_in_use(daemons, tmp_path):
    """Not even where somebody names it."""
    daemons.start()
    late = subprocess.run(
        [sys.executable, str(PEERS / "next_version.py")],
        env={**os.environ, "PYTHONPATH": str(PEERS.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert late.returncode != 0
    assert "is listening at" in late.stderr
    env = offcam.record(Barcode(4), str(tmp_path / "run"), every=1, strict=True)
    play(env, 1)
    env.close()
    daemons.stop()


def played(env) -> bool:
    """Play an episode, unhurried: each has a video, and all of them are looked at in the end."""
    time.sleep(0.05)
    return bool(play(env))


def test_a_stream_that_was_refused_goes_on_once_it_can(daemons, tmp_path):
    """The daemon is replaced while somebody else has the folder; the client hears of it when that is over."""
    daemons.start()
    folder = tmp_path / "run"
    env = offcam.record(Barcode(), str(folder), every=1)
    play(env)
    wait_until(lambda: daemons.stats()["episodes"] == 1, "it records")
    daemons.kill()
    lock = FolderLock.acquire(folder, "somebody else")
    try:
        daemons.start()
        wait_until(lambda: played(env) and daemons.events("a run folder cannot be used"), "its stream is refused")
    finally:
        lock.release()
    stored = wait_until(lambda: played(env) and daemons.stats()["episodes"], "its stream is open again")
    assert stored
    env.close()
    run = read_run(folder, "all")
    assert [episode.episode for episode in run.episodes] == list(range(len(run.episodes)))
    assert run.clips[-1].state == "final"
    assert len(daemons.events("a run folder cannot be used")) == 1, "said once, not at each try"
    films.check(folder)
    daemons.stop()


def test_a_second_daemon_on_the_same_folder_is_refused(daemons, agents, tmp_path, serve, monkeypatch, offcam_command):
    first = daemons.start()
    folder = tmp_path / "run"
    agents.start(folder, "--pause", "0.002")
    wait_until(lambda: writer_of(folder), "the folder is in use")
    assert writer_of(folder).pid == first.pid

    monkeypatch.setenv("OFFCAM_ADDR", f"{daemons.endpoint.url}2")
    second, _ = serve()
    with pytest.raises(FolderNotWritable, match=f"pid {first.pid} ") as refused:
        offcam.RecordVideo(Barcode(), str(folder), name_prefix="second")
    assert daemons.endpoint.url in str(refused.value)
    assert second.poll() is None
    done = offcam_command("recover", str(folder))
    assert done.returncode == 2
    assert f"pid {first.pid} " in done.stderr
    assert (folder / LOCK_NAME).exists()

    (count,) = agents.finish()
    assert not (folder / LOCK_NAME).exists()
    env = offcam.RecordVideo(Barcode(), str(folder), name_prefix="second")  # now it may
    play(env)
    env.close()
    run = read_run(folder, "all")
    assert len(run.episodes) == count
    assert {clip.state for clip in run.clips} == {"final"}
    films.check(folder)
    daemons.stop()


def test_two_daemons_take_turns_in_a_folder(daemons, tmp_path, serve, monkeypatch):
    """A daemon's statistics of a run are right though another one has written it in between."""
    daemons.start()
    folder = tmp_path / "run"
    for turn in range(4):
        monkeypatch.setenv("OFFCAM_ADDR", daemons.endpoint.url + "2" * (turn % 2))
        if turn == 1:
            serve()
        env = offcam.RecordEpisodeStatistics(offcam.RecordVideo(Barcode(3), str(folder), name_prefix=f"turn{turn}"))
        play(env, 2)
        env.close()
    (run,) = [run for run in daemons.stats()["runs"] if run["folder"] == str(folder)]
    assert run["episodes"] == 6  # as of its last turn
    assert len(read_run(folder, "all").episodes) == 8
    films.check(folder)
    daemons.stop()


def test_a_lock_of_the_dead_means_nothing(daemons, tmp_path, monkeypatch):
    """After SIGKILL what is left of the lock, the socket and the spool is in nobody's way."""
    monkeypatch.setattr(offcam.connection.shared_memory, "POSSIBLE", False)  # in which frames wait for longer
    folder, spool = tmp_path / "run", tmp_path / "spool"
    limits = ("--spool-dir", str(spool), "--memory-limit", "64MiB")
    daemons.start(PEERS / "slow_daemon.py", "0.05", *limits)
    env = offcam.RecordVideo(Barcode(10**6, Look(720, 1280)), str(folder))
    env.reset()
    part = folder / "rl-video-episode-0.mp4.part"
    wait_until(
        lambda: (
            [env.step(0) for _ in range(20)]
            and daemons.stats()["spool_bytes"] > 0
            and part.exists()
            and count_fragments(part) > 2
        ),
        "frames are in the spool, and others in the file",
    )
    daemons.kill()
    assert list(spool.iterdir()) == []
    assert (folder / LOCK_NAME).exists()
    assert writer_of(folder) is None
    assert daemons.endpoint.path is not None
    assert os.path.exists(daemons.endpoint.path)  # noqa: PTH110 - a string

    daemons.start("--spool-dir", str(spool))
    wait_until(lambda: env.step(0) and len(read_run(folder, "all").clips) == 2, "the agent is back with a second part")
    env.close()
    assert {clip.state for clip in read_run(folder, "all").clips} == {"recovered", "final"}
    assert sorted(path.name for path in folder.iterdir() if not path.name.endswith(".mp4")) == [INDEX_NAME]
    daemons.stop()
    assert not os.path.exists(daemons.endpoint.path)  # noqa: PTH110 - a string


LOCKER = """
import sys
from pathlib import Path
from offcam_proto.errors import DaemonAlreadyRunning
from offcam_runs.folder_lock import FolderLock
folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
held = 0
while held < rounds:
    try:
        lock = FolderLock.acquire(folder, "a test")
    except DaemonAlreadyRunning as error:
        assert error.pid is None or error.pid > 0, error
        continue
    (folder / "inside").mkdir()  # fails where somebody else is inside
    (folder / "inside").rmdir()
    held += 1
    lock.release()
"""


def test_the_lock_admits_one_at_a_time_though_its_file_comes_and_goes(tmp_path):
    command = [sys.executable, "-c", LOCKER, str(tmp_path), "300"]
    with (
        Process(command, stderr=subprocess.PIPE, text=True) as one,
        Process(command, stderr=subprocess.PIPE, text=True) as two,
    ):
        said = one.communicate()[1] + two.communicate()[1]
    assert (one.returncode, two.returncode, said) == (0, 0, "")
    assert list(tmp_path.iterdir()) == []


def test_the_lock_says_who_has_it(tmp_path):
    lock = FolderLock.acquire(tmp_path / "new", "ipc:///here")
    said = json.loads((tmp_path / "new" / LOCK_NAME).read_text())
    assert (said["pid"], said["what"]) == (os.getpid(), "ipc:///here")
    with pytest.raises(DaemonAlreadyRunning, match="ipc:///here") as refused:
        FolderLock.acquire(tmp_path / "new", "ipc:///there")
    assert refused.value.pid == os.getpid()
    lock.release()
    lock.release()
    assert writer_of(tmp_path / "new") is None
    assert list((tmp_path / "new").iterdir()) == []
