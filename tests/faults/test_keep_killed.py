"""SIGKILL of a client or its daemon while videos are judged: in the end exactly those are kept that the rule says."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import pytest
from actors import TESTS, WAIT_SECONDS

import films
from offcam_runs.run import read_run
from offcamd.store.recovery import recover_folder
from scored import drawn, failures, worst
from waiting import wait_until

COUNT = 60
AGENT = f"""
import sys, time
import offcam
from begun import begun
from envs import play
from offcam import keep
from scored import Scored, drawn

class Slow(Scored):
    def step(self, action):
        time.sleep(0.002)
        return super().step(action)

def counts(episode):
    return episode.episode > 0

rule = (keep.failures() & keep.when(counts)) | keep.worst(3, among=keep.when(counts))
env = offcam.record(Slow(drawn({COUNT}), first=-1), sys.argv[1], keep=rule, overflow="block")
begun(env)
for episode in range({COUNT}):
    play(env)
    print(episode, flush=True)
    sys.stdin.readline()
env.close()
print("closed", flush=True)
"""
"""Its first episode, in which the daemon gets to know its memory, is none of those that count."""


@pytest.fixture
def agent(daemons, stack, folder):
    daemons.start()
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", AGENT, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env={**os.environ, "PYTHONPATH": str(TESTS)},
        )
    )  # fmt: skip
    stack.callback(process.kill)
    return process


def episode(agent) -> int:
    """Have it play one, and return its number."""
    number = int(agent.stdout.readline())
    agent.stdin.write("\n")
    agent.stdin.flush()
    return number


def found(folder) -> set[int]:
    clips = [clip for clip in read_run(folder, "all").clips if clip.file]
    assert films.videos(folder) == sorted(clip.file for clip in clips)
    films.check(folder)
    return {clip.episode - 1 for clip in clips}


@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_a_daemon_that_is_killed_changes_nothing_of_what_is_kept(kills, agent, daemons, folder):
    rng, scores = random.Random(kills), drawn(COUNT)
    moments = set(rng.sample(range(2, COUNT - 1), kills))
    for _ in range(COUNT):
        if episode(agent) in moments:
            daemons.kill()
            daemons.start()
    assert agent.stdout.readline() == "closed\n"
    assert agent.wait(WAIT_SECONDS) == 0
    daemons.stop()
    assert found(folder) == failures(scores) | worst(scores, 3)


@pytest.mark.parametrize("first", ["client", "daemon"])
def test_a_client_that_is_killed_leaves_the_episode_that_it_was_in(first, agent, daemons, folder):
    scores = drawn(COUNT)
    for _ in range(20):
        episode(agent)
    if first == "daemon":
        daemons.kill()
    last = int(agent.stdout.readline())
    agent.send_signal(signal.SIGKILL)
    agent.wait(WAIT_SECONDS)
    if first == "client":
        wait_until(lambda: not daemons.stats()["clients"], "it is known to be gone")
        daemons.stop()
    recover_folder(folder)
    wanted = failures(scores[: last + 1]) | worst(scores[: last + 1], 3)
    assert wanted <= found(folder) <= {*wanted, last, last + 1}
    assert recover_folder(folder).outcome == "nothing"
