"""The daemon that wrappers start themselves is killed again and again: what was played is stored, each episode once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

import pytest
from actors import Agents
from agent import STRIDE

import films
from offcam.connection import launch
from offcam_runs.run import read_run
from offcamd.process.instance_lock import read_lock
from waiting import wait_until

AGENTS = 4
MOST_PAUSE = 1.0
"""Seconds that a daemon may work before it is killed: some die before they listen to all, some with all at work."""


def listening(endpoint, dead: int = 0) -> int:
    """The pid of the daemon that listens, and is not the one that was killed; else 0."""
    info = read_lock(endpoint)
    return info.pid if info and info.pid != dead and launch.listening(endpoint) else 0


@pytest.mark.parametrize(
    ("kills", "episodes"),
    [pytest.param(4, 400, id="short"), pytest.param(200, 20_000, id="long", marks=pytest.mark.slow)],
)
@pytest.mark.timeout(1200)
def test_played_is_stored(embedded, endpoint, tmp_path, stack, capsys, kills, episodes):
    rng = random.Random(kills)
    folder, place = tmp_path / "run", tmp_path / "agents"
    place.mkdir()
    agents = Agents(stack, place)
    for _ in range(AGENTS):
        agents.start(folder, "--length", "5", "--pause", "0.002", "--every", "50", "--least", str(episodes // AGENTS))
    back, daemon = [], wait_until(lambda: listening(endpoint), "a daemon listens")
    for _ in range(kills):
        time.sleep(MOST_PAUSE * rng.random())
        os.kill(daemon, signal.SIGKILL)
        died = time.monotonic()
        daemon = wait_until(lambda dead=daemon: listening(endpoint, dead), "another one listens")
        back.append(time.monotonic() - died)
    played = agents.finish()

    run = read_run(folder, "all")
    stored = Counter(int(episode.return_) for episode in run.episodes)
    expected = {STRIDE * number + episode for number, count in enumerate(played) for episode in range(count)}
    assert sum(played) >= episodes
    assert sorted(expected - stored.keys()) == [], "missing"
    assert sorted(stored.keys() - expected) == [], "never played"
    assert [name for name, times in stored.items() if times > 1] == [], "twice"
    films.check(folder)
    for number in range(AGENTS):
        assert "Traceback" not in agents.words(number)
    with capsys.disabled():
        print(
            f"\n{kills} kills: {sum(played)} episodes played, {len(run.episodes)} stored, each once; "
            f"another daemon listened after {sorted(back)[kills // 2]:.2f} s in the median, {max(back):.2f} s at most"
        )
