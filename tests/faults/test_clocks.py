"""Hosts whose clocks disagree by days, and one whose clock jumps back while it records: each episode once, in order."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from operator import eq
from pathlib import Path

import pytest

import commandline
import offcam
from fetching import fetch
from hubs import hub_host
from offcam_proto import host
from waiting import wait_until

HERE = Path(__file__).parent
OWN_MEMORY = 'mount -t tmpfs none "$0" && exec "$@"'
EPISODES = 20
DAY = 86_400
CLOCKS = {"ahead": (3 * DAY, 3 * DAY), "behind": (-DAY, -DAY), "jumping": (0, -7200)}
"""Seconds by which a host's clock is off, at first and from the middle of its training on."""

TRAINING = f"""
import os, sys
from pathlib import Path
import offcam
from envs import Barcode
folder, url, later = sys.argv[1:]
env = offcam.record(Barcode(length=5), folder, every=4, sync=url)
for episode in range({EPISODES}):
    if episode == {EPISODES // 2}:
        Path(os.environ["WALL_CLOCK"]).write_text(later)
    env.reset()
    while not any(env.step(0)[2:4]):
        pass
env.close()
"""


@pytest.fixture
def clock(tmp_path):
    """What makes a process's wall clock another one."""
    compiler = shutil.which("cc") or pytest.skip("there is no C compiler here, which a clock of its own needs")
    library = tmp_path / "wall_clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "wall_clock.c"], check=True)
    return library


@pytest.fixture
def hub(runtime):
    with hub_host(runtime / "hub") as found:
        found.start()
        yield found


@pytest.fixture
def apart():
    """Words before a command that give it memory of its own: in that of all, a daemon whose clock is ahead would take
    what other tests' processes left a moment ago for forgotten long since."""
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    words = ["unshare", *user, "--mount", "sh", "-c", OWN_MEMORY, host.MEMORY]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mounts of its own can be made here, which a host's memory needs")
    return words


@pytest.fixture
def train(tmp_path, runtime, clock, apart, monkeypatch):
    """Starts the training of a host, which has a clock of its own, as has the daemon that the training starts."""
    monkeypatch.delenv("OFFCAM_ADDR", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    places = []

    def start(name, url):
        first, later = CLOCKS[name]
        wall, place = tmp_path / f"{name}.clock", {"XDG_RUNTIME_DIR": str(runtime / name)}
        wall.write_text(str(first))
        (runtime / name).mkdir(mode=0o700)
        places.append(place)
        own = {"LD_PRELOAD": str(clock), "WALL_CLOCK": str(wall), **place}
        words = [*apart, sys.executable, "-c", TRAINING, str(tmp_path / "runs" / name), url, str(later)]
        return subprocess.Popen(words, env={**os.environ, **own})

    yield start
    for place in places:
        commandline.run("stop", env={**os.environ, **place})


def test_a_hub_has_each_episode_once_whatever_the_clocks_of_its_nodes_say(tmp_path, train, hub):
    trainings = [train(name, hub.url) for name in CLOCKS]
    assert [each.wait() for each in trainings] == [0, 0, 0]

    def has(folders):  # on a busy machine videos begin once the daemon is there
        runs = map(offcam.load, folders)
        return sorted((len(run.episodes), [clip.episode for clip in run.clips if clip.file]) for run in runs)

    def both():
        return has(hub.runs()), has((tmp_path / "runs").iterdir())

    wait_until(lambda: eq(*both()), "the hub has all that was recorded", both)
    assert [episodes for episodes, _clips in has(hub.runs())] == [EPISODES] * 3
    for folder in (*hub.runs(), *(tmp_path / "runs").iterdir()):
        run = offcam.load(folder)
        assert run.episodes.episode.tolist() == list(range(EPISODES))
        filmed, wanted = [clip.episode for clip in run.clips], list(range(0, EPISODES, 4))
        assert filmed == wanted[len(wanted) - len(filmed) :]
    starts = {}
    for run in fetch(f"{hub.http}/api/runs").json()["runs"]:
        curve = fetch(f"{hub.http}/api/runs/{run['id']}/curve?x=time&points={EPISODES}").json()
        assert curve["xs"] == sorted(curve["xs"])
        assert curve["total"] == EPISODES
        starts[run["name"].partition("-")[0]] = run["started"]
    assert starts["ahead"] - starts["jumping"] == pytest.approx(3 * DAY, abs=DAY / 2)
    assert starts["jumping"] - starts["behind"] == pytest.approx(DAY, abs=DAY / 2)
