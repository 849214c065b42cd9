"""What is recorded on one host for a daemon or a hub of another is there once each, though the cable was pulled."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
from twohosts import Host, problem, two_hosts

import offcam
from offcam_runs.discover import is_run
from offcam_runs.sync.state import read_all
from offcamd.security.key_store import KeyStore
from offcamd.security.keys import new_pair
from waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.skipif(bool(problem()), reason=problem())]

EACH = 10
"""How many episodes are played before the cable is pulled, while it is out, and after that."""

AGENT = f"""
import sys
import offcam
from envs import Barcode, play

to = {{"sync": sys.argv[2]}} if sys.argv[2:] else {{}}
env = offcam.record(Barcode(20), sys.argv[1], every=1, overflow="block", **to)
for _ in range(3):
    play(env, {EACH})
    print("played", flush=True)
    sys.stdin.readline()
print(env.flush(), flush=True)
env.close()
"""


@pytest.fixture
def hosts():
    with two_hosts() as found:
        yield found


@contextlib.contextmanager
def serving(host: Host, verb: str, folder: Path):
    """A daemon or a hub on a host, with the variables of those who may reach it, and the folder of its runs."""
    folder.mkdir(mode=0o700)
    store = KeyStore(folder / "keys")
    store.make_directories()
    server, _ = store.make_server(new_pair)
    path, key = store.make_client("node", new_pair, server)
    store.authorise("node", key.public)
    words = ("--tcp", f"tcp://{host.address}:8721", "--keys", store.directory, "--root", folder / "runs")
    more = ("--http", "off", "--endpoint", f"ipc://{folder}/s", "--encoders", "1")
    process = host.start("-m", "offcamd", verb, *words, *more, "--json")
    try:
        assert json.loads(process.stdout.readline())["tcp"]
        yield {"OFFCAM_KEYS": str(path), "url": f"tcp://{host.address}:8721"}, folder / "runs"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def played_with_the_cable_out_for_a_while(root: Path, host: Host, *words: str, **environment: str) -> str:
    """What comes from the host is below a folder. Returns whether the flush at the end had all."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    agent = host.start("-c", AGENT, *words, PYTHONPATH=path, **environment)
    try:
        for state in ("out", "back", "in"):
            assert agent.stdout.readline() == "played\n"
            assert state != "back" or len(stored(root)) <= EACH  # none has come through
            host.plug("down" if state == "out" else "up")
            agent.stdin.write("\n")
            agent.stdin.flush()
        flushed, _ = agent.communicate()
    finally:
        agent.kill()
        agent.wait()
    assert agent.returncode == 0
    return flushed.strip()


def runs(root: Path) -> list[offcam.Run]:
    return [offcam.load(path) for path in root.rglob("*") if is_run(str(path))]


def stored(root: Path) -> list[tuple[int, int]]:
    """Number and length of each episode below a folder."""
    return sorted((episode.episode, episode.length) for run in runs(root) for episode in run.episodes)


ALL = [(number, 20) for number in range(3 * EACH)]


def test_a_daemon_of_another_host_has_all(hosts, tmp_path):
    here, there = hosts
    with serving(there, "serve", tmp_path / "there") as (reach, root):
        environment = {"OFFCAM_KEYS": reach["OFFCAM_KEYS"], "OFFCAM_ADDR": reach["url"]}
        assert played_with_the_cable_out_for_a_while(root, here, "run", **environment) == "True"
        assert stored(root) == ALL
        (run,) = runs(root)
        assert [clip.offered for clip in run.clips] == [21] * len(ALL)
        assert all(clip.offered == clip.frames + sum(clip.dropped.values()) for clip in run.clips)


def test_a_hub_of_another_host_has_all(hosts, embedded, tmp_path):
    here, there = hosts
    with serving(there, "hub", tmp_path / "there") as (reach, root):
        environment = {"OFFCAM_KEYS": reach["OFFCAM_KEYS"], "OFFCAM_ADDR": "", "OFFCAM_HTTP": "off"}
        run = str(tmp_path / "run")
        assert played_with_the_cable_out_for_a_while(root, here, run, reach["url"], **environment) == "True"
        wait_until(lambda: stored(root) == ALL, "the hub has all")
        wait_until(lambda: not any(each.working for each in read_all(Path(run))), "the sender has taken its leave")
