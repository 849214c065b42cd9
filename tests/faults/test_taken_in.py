"""What journals hold is read at once and in the index in the end, each episode once, whoever dies and whenever."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from offcam_runs.format import PENDING_NAME
from offcam_runs.run import read_run
from offcamd.store.recovery import recover_folder
from waiting import wait_until

pytest.importorskip("offcam.recorder.journal", reason="clients write no journals yet")

AGENT = """
import sys, offcam
from envs import Barcode, play
env = offcam.RecordVideo(offcam.RecordEpisodeStatistics(Barcode(2)), sys.argv[1], lambda _: False)
for episode in range(10**9):
    play(env)
    print(episode, flush=True)
"""


def agent(folder) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(__file__).parents[1])}
    command = [sys.executable, "-c", AGENT, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)


def episodes(folder) -> list[list[int]]:
    """The episodes of each stream as a reader sees them, in the order in which the streams began."""
    run = read_run(folder, "all")
    rows = sorted((run.streams[row.stream].started, row.stream, row.episode) for row in run.episodes)
    return [[episode for _, _, episode in stream] for _, stream in groupby(rows, lambda row: row[:2])]


def complete(found: list[list[int]], said: list[int]) -> bool:
    """Whether each stream has each episode once, up to the last that its agent said or to the one behind it."""
    return len(found) == len(said) and all(
        stream in (list(range(last + 1)), list(range(last + 2))) for stream, last in zip(found, said, strict=True)
    )


@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_agents_and_daemons_that_are_killed_at_any_moment(folder, serve, endpoint, monkeypatch, rounds):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    chance = random.Random(11)
    said: list[int] = []
    daemon = None
    for _ in range(rounds):
        if daemon is None and chance.random() < 0.7:
            daemon, _ = serve()
        with agent(folder) as process:
            last = 0
            for _ in range(chance.randrange(1, 300)):
                last = int(process.stdout.readline())
            if daemon is not None and chance.random() < 0.5:
                daemon.kill()
                daemon.wait()
                daemon = None
            for _ in range(chance.randrange(1, 300)):
                last = int(process.stdout.readline())
            process.kill()
            said.append(max([last, *map(int, process.stdout.read().split("\n")[:-1])]))
        assert complete(episodes(folder), said)
    if daemon is None:
        daemon, _ = serve()
    with agent(folder) as process:  # it opens the folder, so what lies there is taken in
        for _ in range(20):
            last = int(process.stdout.readline())
        process.kill()
        said.append(max([last, *map(int, process.stdout.read().split("\n")[:-1])]))
    wait_until(lambda: not (folder / PENDING_NAME).exists(), "all of it to be taken in")
    assert complete(episodes(folder), said)
    daemon.terminate()
    daemon.wait()
    assert recover_folder(folder).outcome == "nothing"
    assert read_run(folder, "all").pending == 0


def test_a_node_without_any_daemon(folder, endpoint, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)  # nobody is there
    with agent(folder) as process:
        for _ in range(500):
            said = int(process.stdout.readline())
        assert len(read_run(folder, "all").episodes) > said  # while it plays
        assert recover_folder(folder).taken_in.busy == 1  # its journal is its own
        process.kill()
        said = max([said, *map(int, process.stdout.read().split("\n")[:-1])])
    assert complete(before := episodes(folder), [said])
    found = recover_folder(folder)
    assert (found.outcome, found.taken_in.journals) == ("lossless", 1)
    assert episodes(folder) == before
