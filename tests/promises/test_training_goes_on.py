"""Training goes on whatever becomes of the daemon: nothing raises, one warning, and every frame is accounted for.

What a step costs meanwhile is measured by ``python tests/bench --faults``.
"""

from __future__ import annotations

import contextlib
import time

import pytest
from scenes import SLOW_DAEMON, encoded_and_dropped, offered, stopped

import films
import offcam
from envs import Barcode, Look, play
from offcam.connection import timeouts
from offcam.connection.connection import Connection
from offcam_runs.format import CLIENT_DROPS
from waiting import wait_until

STEPS = 30
EPISODES = 12
FRAMES = EPISODES * (STEPS + 1)
LOOK = Look(300, 400)
MEMORY = ("--memory-limit", "16MiB", "--spool-limit", "0")
"""So little that frames for it run out within the loop."""


@pytest.fixture
def agent(tmp_path, runtime, endpoint, monkeypatch, recwarn, capsys):
    """Train for a third, let something happen, train for the rest; then have everything settled by a daemon."""
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    monkeypatch.setenv("OFFCAM_HTTP", "off")
    folder = tmp_path / "run"

    def train(meanwhile=contextlib.nullcontext, afterwards=lambda: None) -> dict[str, int]:
        env = offcam.record(Barcode(STEPS, LOOK), str(folder), every=1)
        infos = play(env, EPISODES // 3)
        with meanwhile():
            infos += play(env, EPISODES - EPISODES // 3)
            warned = [str(warning.message) for warning in recwarn]
        afterwards()
        wait_until(env.flush, "a daemon has settled everything")
        env.close()
        assert [info["episode"]["l"] for info in infos] == [STEPS] * EPISODES
        assert [row.episode for row in films.episodes(folder)] == list(range(EPISODES))
        assert offered(folder) == FRAMES
        account = encoded_and_dropped(folder)
        # one for each reason: on a busy machine the daemon may be far behind before anything happens to it
        assert len(warned) == len(account.keys() & set(CLIENT_DROPS)), (warned, account)
        assert sum(account.values()) == FRAMES
        with capsys.disabled():
            print(f"\n{FRAMES} frames offered: {account}; warned: {[text[:110] for text in warned]}")
        return account

    return train


def test_without_a_daemon(agent, serve):
    account = agent(afterwards=serve)
    assert account == {"encoded": 0, "no_daemon": FRAMES}


def test_with_a_daemon_that_dies(agent, serve):
    process, _ = serve()

    @contextlib.contextmanager
    def death():
        process.kill()
        process.wait()
        yield

    account = agent(death, serve)
    without = FRAMES - FRAMES // 3
    assert 0 < account["no_daemon"] < without, "the next daemon records what the memory had room for"


def test_with_a_daemon_that_is_stopped(agent, serve, monkeypatch):
    """It is waited for a few times, then no more: what is left of the budget is not waited away in little pieces."""
    waits = []
    real = Connection.wait

    def wait(connection, done, seconds):
        waits.append(seconds)
        return real(connection, done, seconds)

    process, _ = serve(*MEMORY)
    monkeypatch.setattr(Connection, "wait", wait)
    began = time.monotonic()
    account = agent(lambda: stopped(process))
    short = [seconds for seconds in waits if seconds <= timeouts.PATIENCE_SECONDS]
    most = 5 * timeouts.WAIT_BUDGET_SECONDS / timeouts.PATIENCE_SECONDS + (time.monotonic() - began)
    assert len(short) <= most  # some of them not in vain
    assert min(short, default=1.0) >= timeouts.LEAST_WAIT_SECONDS
    assert account.keys() == {"encoded", "credit"}
    assert account["credit"] > FRAMES // 4


def test_with_an_encoder_ten_times_too_slow(agent, serve):
    render = Barcode(STEPS, LOOK)
    render.reset()
    began = time.perf_counter()
    for _ in range(20):
        render.step(0)
        render.render()
    step = (time.perf_counter() - began) / 20
    serve(str(max(10 * step, 0.05)), *MEMORY, script=SLOW_DAEMON)  # or a busy machine's env may be as slow
    account = agent()
    assert account.keys() == {"encoded", "credit"}
    assert account["credit"] > FRAMES // 4
