"""Addresses, folders and daemons that are not what they should be: said at once, or waited for in bounded time."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import stat
from pathlib import Path

import pytest

import films
import offcam
import offcam.connection.launch
import offcam.connection.timeouts
from envs import Barcode, play
from offcam_proto.errors import DaemonUnavailable, FolderNotWritable, VersionMismatch
from offcam_runs.format import PENDING_NAME
from offcam_runs.run import read_run
from waiting import wait_until

PEERS = Path(__file__).parent.parent / "peers"


@pytest.mark.parametrize(
    "address",
    ["nonsense", "ipc://", "ipc://relative/path", "tcp://host", "tcp://host:99999", "/a/path", "http://x:1",
     "ipc:///" + "x" * 120],
)  # fmt: skip
def test_a_malformed_address(folder, runtime, monkeypatch, address):
    monkeypatch.setenv("OFFCAM_ADDR", address)
    with pytest.raises(offcam.OffcamError, match="OFFCAM_ADDR") as raised:
        offcam.RecordVideo(Barcode(), str(folder))
    assert "ipc:///" in str(raised.value) or "unset" in str(raised.value)
    with pytest.raises(offcam.OffcamError, match="OFFCAM_ADDR"):
        offcam.RecordEpisodeStatistics(Barcode())


def test_a_file_in_the_folders_way(tmp_path, daemon):
    (tmp_path / "file").write_text("mine")
    for place in ("file", "file/below"):
        with pytest.raises(FolderNotWritable, match=r"cannot create the folder .* Give a `video_folder`"):
            offcam.RecordVideo(Barcode(), str(tmp_path / place))
    assert (tmp_path / "file").read_text() == "mine"


def test_records_that_cannot_be_stored_are_waited_for_in_bounded_time(folder, serve, monkeypatch):
    """The index is taken away under the daemon's hands: it answers, but commits nothing."""
    serve()
    env = offcam.record(Barcode(3), str(folder), episode_trigger=lambda _: False)
    play(env, 1)
    assert env.flush()
    thief = sqlite3.connect(folder / "offcam.sqlite3", isolation_level=None)
    with monkeypatch.context() as impatient, contextlib.closing(thief):
        impatient.setattr(offcam.connection.timeouts, "SILENCE_SECONDS", 1.0)
        thief.execute("BEGIN IMMEDIATE")  # locks it for longer than the daemon waits
        play(env, 1)
        with pytest.warns(UserWarning, match="gave up waiting"):
            assert not env.flush()
    env.close()
    assert len(films.episodes(folder)) == 2


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission(tmp_path, daemon):
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(FolderNotWritable, match="is not writable for you"):
        offcam.RecordVideo(Barcode(), str(tmp_path / "locked"))


def test_a_folder_that_only_the_daemon_cannot_use(tmp_path, daemon):
    """An index that is no index: the daemon says so, at construction."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "offcam.sqlite3").write_text("this is no database" * 100)
    with pytest.raises(offcam.OffcamError, match="run"):
        offcam.RecordVideo(Barcode(), str(tmp_path / "run"))


def test_statistics_whose_folder_cannot_be_used_are_kept_here(tmp_path, daemon, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "file"))
    env = offcam.RecordEpisodeStatistics(Barcode(3))
    state = tmp_path / "state" / "offcam"
    with pytest.warns(UserWarning, match=f"2 episodes are kept in {state} "):  # noqa: PT031 - whichever hears of it first
        play(env, 2)
        env.close()
    assert list(env.length_queue) == [3, 3]
    assert len(list((state / PENDING_NAME).iterdir())) == 1


def test_a_daemon_of_another_version(folder, serve, runtime, monkeypatch):
    """It can be met only where somebody names its socket; and then nobody is told to end it."""
    monkeypatch.setenv("OFFCAM_ADDR", f"ipc://{runtime}/r/newer.sock")
    serve(script=PEERS / "newer_daemon.py")
    advice = "install the same offcam on both sides, or unset OFFCAM_ADDR"
    with pytest.warns(UserWarning, match=f"nothing more is recorded: .*{advice}") as warned:
        env = offcam.record(Barcode(3), str(folder))
    with pytest.raises(VersionMismatch, match=advice) as refused:
        offcam.RecordVideo(Barcode(), str(folder), strict=True)
    assert "stop" not in str(refused.value) + "".join(str(each.message) for each in warned)
    play(env, 2)
    env.close()
    assert list(env.length_queue) == [3, 3]


def test_somebody_elses_socket(folder, endpoint, embedded, monkeypatch):
    """A socket that listens but is no daemon: an answer that says what to do, in bounded time.

    Once it is gone, a daemon is started for what was kept meanwhile.
    """
    monkeypatch.setattr(offcam.connection.timeouts, "START_SECONDS", 0.5)
    monkeypatch.setattr(offcam.connection.timeouts, "SILENCE_SECONDS", 0.5)
    assert endpoint.path is not None
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(endpoint.path)
        stranger.listen()
        with pytest.warns(UserWarning, match="does not answer"):
            env = offcam.RecordVideo(Barcode(3), str(folder))
        play(env, 1)
        env.close()
    Path(endpoint.path).unlink()
    wait_until(env.flush, "a daemon has what was kept")
    (clip,) = read_run(folder).clips
    assert (clip.offered, clip.dropped) == (4, {"no_daemon": 4})


def test_a_daemon_that_cannot_start(folder, runtime, monkeypatch):
    """Nothing raises but what construction says: here, that there is none and why."""
    monkeypatch.setenv("OFFCAM_CRF", "99")
    with pytest.warns(UserWarning, match="nothing is recorded yet: .*OFFCAM_CRF"):
        env = offcam.RecordVideo(Barcode(3), str(folder))
    play(env, 1)
    env.close()
    assert issubclass(DaemonUnavailable, offcam.OffcamError)
