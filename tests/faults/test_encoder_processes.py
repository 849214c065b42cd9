"""The processes that encode, killed, frozen or starved, under a real daemon and a client that goes on."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zmq
from actors import WAIT_SECONDS

import films
import offcam
import offcam.connection.process
from begun import gone_on
from envs import Barcode, Look, play
from offcam_proto import messages as msg
from offcam_proto.layout import FrameLayout
from offcam_runs.run import read_run
from offcamd.reports.verify import verify
from rawpeer import RawPeer
from waiting import alive, freeze, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTH = 60
LAYOUT = FrameLayout((64, 64, 3), (64 * 3, 3, 1), 0, 64 * 64 * 3)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Freeze a process, and let it go on afterwards, come what may."""
    freeze(pid)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def encoders(daemons) -> list[int]:
    return daemons.stats()["encoders"]["pids"]


def test_killed_in_the_midst_of_videos_they_cost_a_frame_each_at_most(daemons, folder):
    daemons.start("--encoders", "2")
    wait_until(lambda: daemons.stats()["self_test"] == "passed", "the self-test passed")
    envs = [offcam.record(Barcode(LENGTH), str(folder), every=1, overflow="block", name_prefix=name) for name in "ab"]
    for _ in range(5):
        for env in envs:
            env.reset()
        for step in range(LENGTH):
            for env in envs:
                env.step(0)
            if step == LENGTH // 2:
                for pid in wait_until(lambda: encoders(daemons), "clips are encoded"):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        for env in envs:
            assert env.flush()
    for env in envs:
        env.close()
    clips = read_run(folder, "all").clips
    assert [clip.error for clip in clips] == [None] * 10, daemons.log.read_text()
    assert [clip.state for clip in clips] == ["final"] * 10
    for clip in clips:
        shown = films.numbers(folder / clip.file)
        assert len(shown) == clip.frames
        assert shown == sorted(set(shown)), "each frame once, and in order"
        assert clip.frames + sum(clip.dropped.values()) == LENGTH + 1
        assert clip.dropped.get("encoder", 0) <= 1
    assert verify(folder).ok
    daemons.stop()


def test_frozen_they_keep_no_agent_and_no_other_video_waiting(daemons, folder):
    daemons.start("--encoders", "2")
    env = offcam.record(Barcode(LENGTH), str(folder), every=1, name_prefix="a")
    play(env, 1)
    env.flush()
    (first,) = encoders(daemons)
    os.kill(first, signal.SIGSTOP)
    play(env, 2)
    os.kill(first, signal.SIGCONT)
    env.close()
    assert {clip.state for clip in read_run(folder, "all").clips} == {"final"}
    assert verify(folder).ok
    daemons.stop()


@pytest.mark.parametrize(("episodes", "length"), [(5, LENGTH), (100, 2)])
def test_while_they_give_way_frames_of_many_videos_go_to_disk_and_no_step_waits_for_them(
    daemons, folder, episodes, length
):
    """Three times the stream's credit, in a few long videos or in many short ones."""
    daemons.start("--encoders", "1")
    env = offcam.record(Barcode(length, Look(height=400, width=600)), str(folder), every=1, overflow="block")
    play(env, 1)
    env.flush()
    (pid,) = encoders(daemons)
    with frozen(pid):
        play(env, episodes)
        assert daemons.stats()["spool_bytes"] > 0
    env.close()
    clips = read_run(folder, "all").clips
    assert [(clip.state, clip.frames) for clip in clips] == [("final", length + 1)] * (episodes + 1)
    daemons.stop()


def test_frozen_for_good_they_end_with_a_daemon_that_is_told_twice(daemons, folder):
    daemons.start("--encoders", "1")
    env = offcam.record(Barcode(LENGTH), str(folder), every=1)
    env.reset()
    for _ in range(10):
        env.step(0)
    (pid,) = wait_until(lambda: encoders(daemons), "a clip is encoded")
    os.kill(pid, signal.SIGSTOP)
    env.step(0)
    daemons.process.send_signal(signal.SIGTERM)
    wait_until(lambda: '"stopping"' in daemons.log.read_text(), "it stops")
    daemons.process.send_signal(signal.SIGTERM)
    daemons.process.wait(WAIT_SECONDS)
    wait_until(lambda: not alive(pid), "the frozen process is gone, too")


