"""A folder is held for a process that writes a video for the folder's writer, and whoever comes next waits for that."""

from __future__ import annotations

import socket
import threading

from held import is_held
from offcam_runs import folder_lock
from offcam_runs.folder_lock import await_helpers, held_for_helper
from waiting import HANG_SECONDS, wait_until


def test_a_descriptor_on_its_way_holds_it_until_its_receiver_is_gone(tmp_path):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with held_for_helper(tmp_path) as held:
            socket.send_fds(ours, [b"a frame"], held)
        assert is_held(tmp_path)
        theirs.close()
        wait_until(lambda: not is_held(tmp_path), "it is let go")


def test_whoever_comes_waits_until_the_last_one_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_lock, "HELPER_SECONDS", HANG_SECONDS)
    tries = threading.Semaphore(0)
    real = folder_lock.try_flock

    def try_flock(descriptor, *, exclusive):
        got = real(descriptor, exclusive=exclusive)
        tries.release()
        return got

    with held_for_helper(tmp_path):
        with held_for_helper(tmp_path) as held:
            assert held, "any number of processes may hold it"
            monkeypatch.setattr(folder_lock, "try_flock", try_flock)
            waiting = threading.Thread(target=await_helpers, args=(tmp_path,))
            waiting.start()
            assert tries.acquire(timeout=HANG_SECONDS)
        for _ in range(2):
            assert tries.acquire(timeout=HANG_SECONDS)
        assert waiting.is_alive()
    waiting.join(HANG_SECONDS)
    assert not waiting.is_alive()
    assert not is_held(tmp_path)


def test_one_that_stays_is_waited_for_no_longer_than_that(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_lock, "HELPER_SECONDS", 0.02)
    with held_for_helper(tmp_path):
        await_helpers(tmp_path)
        assert is_held(tmp_path)


def test_where_there_is_no_such_lock_nobody_waits(tmp_path):
    with held_for_helper(tmp_path / "gone") as held:
        assert held == []
    await_helpers(tmp_path / "gone")
