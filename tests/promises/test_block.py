"""Under ``overflow="block"`` a frame waits for its daemon, too: for one that is there and has not answered yet."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from scenes import stopped

import films
import offcam
import offcam.connection.process
from envs import Barcode, play
from offcam.connection import shared_memory, timeouts
from offcam.connection.exchange import Exchange
from offcam_proto.client_stream import ClientStream
from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 0.3
WHOLE = [list(range(6))] * 3


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def daemon(serve, endpoint, monkeypatch):
    """A daemon that has listened for long, and that constructors do not wait for."""
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    monkeypatch.setattr(timeouts, "START_SECONDS", PATIENCE)
    process, _ = serve()
    os.utime(str(endpoint.path), (0, 0))
    return process


@pytest.fixture
def waits(monkeypatch):
    """How long the process was about to wait, each time."""
    seconds = []
    real = Exchange.wait

    def wait(exchange, done, most):
        seconds.append(most)
        return real(exchange, done, most)

    monkeypatch.setattr(Exchange, "wait", wait)
    return seconds


@pytest.fixture
def through_the_socket(monkeypatch):
    """The indices of frames that go through the socket."""
    found = []
    real = ClientStream.frame

    def frame(wire, clip, index, *pixels):
        found.append(index)
        return real(wire, clip, index, *pixels)

    monkeypatch.setattr(ClientStream, "frame", frame)
    return found


@contextmanager
def until_a_frame_waits(daemon, waits):
    """The daemon is stopped, and goes on once a frame waits for it."""
    with ThreadPoolExecutor(1) as other, stopped(daemon) as go_on:
        resumed = other.submit(lambda: (wait_until(lambda: 1e6 in waits, "the first frame waits"), go_on()))
        yield
        resumed.result()


def begun(folder: Path, overflow: str = "block") -> offcam.RecordVideo:
    return offcam.RecordVideo(Barcode(5), str(folder), episode_trigger=lambda _: True, overflow=overflow)


def opened(folder: Path, overflow: str = "block") -> offcam.RecordVideo:
    """As `begun`, once the daemon has opened the stream."""
    env = begun(folder, overflow)
    connection = offcam.connection.process.current()
    wait_until(lambda: connection.pump() or connection.session.streams[1].live, "the daemon has opened the folder")
    return env


def pictures(folder: Path, episodes: range) -> list[list[int]]:
    return [films.numbers(folder / f"rl-video-episode-{number}.mp4") for number in episodes]


@pytest.mark.filterwarnings("ignore:.*nothing is recorded yet", "ignore:.*the recorder daemon is there now")
def test_a_daemon_that_answers_late_gets_every_frame(folder, daemon, waits, monkeypatch):
    monkeypatch.setattr(timeouts, "BLOCK_SECONDS", 1e6)
    with until_a_frame_waits(daemon, waits):
        env = begun(folder)
        play(env, 3)
        env.close()
    films.check(folder)
    assert pictures(folder, range(3)) == WHOLE


@pytest.mark.filterwarnings("ignore:.*nothing is recorded yet", "ignore:.*the recorder daemon is there now")
def test_one_that_says_nothing_is_waited_for_once(folder, daemon, waits, monkeypatch):
    monkeypatch.setattr(timeouts, "BLOCK_SECONDS", PATIENCE * 2)
    with stopped(daemon) as go_on:
        env = begun(folder)
        play(env, 3)
        assert waits.count(PATIENCE * 2) == 1
        go_on()
        wait_until(env.flush, "it has what was kept for it")
        monkeypatch.setattr(timeouts, "BLOCK_SECONDS", 1e6)
        play(env, 3)
        env.close()
    films.check(folder)
    assert [clip.dropped for clip in films.clips(folder).values()] == [{"no_daemon": 6}] * 3 + [{}] * 3
    assert pictures(folder, range(3, 6)) == WHOLE


@pytest.mark.skipif(not shared_memory.POSSIBLE, reason="no memory is shared here")
class TestSharedMemory:
    """A stream's first frame waits for the daemon to open the memory: what goes through the socket dies with it."""

    def test_all_frames_lie_in_it(self, folder, daemon, waits, through_the_socket, monkeypatch):
        monkeypatch.setattr(timeouts, "BLOCK_SECONDS", 1e6)
        env = opened(folder)
        with until_a_frame_waits(daemon, waits):
            play(env, 3)
        env.close()
        films.check(folder)
        assert pictures(folder, range(3)) == WHOLE
        assert through_the_socket == []

    def test_a_wait_in_vain_is_the_last(self, folder, daemon, waits, through_the_socket, monkeypatch):
        monkeypatch.setattr(timeouts, "BLOCK_SECONDS", PATIENCE * 2)
        env = opened(folder)
        with stopped(daemon):
            env.reset()
            env.step(0)
            assert waits.count(PATIENCE * 2) == 1
            assert through_the_socket == [0, 1]
        while not any(env.step(0)[2:4]):
            pass
        env.close()
        films.check(folder)
        assert pictures(folder, range(1)) == WHOLE[:1]

    def test_by_default_none_waits(self, folder, daemon, waits, through_the_socket):
        env = opened(folder, "drop")
        waits.clear()
        with stopped(daemon):
            env.reset()
            env.step(0)
            assert (waits, through_the_socket) == ([], [0, 1])
        env.close()


def test_where_none_is_no_frame_waits(folder, waits, endpoint, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    monkeypatch.setattr(timeouts, "BLOCK_SECONDS", 1e6)
    with pytest.warns(UserWarning, match="no recorder daemon answers"):
        env = begun(folder)
    play(env, 3)
    assert waits.count(1e6) == 1, "and that wait was over at once"
    env.close()
