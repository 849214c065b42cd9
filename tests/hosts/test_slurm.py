"""`slurm.sbatch` of deploy/: a recorder on each node of a job, under Slurm itself."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import slurm

import films
from commandline import COMMAND
from offcam_runs.database import open_to_read
from offcamd.cli.deployed import deploy_folder
from waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm.problem()), reason=slurm.problem() or "there is Slurm"),
]
TASKS = 2  # on each node
EPISODES = 12
TRAINING = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import offcam
from envs import Barcode
offcam.flush_on_signal()
env = offcam.record(Barcode(length=6), every=5, overflow="block")  # its steps take no time at all
for number in range(int(sys.argv[1]) if "SLURM_RESTART_COUNT" not in os.environ else {EPISODES}):
    env.reset()
    while not any(env.step(0)[2:4]):
        pass
    print("played", os.environ["SLURM_PROCID"], number, flush=True)
env.close()
"""


@pytest.fixture(scope="module")
def slurm_environment():
    with tempfile.TemporaryDirectory(prefix="oc-slurm-", dir="/tmp") as place, slurm.cluster(Path(place)) as found:
        yield {**found, "PATH": f"{Path(sys.executable).parent}:{found['PATH']}", "OFFCAM_HTTP": "off"}


@pytest.fixture
def submit(slurm_environment, tmp_path):
    """Submit the batch script with a training of so many episodes; the number of the job, and what it prints."""

    def run(episodes):
        training, printed = tmp_path / "training.py", tmp_path / "printed"
        training.write_text(TRAINING)
        options = (f"--nodes={len(slurm.NODES)}", f"--ntasks-per-node={TASKS}", f"--output={printed}", "--parsable")
        script = (str(deploy_folder() / "slurm.sbatch"), sys.executable, str(training), str(episodes))
        environment = {**slurm_environment, "RUNS": str(tmp_path / "runs")}
        return slurm.run(environment, "sbatch", *options, *script, folder=tmp_path).strip(), printed

    return run


def ended(job, environment, printed):
    """Wait for a job; its exit status."""

    def over():
        said = slurm.run(environment, "scontrol", "show", "job", job)
        state = re.search(r"JobState=(\w+)", said)[1]
        return state not in ("PENDING", "RUNNING", "COMPLETING") and re.search(r"ExitCode=(\d+):", said)[1]

    return int(wait_until(over, "the job is over", printed.read_text))


def runs(tmp_path):
    """The run folders by node."""
    return {node: sorted((tmp_path / "runs" / node).iterdir()) for node in slurm.NODES}


def told(printed):
    """What the tasks said they have played: how often each number."""
    return Counter(int(number) for _, number in re.findall(r"^played (\d+) (\d+)$", printed.read_text(), re.MULTILINE))


def status(socket):
    """What a recorder says of itself."""
    words = ("status", "--json", "--endpoint", f"ipc://{socket}")
    return json.loads(subprocess.run((*COMMAND, *words), check=True, stdout=subprocess.PIPE).stdout)


def check_whole(folder):
    """Require all videos and episodes of a training of `EPISODES`."""
    films.check(folder)
    assert films.videos(folder) == [f"rl-video-episode-{number}.mp4" for number in (0, 10, 5)], films.clips(folder)
    assert sorted(each.episode for each in films.episodes(folder)) == list(range(EPISODES))


def assert_nothing_is_left(job):
    assert [node for node in slurm.NODES if Path(f"/tmp/offcam-{job}-{node}").exists()] == []


def test_each_node_records_its_tasks_into_one_session(submit, slurm_environment, tmp_path):
    job, printed = submit(EPISODES)
    assert ended(job, slurm_environment, printed) == 0, printed.read_text()
    sessions = set()
    for folders in runs(tmp_path).values():
        assert len(folders) == TASKS
        for folder in folders:
            check_whole(folder)
            with open_to_read(folder) as database:
                sessions.update(*database.execute("SELECT training FROM streams"))
    assert sessions == {f"{int(job):032x}"}
    assert_nothing_is_left(job)


def test_one_that_is_requeued_after_a_crash_has_all_of_its_second_try(submit, slurm_environment, tmp_path):
    """Its number stays the same, and so do the sockets of its dead recorders."""
    job, printed = submit(10_000_000)
    wait_until(lambda: printed.exists() and told(printed)[20] == TASKS * len(slurm.NODES), "all tasks play")
    sockets = [Path(f"/tmp/offcam-{job}-{node}/0/daemon.sock") for node in slurm.NODES]
    for path in sockets:
        os.killpg(os.getpgid(status(path)["pid"]), signal.SIGKILL)  # with the shell that would have removed it
    before = [folder for folders in runs(tmp_path).values() for folder in folders]
    assert all(path.is_socket() for path in sockets)
    slurm.run(slurm_environment, "scontrol", "requeue", job)
    assert ended(job, slurm_environment, printed) == 0, printed.read_text()
    for folders in runs(tmp_path).values():
        second = [folder for folder in folders if folder not in before]
        assert len(second) == TASKS
        for folder in second:
            check_whole(folder)
    assert_nothing_is_left(job)


def test_one_whose_time_is_over_has_all_that_was_played(submit, slurm_environment, tmp_path):
    job, printed = submit(10_000_000)
    wait_until(
        lambda: printed.exists() and min([told(printed)[number] for number in range(20)]) == TASKS * len(slurm.NODES),
        "each task has played twenty episodes", lambda: printed.exists() and printed.read_text(),
    )  # fmt: skip
    slurm.run(slurm_environment, "scancel", "--batch", "--signal=TERM", job)
    assert ended(job, slurm_environment, printed) == 128 + 15, printed.read_text()[-3000:]
    stored = Counter()
    for folders in runs(tmp_path).values():
        for folder in folders:
            films.check(folder)
            assert not [name for name in films.videos(folder) if name.endswith(".part")]
            stored += Counter(each.episode for each in films.episodes(folder))
    short = {number: count for number, count in told(printed).items() if stored[number] < count}
    assert short == {}