def test_one_that_gets_no_more_memory_ends_its_video_and_nothing_else(daemons, folder):
    daemons.start("--encoders", "1")
    small = offcam.record(Barcode(LENGTH), str(folder), every=1, name_prefix="small")
    play(small, 1)
    assert small.flush()
    (pid,) = encoders(daemons)
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    now = pages * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (now, resource.RLIM_INFINITY))
    large = offcam.record(Barcode(5, Look(height=3000, width=3000)), str(folder), every=1, name_prefix="large")
    play(large, 1)
    large.close()
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_AS, 2 * (resource.RLIM_INFINITY,))
    play(small, 1)
    small.close()
    clips = read_run(folder, "all").clips
    assert all(clip.offered == clip.frames + sum(clip.dropped.values()) for clip in clips)
    assert [clip.state for clip in clips if clip.name.startswith("small")] == ["final", "final"]
    (starved,) = (clip for clip in clips if clip.name.startswith("large"))
    assert starved.state == "final" or "no memory is left" in starved.error  # if it died, another went on
    assert daemons.process.poll() is None
    daemons.stop()


def test_they_end_with_a_daemon_that_is_killed(daemons, folder):
    daemons.start("--encoders", "1")
    env = offcam.record(Barcode(LENGTH), str(folder), every=1)
    env.reset()
    env.step(0)
    (pid,) = wait_until(lambda: encoders(daemons), "a clip is encoded")
    connection = offcam.connection.process.current()
    wire = connection.session.streams[1]
    epoch = wire.epoch
    daemons.kill()
    wait_until(lambda: not alive(pid), "it is gone")
    daemons.start()
    wait_until(partial(gone_on, wire, epoch, connection), "the next daemon has the stream")
    for _ in range(LENGTH - 1):
        env.step(0)
    env.close()
    clips = read_run(folder, "all").clips
    assert sum(clip.frames + sum(clip.dropped.values()) for clip in clips) == LENGTH + 1
    assert sum(clip.frames for clip in clips) >= LENGTH - 1
    assert verify(folder).ok
    daemons.stop()


def test_who_only_asks_for_a_sign_of_life_waits_for_no_video(daemons, folder):
    daemons.start("--encoders", "1")
    wait_until(lambda: daemons.stats()["self_test"] == "passed", "the self-test passed")
    (pid,) = encoders(daemons)
    with frozen(pid), zmq.Context() as context, RawPeer(daemons.endpoint.url, context) as peer:
        peer.greet()
        peer.say(msg.OpenStream(1, bytes(16), str(folder), "v", 0, True, "Raw-v0", 1, False, time.time()))
        peer.await_(msg.StreamOpened)
        peer.say(msg.OpenClip(1, 0, "v-episode-0", 1, 30.0, 1, 1, 0, 0, time.time(), LAYOUT.nbytes))
        peer.say(msg.Frame(1, 0, 0, (LAYOUT,), (bytes(LAYOUT.nbytes),)))
        peer.say(msg.EndClip(1, 0, True))
        peer.say(msg.Flush(1))
        assert peer.await_(msg.Flushed).clips == 1
        assert daemons.stats()["encoders"]["give_way"]
        peer.say(msg.Flush(2, True))
        wait_until(lambda: not daemons.stats()["encoders"]["give_way"], "somebody waits")
    wait_until(lambda: daemons.stats()["encoders"]["give_way"], "nobody waits any more")
    daemons.stop()
    assert [clip.frames for clip in read_run(folder, "all").clips] == [1]


def test_beside_busy_cores_videos_wait_and_who_flushes_has_them_at_once(daemons, folder):
    daemons.start("--encoders", "1")
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        env = offcam.record(Barcode(LENGTH), str(folder), every=1)
        play(env, 3)
        assert env.flush()
        assert not daemons.stats()["encoders"]["give_way"] or daemons.stats()["queue_bytes"] == 0
        assert [clip.state for clip in read_run(folder, "all").clips] == ["final"] * 3
        env.close()
    finally:
        for each in busy:
            each.kill()
            each.wait()
    assert verify(folder).ok
    daemons.stop()
