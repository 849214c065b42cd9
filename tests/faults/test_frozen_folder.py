"""A run folder whose file system answers nobody for a while: the loop goes on, and what it recorded is there after."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from offcam_runs.format import PENDING_NAME
from offcam_runs.run import read_run
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

AGENT = """
import itertools, sys, time, offcam
from envs import Barcode
from offcam.recorder import journal
from offcam_runs import filesystem
filesystem.LOCAL_TYPES = journal.MAPPED_TYPES = frozenset()  # as if what the kernel calls ext4 were a network's
env = offcam.record(Barcode(5), sys.argv[1], episode_trigger=lambda _: False, steps=sys.argv[2] == "steps")
for episode in itertools.count():
    begun, longest, over = time.monotonic(), 0.0, False
    env.reset()
    while not over:
        time.sleep(0.001)
        before = time.monotonic()
        over = env.step(0)[2]
        longest = max(longest, time.monotonic() - before)
    print(episode, begun, longest, flush=True)
"""
IMAGE_BYTES = 64 * 1024 * 1024
EPISODES = 100


def tool(name: str, *arguments: str | Path) -> list[str]:
    """The command line of a tool of the system's."""
    return [shutil.which(name) or pytest.skip(f"{name} is not installed"), *map(str, arguments)]


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A file system of a test's own, which can be frozen."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount and freeze a file system")
    image, point = tmp_path / "image", tmp_path / "disk"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    subprocess.run(tool("mkfs.ext4", "-q", "-F", image), check=True)
    mounted = subprocess.run(tool("mount", "-o", "loop", image, point), check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no loop device: {mounted.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(tool("umount", point), check=True)


@contextlib.contextmanager
def frozen(disk: Path) -> Iterator[None]:
    """While this lasts, who changes something there waits. It is thawed even if this process is killed meanwhile."""
    freeze = shlex.join(tool("fsfreeze", "--freeze", disk))
    thaw = shlex.join(tool("fsfreeze", "--unfreeze", disk))
    script = f"{freeze} && echo frozen && read line; {thaw}"
    command = tool("sh", "-c", script)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "frozen\n"
        yield


@contextlib.contextmanager
def agent(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """One that plays until it is killed."""
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(__file__).parents[1])}
    command = [sys.executable, "-c", AGENT, str(folder), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("what", ["episodes", "steps"])
def test_the_loop_goes_on_while_the_folder_s_file_system_is_frozen(disk, endpoint, monkeypatch, what):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)  # nobody is there: what is recorded is in the journal alone
    folder = disk / "run"
    with agent(folder, what) as process:
        played = (line.split() for line in process.stdout)
        for _ in range(EPISODES):
            next(played)
        wait_until(lambda: list(folder.glob(f"{PENDING_NAME}/*.rec")), "there is a journal")
        with frozen(disk):
            since, longest, while_frozen = time.monotonic(), 0.0, 0
            while while_frozen < EPISODES:  # one that waits for the file system would be waited for here
                last, begun, step = next(played)
                longest = max(longest, float(step))
                while_frozen += float(begun) > since
            known = {each.episode for each in read_run(folder, "all").episodes}
            assert int(last) not in known, "it was not frozen"
        wait_until(lambda: int(last) in {each.episode for each in read_run(folder, "all").episodes}, "it is caught up")
    print(f"{while_frozen} episodes while it was frozen, the longest step {longest * 1000:.1f} ms")
    (episodes,) = [[each.episode for each in read_run(folder, "all").episodes]]
    assert episodes == list(range(len(episodes)))
    assert len(episodes) > int(last)
