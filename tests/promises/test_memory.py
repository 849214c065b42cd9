"""Memory is bounded, by figures that are stated; here they are measured, and printed.

A client holds frames that the daemon has granted credit for and that are not out of its socket yet: at most the
daemon's ``memory_limit``, for all of its streams together. Beside them it holds records until they are acked.
A daemon holds at most ``memory_limit`` of frames, beside what its encoders need, which does not grow with time.
"""

from __future__ import annotations

import contextlib
import os

import pytest
from scenes import SLOW_DAEMON, over, python, resident_mib, stopped

import films
import offcam
from envs import Barcode, Look
from offcam_proto.limits import MAX_UNACKED_RECORDS
from offcamd.cli.query import ask_stats
from waiting import HANG_SECONDS, wait_until

LOOK = Look(300, 400)
SLACK_MIB = 12.0
"""What the allocators of Python, libzmq and x264 may keep beside the frames."""


@pytest.fixture(autouse=True)
def address(runtime, endpoint, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    monkeypatch.setenv("OFFCAM_HTTP", "off")
    monkeypatch.setenv("OFFCAM_LOG", "error")  # nobody reads it, and a full pipe would stop the daemon


@pytest.fixture
def say(capsys):
    def print_through(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return print_through


AGENT = """
import os, sys, offcam, warnings
from envs import Barcode, Look, play
warnings.simplefilter("ignore")
offcam.connection.timeouts.LOADING_SECONDS = 0.0  # no step waits for a daemon that may be loading its encoders
folder, streams, height, width, overflow = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
envs = [
    offcam.record(Barcode(10**9, Look(height, width)), f"{folder}/{n}", every=1, overflow=overflow)
    for n in range(streams)
]
for env in envs:
    env.reset()
print("ready", flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        for env in envs:
            env.step(0)
    print("done", flush=True)
for env in envs:
    env.close()
"""


class Agent:
    """A process with so many streams, all of which are in the midst of one long clip."""

    def __init__(self, folder, *, streams: int = 1, look: Look = LOOK, overflow: str = "drop") -> None:
        self.process = python(AGENT, folder, str(streams), str(look.height), str(look.width), overflow)
        assert self.process.stdout.readline() == "ready\n", self.process.communicate()

    def step(self, steps: int) -> float:
        """Take some steps with each stream; returns the MiB it has then."""
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n", self.process.communicate()
        return resident_mib(self.process.pid)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def close(self) -> None:
        _, error = self.process.communicate(timeout=HANG_SECONDS)
        assert self.process.returncode == 0, error


@pytest.fixture
def start():
    """Start an `Agent` that is ended in any case."""
    with contextlib.ExitStack() as stack:

        def run(*arguments, **options) -> Agent:
            agent = Agent(*arguments, **options)
            stack.callback(agent.kill)
            return agent

        yield run


@pytest.mark.parametrize(
    ("short", "long"), [(200, 1200), pytest.param(1000, 10000, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_a_client_needs_no_more_for_a_long_clip(tmp_path, serve, start, say, short, long):
    serve("--memory-limit", "16MiB")  # what happens to be under way is little then
    agent = start(tmp_path, overflow="block")
    first = agent.step(short)
    second = agent.step(long - short)
    agent.close()
    (clip,) = films.clips(tmp_path / "0").values()
    assert clip.frames == long + 1
    say(f"a client after {short} frames of one clip: {first:.1f} MiB, after {long}: {second:.1f} MiB")
    assert second - first < SLACK_MIB


def test_a_clients_frames_are_bounded_by_what_the_daemon_grants(tmp_path, serve, start, say):
    """The daemon is stopped, so that nothing leaves: the worst that can be."""
    limit = 32
    process, _ = serve("--memory-limit", f"{limit}MiB", "--spool-limit", "0", fresh=True)
    agent = start(tmp_path, streams=4)
    first = agent.step(5)
    with stopped(process):
        second = agent.step(150)
        third = agent.step(150)
    agent.close()
    shown = 4 * 300 * LOOK.height * LOOK.width * 3 / 2**20
    say(f"a client whose daemon takes nothing, {shown:.0f} MiB rendered: {first:.1f}, {second:.1f}, {third:.1f} MiB")
    assert second - first < limit + SLACK_MIB
    assert third - second < SLACK_MIB / 2


def test_a_clients_records_are_bounded(tmp_path, say, recwarn):
    """Nobody takes them. Each costs so many bytes, and there are so many at most, for each stream."""
    env = offcam.RecordVideo(offcam.RecordEpisodeStatistics(Barcode(1)), str(tmp_path), lambda _: False)

    def episodes(count: int) -> None:
        for _ in range(count):
            env.reset()
            env.step(0)

    episodes(1000)
    before = resident_mib(os.getpid())
    count = 20_000
    episodes(count)
    grown = resident_mib(os.getpid()) - before
    each = grown * 2**20 / count
    say(f"a record that waits for its ack takes {each:.0f} bytes, {MAX_UNACKED_RECORDS} of them "
        f"{each * MAX_UNACKED_RECORDS / 2**20:.0f} MiB")  # fmt: skip
    assert each < 500
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize("spool", ["0", "1GiB"])
def test_a_daemon_with_64_streams_keeps_to_its_budget(tmp_path, serve, start, endpoint, say, spool):
    """Its base is what it has once all encoders are at work."""
    streams, limit = 64, 64
    process, _ = serve("0.004", "--memory-limit", f"{limit}MiB", "--spool-limit", spool, script=SLOW_DAEMON, fresh=True)
    agent = start(tmp_path, streams=streams, look=Look(200, 200))
    wait_until(
        lambda: agent.step(1) and len(list(tmp_path.glob("*/*.part"))) == streams,
        "each encoder has begun",  # a busy machine's daemon may have no credit yet for the first frames of some
    )
    wait_until(lambda: ask_stats(endpoint)["queue_bytes"] == 0, "it has encoded all there was")
    base = resident_mib(process.pid)
    agent.step(40)
    peak = resident_mib(process.pid, "VmHWM")
    agent.close()
    rendered = streams * 40 * 200 * 200 * 3 / 2**20
    say(f"a daemon with {streams} streams, {limit} MiB for frames, spool {spool}: base {base:.0f} MiB, "
        f"at most {peak:.0f} MiB while {rendered:.0f} MiB were rendered")  # fmt: skip
    assert peak - base <= limit + SLACK_MIB
    films.check(tmp_path / "0")


@pytest.mark.parametrize("total", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_soak_of_so_many_episodes(tmp_path, serve, say, total):
    """Each with its video: nothing grows once everything has been there once."""
    process, _ = serve("--memory-limit", "16MiB", fresh=True)  # what happens to be under way is little then
    script = """
import sys, offcam
from envs import Barcode, play
env = offcam.record(Barcode(20), sys.argv[1], every=1, overflow="block")
for line in sys.stdin:
    play(env, int(line))
    print(env.flush(), flush=True)
env.close()
"""
    folder = tmp_path / "run"
    figures = []
    with python(script, folder) as agent:
        for _ in range(4):
            agent.stdin.write(f"{total // 4}\n")
            agent.stdin.flush()
            assert agent.stdout.readline() == "True\n"
            figures.append((resident_mib(agent.pid), resident_mib(process.pid)))
        _, error = agent.communicate()
    assert agent.returncode == 0, error
    assert over(folder)
    assert len(films.episodes(folder)) == len(films.videos(folder)) == total
    say(f"after each quarter of {total} episodes: client "
        + ", ".join(f"{client:.1f}" for client, _ in figures)
        + " MiB, daemon " + ", ".join(f"{daemon:.1f}" for _, daemon in figures) + " MiB")  # fmt: skip
    clients, daemons = zip(*figures, strict=True)
    assert clients[-1] - clients[1] < 2
    assert max(daemons[2:]) - max(daemons[:2]) < 24  # what the last clips left is given back a moment later
