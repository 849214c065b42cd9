"""The first video of a process is whole also beside a daemon that was just started, and still loads its encoders."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from scenes import TESTS

import films
import offcam
import offcam.connection.process
from envs import Barcode, Look, play
from offcam.connection import timeouts
from offcam.connection.connection import Connection
from waiting import freeze, wait_until

FRAMES = 200
"""Of 600x400 twice as many as a stream has credit for."""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.mark.parametrize("daemon", ["just started", "started long ago", "has made a video"])
def test_a_step_waits_longer_for_the_credit_of_a_daemon_that_may_load_its_encoders(
    daemon, folder, embedded, monkeypatch
):
    monkeypatch.setattr(timeouts, "START_SECONDS", 1e6)
    monkeypatch.setattr(timeouts, "LOADING_SECONDS", 0.0 if daemon == "started long ago" else 1e6)
    env = offcam.record(Barcode(FRAMES - 1, Look(400, 600)), str(folder), every=1)
    if daemon == "has made a video":
        play(env, 1)
        wait_until(env.flush, "the first video is final")
    pid, real, patient = offcam.connection.process.current().session.pid, Connection.wait, []

    def wait(connection, done, seconds):
        if seconds > timeouts.MOST_PATIENCE_SECONDS:
            patient.append(seconds)
            os.kill(pid, signal.SIGCONT)
        return real(connection, done, seconds)

    try:
        freeze(pid)
        with monkeypatch.context() as playing:
            playing.setattr(Connection, "wait", wait)
            play(env, 1)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert bool(patient) == (daemon == "just started")
    env.close()
    *_, last = films.clips(folder).values()
    assert bool(last.dropped) != bool(patient)
    films.check(folder)


def test_the_first_video_waits_for_a_daemon_that_listens_and_has_not_opened_the_folder(
    folder, tmp_path, serve, endpoint, monkeypatch
):
    index = tmp_path / "index"
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    monkeypatch.setenv("OFFCAM_HTTP", "off")
    monkeypatch.setattr(timeouts, "START_SECONDS", 0.3)
    serve(str(index), script=TESTS / "peers" / "slow_index_daemon.py")
    env = offcam.record(Barcode(5), str(folder), every=1)
    handshake = offcam.connection.process.current().handshake
    monkeypatch.setattr(timeouts, "START_SECONDS", 1e6)
    monkeypatch.setattr(timeouts, "LOADING_SECONDS", 1e6)
    with ThreadPoolExecutor(1) as other:

        def open_the_index() -> None:
            wait_until(lambda: not handshake._second_chance, "the video waits")
            index.touch()

        opened = other.submit(open_the_index)
        play(env, 2)
        opened.result()
    wait_until(env.flush, "both are final")
    env.close()
    assert [(clip.frames, clip.dropped) for clip in films.clips(folder).values()] == [(6, {}), (6, {})]
