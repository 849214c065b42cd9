"""SIGKILL of client and daemon: what waited lies in memory and on disk, and is recorded by whoever comes next."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from actors import SLOW_DAEMON, TESTS, WAIT_SECONDS

import films
from held import is_held
from offcam.connection import shared_memory
from offcam_proto import host
from offcam_runs import folder_lock
from offcam_runs.file_lock import try_flock
from offcam_runs.format import INDEX_NAME
from offcam_runs.run import read_run
from offcamd.store import recovery
from offcamd.store.left_frames import ORPHAN_SECONDS, arenas_of, left_behind
from offcamd.store.recovery import recover_folder
from waiting import alive, freeze, wait_until

pytestmark = pytest.mark.skipif(
    not shared_memory.POSSIBLE or not Path(host.MEMORY).is_mount(), reason="no file system in memory here"
)

AGENT = """
import sys, time
import offcam
from begun import begun
from envs import Barcode, Look, play
folder, length, side, pause = sys.argv[1], *map(float, sys.argv[2:])
env = offcam.record(Barcode(int(length), Look(int(side), int(side))), folder, every=1, overflow="block")
begun(env)
for line in sys.stdin:
    for _ in range(int(line)):
        time.sleep(pause)
        if env.step(0)[2]:
            env.reset()
    print(env.unwrapped.renders, flush=True)
"""


class Agent:
    """A process that records, and says after how many steps it has rendered how many frames."""

    def __init__(self, stack, folder: Path, length: int, side: int = 84, pause: float = 0.0) -> None:
        command = [sys.executable, "-c", AGENT, str(folder), str(length), str(side), str(pause)]
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        self.process = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        )
        stack.callback(self.process.kill)

    def ask(self, count: int) -> None:
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()

    def steps(self, count: int) -> int:
        self.ask(count)
        return int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_SECONDS)


def shown(folder: Path, side: int = 84) -> list[tuple[int, int]]:
    """Episode and number of all frames in a folder's files, in the order of the videos' parts."""
    clips = sorted(films.clips(folder).values(), key=lambda clip: (clip.episode, clip.part))
    return [
        (clip.episode, number)
        for clip in clips
        if clip.file
        for number in films.numbers(folder / clip.file, side, side)
    ]


def take_in(way: str, folder: Path, daemons) -> None:
    """Have somebody come who finds what was left."""
    assert arenas_of(folder)
    if way == "recover":
        recover_folder(folder)
    else:
        daemons.start()
        wait_until(lambda: not arenas_of(folder), "what was left is recorded")
        wait_until(lambda: all(clip.state != "recording" for clip in read_run(folder, "all").clips), "all is finished")
        daemons.stop()


@pytest.mark.parametrize("way", ["recover", "daemon"])
@pytest.mark.parametrize("first", ["daemon", "client"])
def test_all_that_was_rendered_is_recorded(way, first, daemons, stack, tmp_path):
    """A daemon that encodes nothing has videos that ended and one that is open; others begin where there is none."""
    folder = tmp_path / "run"
    daemons.start(SLOW_DAEMON, "0", "--gate", str(tmp_path / "never"))
    agent = Agent(stack, folder, 4)
    rendered = agent.steps(18)
    if first == "daemon":
        daemons.kill()
        rendered = agent.steps(14)  # of clips that no daemon has heard of
        agent.kill()
    else:
        agent.kill()
        daemons.kill()
    take_in(way, folder, daemons)
    found = shown(folder)
    assert found == sorted(set(found)), "each once, and in order"
    assert len(found) == rendered
    films.check(folder)
    assert arenas_of(folder) == []
    assert recover_folder(folder).outcome == "nothing"
    if first == "daemon":
        assert sum(clip.offered for clip in read_run(folder, "all").clips) == rendered


def test_so_is_what_a_client_leaves_that_ends_without_a_daemon(daemons, stack, tmp_path):
    folder = tmp_path / "run"
    daemons.start(SLOW_DAEMON, "0", "--gate", str(tmp_path / "never"))
    agent = Agent(stack, folder, 4)
    agent.steps(18)
    daemons.kill()
    rendered = agent.steps(4)
    agent.process.stdin.close()
    assert agent.process.wait(WAIT_SECONDS) == 0
    assert len(arenas_of(folder)) == 1
    recover_folder(folder)
    found = shown(folder)
    assert found == sorted(set(found))
    assert len(found) == rendered
    films.check(folder)
    assert arenas_of(folder) == []


@pytest.mark.parametrize(("way", "before"), [("recover", 0), ("recover", 1), ("daemon", 0)])
def test_so_is_what_waited_on_disk(way, before, daemons, stack, tmp_path, monkeypatch):
    """Also where another daemon had got a part of it from its client."""
    monkeypatch.setenv("OFFCAM_SPOOL_DIR", str(tmp_path / "spool"))
    side, folder = 480, tmp_path / "run"
    daemons.start(SLOW_DAEMON, "0", "--gate", str(tmp_path / "never"))
    agent = Agent(stack, folder, 10**6, side)
    rendered = agent.steps(150)
    wait_until(lambda: daemons.stats()["spool_bytes"] > 20 * side * side * 3, "much is on disk")
    for _ in range(before):
        daemons.kill()
        agent.steps(1)
        daemons.start(SLOW_DAEMON, "0", "--gate", str(tmp_path / "never"))
        wait_until(lambda: agent.steps(1) and daemons.stats()["spool_bytes"], "it has got more than it keeps in memory")
        agent.steps(20)
    daemons.kill()
    agent.kill()
    take_in(way, folder, daemons)
    found = [number for _, number in shown(folder, side)]
    assert found == list(range(len(found))), "each once, and in order"
    assert len(found) >= rendered
    films.check(folder)
    assert list((tmp_path / "spool").iterdir()) == []


def test_at_any_moment_it_costs_a_video_one_frame_at_most(daemons, stack, tmp_path, capsys):
    """At 100 frames a second; whoever of the two dies first."""
    chance, costs = random.Random(11), []
    for number in range(4):
        folder = tmp_path / f"run-{number}"
        daemons.start()
        agent = Agent(stack, folder, 10**6, 400, 0.01)
        rendered = agent.steps(40)
        agent.ask(10**6)
        time.sleep(chance.random() / 2)
        for each in chance.sample([daemons, agent], 2):
            each.kill()
            time.sleep(chance.random() / 10)
        recover_folder(folder)
        found = [number for _, number in shown(folder, 400)]
        assert found == sorted(set(found))
        assert found[-1] >= rendered - 1
        costs.append(found[-1] + 1 - len(found))
        assert costs[-1] <= 1, "one that the muxer had"
        films.check(folder)
    with capsys.disabled():
        print(f"\n4 kills of both cost {costs} frames")


def test_a_daemon_elsewhere_cares_for_what_nobody_came_for(daemons, stack, tmp_path):
    folder, elsewhere = tmp_path / "run", "ipc:///somewhere/else.sock"
    daemons.start(SLOW_DAEMON, "0", "--gate", str(tmp_path / "never"))
    agent = Agent(stack, folder, 4)
    agent.steps(18)
    daemons.kill()
    agent.kill()
    ((_, arena),) = arenas_of(folder)
    assert str(folder) not in left_behind(elsewhere, tmp_path)
    for path in (arena, *folder.glob(f"{INDEX_NAME}*")):
        assert str(folder) not in left_behind(elsewhere, tmp_path), "it was written lately"
        os.utime(path, times=(time.time() - 1.1 * ORPHAN_SECONDS,) * 2)
    assert str(folder) in left_behind(elsewhere, tmp_path)
    recover_folder(folder)
    assert arenas_of(folder) == []


def test_whoever_comes_waits_for_the_processes_that_encode(daemons, stack, tmp_path, monkeypatch):
    """One that does not see yet that its daemon died, with frames of a video that it has not begun."""
    folder, there = tmp_path / "run", []
    daemons.start("--encoders", "1")
    wait_until(lambda: daemons.stats()["self_test"] == "passed", "the process has started")
    (pid,) = daemons.stats()["encoders"]["pids"]
    freeze(pid)
    agent = Agent(stack, folder, 10**6)
    rendered = agent.steps(18)
    wait_until(lambda: is_held(folder), "the process has been sent the first frames")
    daemons.kill()
    agent.kill()

    def arenas(of):
        there.append(alive(pid))
        return arenas_of(of)

    def waits(*arguments, **options):
        os.kill(pid, signal.SIGCONT)
        return try_flock(*arguments, **options)

    monkeypatch.setattr(recovery, "arenas_of", arenas)
    with monkeypatch.context() as patch:
        patch.setattr(folder_lock, "HELPER_SECONDS", WAIT_SECONDS)
        patch.setattr(folder_lock, "try_flock", waits)
        recover_folder(folder)
    assert there == [False]
    assert shown(folder) == [(0, number) for number in range(rendered)]
    films.check(folder)


def test_nothing_is_left_of_one_that_ends_well(daemons, stack, tmp_path):
    folder = tmp_path / "run"
    daemons.start()
    agent = Agent(stack, folder, 4)
    agent.steps(18)
    assert len(arenas_of(folder)) == 1
    agent.process.stdin.close()
    assert agent.process.wait(WAIT_SECONDS) == 0
    wait_until(lambda: not arenas_of(folder), "its memory is given back")
    agent = Agent(stack, tmp_path / "other", 4)
    agent.steps(18)
    agent.kill()  # the daemon takes in what it had
    wait_until(lambda: not arenas_of(tmp_path / "other"), "its memory is given back")
    daemons.stop()
