"""What a daemon's death may have cost is said once, with the videos' names and numbers, when another one is there."""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from functools import partial

import pytest
from actors import SLOW_DAEMON

import films
import offcam
from begun import gone_on
from envs import Barcode, play
from offcam.connection import out_of_memory, shared_memory
from offcam_runs.run import read_run
from offcamd.process.instance_lock import daemon_paths
from waiting import freeze, wait_until

LENGTH = 20
MIDWAY = 10


def test_one_warning_for_all_streams(daemons, tmp_path, said):
    daemons.start()
    envs = [offcam.record(Barcode(LENGTH), tmp_path / f"run{number}", every=1) for number in range(3)]
    for number, env in enumerate(envs):
        env.env.start_recording(f"first-of-{number}")
        play(env)
        assert env.flush()
        env.reset()
        for _ in range(MIDWAY):
            env.step(0)
    epochs = [env._stream._wire.epoch for env in envs]
    daemons.kill()
    daemons.start()
    for env, epoch in zip(envs, epochs, strict=True):
        again = partial(gone_on, env._stream._wire, epoch, env._stream.connection)
        wait_until(again, "it records again")
    for env in envs:
        env.close()
    (text,) = [text for text in said if "another one goes on" in text]
    frames, videos = map(int, re.findall(r"of (\d+) frames sent for (\d+) videos", text)[0])
    assert videos >= 3  # of the same name in three folders, and the one before it where its end was not heard of yet
    assert frames >= 3 * (MIDWAY + 1)
    assert text.count("rl-video-episode-1") == 1
    for number in range(3):
        films.check(tmp_path / f"run{number}")
        assert len(films.episodes(tmp_path / f"run{number}")) >= 1


def test_nothing_is_said_where_nothing_was_cut(daemons, tmp_path, said):
    daemons.start()
    env = offcam.record(Barcode(LENGTH), tmp_path / "run", every=100)
    play(env, 2)
    assert env.flush()
    daemons.kill()
    daemons.start()
    play(env, 2)
    env.close()
    assert not [text for text in said if "goes on" in text]
    assert len(films.episodes(tmp_path / "run")) == 4


@pytest.mark.skipif(not shared_memory.POSSIBLE, reason="no anonymous files here that can be sealed")
def test_of_frames_that_are_recorded_after_all_it_is_said(daemons, tmp_path, said):
    daemons.start(SLOW_DAEMON, "0", "--gate", str(tmp_path / "never"))
    env = offcam.record(Barcode(LENGTH), tmp_path / "run", every=1)
    env.reset()
    env.step(0)
    connection = offcam.connection.process.current()
    wait_until(lambda: connection.pump() or connection.session.streams[1].arena, "the daemon can use the memory")
    for _ in range(MIDWAY):
        env.step(0)
    daemons.kill()
    daemons.start()
    wait_until(lambda: (connection.flush(), said)[1], "it is said")  # libzmq may have found the next by itself
    sent, lying = map(int, re.findall(r"of (\d+) frames .* it records (\d+) that lie in shared memory", said[0])[0])
    assert sent == MIDWAY + 2
    assert lying in (MIDWAY, MIDWAY + 1)  # the memory may be there for the second frame
    env.close()
    (missing,) = [clip.dropped for clip in read_run(tmp_path / "run").clips if clip.dropped]
    assert missing == {"lost": sent - lying}
    daemons.stop()


@pytest.mark.skipif(not shared_memory.POSSIBLE, reason="no anonymous files here that can be sealed")
def test_where_all_are_recorded_after_all_no_others_are_told_of(daemons, tmp_path, said):
    daemons.start("--encoders", "1")
    env = offcam.record(Barcode(LENGTH), tmp_path / "run", every=1)
    play(env, 1)
    assert env.flush()
    (encoder,) = daemons.stats()["encoders"]["pids"]
    freeze(encoder)
    env.reset()
    for _ in range(MIDWAY):
        env.step(0)
    daemons.kill()
    with suppress(ProcessLookupError):
        os.kill(encoder, signal.SIGKILL)
    daemons.start()
    wait_until(lambda: (env.flush(), said)[1], "it is said")
    frames = MIDWAY + 1
    assert f"of {frames} frames sent for 1 videos it records {frames} that lie in shared memory or on disk (" in said[0]
    env.close()
    assert not [clip.dropped for clip in read_run(tmp_path / "run").clips if clip.dropped]
    daemons.stop()


def test_lost_frames_stay_in_the_statistics(daemons, tmp_path, said):
    """A video that the next daemon recovers: what its client sent and no file has is in the statistics from then on."""
    daemons.start()
    env = offcam.record(Barcode(LENGTH), tmp_path / "run", every=1)
    env.reset()
    for _ in range(MIDWAY):
        env.step(0)
    wire = env._stream._wire
    epoch = wire.epoch
    daemons.kill()
    daemons.start()
    wait_until(lambda: env.step(0) and gone_on(wire, epoch), "it records again")
    env.close()
    films.check(tmp_path / "run")
    lost = sum(clip.dropped.get("lost", 0) for clip in films.clips(tmp_path / "run").values())
    assert daemons.stats()["lost"]["frames"] == lost


def test_what_is_lost_stays_in_the_statistics_of_the_next_daemons(daemons, endpoint, tmp_path, said):
    """A daemon whose disk is full in the midst of a video is stopped, and those after it are killed."""
    daemons.start(SLOW_DAEMON, "0", "--fail-after", str(MIDWAY))
    env = offcam.record(Barcode(LENGTH), tmp_path / "run", every=1)
    play(env)
    env.close()
    lost = daemons.stats()["lost"]
    assert lost == {"frames": LENGTH + 1 - MIDWAY, "records": 0}
    daemons.stop()
    for _ in range(2):
        daemons.start()
        assert daemons.stats()["lost"] == lost
        daemons.kill()
    daemon_paths(endpoint).lost.write_bytes(b"{")
    daemons.start()
    assert daemons.stats()["lost"] == {"frames": 0, "records": 0}
    daemons.stop()


@pytest.mark.parametrize("kills", [0, 1, 2])
def test_a_death_for_want_of_memory_is_said(kills, daemons, tmp_path, said, monkeypatch):
    daemons.start()
    env = offcam.record(Barcode(LENGTH), tmp_path / "run", every=1)
    env.reset()
    env.step(0)
    before = out_of_memory.kills()
    monkeypatch.setattr(out_of_memory, "kills", lambda: before + kills)
    daemons.kill()
    daemons.start()
    wait_until(lambda: (env._stream.connection.flush(), said)[1], "it is said")
    (text,) = [text for text in said if "another one goes on" in text]
    ended = {0: "died or was stopped,", 1: "kernel ended a process for want", 2: "kernel ended 2 processes for want"}
    assert ended[kills] in text
    env.close()
    daemons.stop()


def test_what_the_kernel_counts(tmp_path):
    assert out_of_memory.kills(tmp_path) == 0
    for name, text in (
        ("proc/vmstat", "nr_free_pages 7\noom_kill 5\n"),
        ("sys/fs/cgroup/memory.events", "low 0\noom 4\noom_kill 3\n"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        assert out_of_memory.kills(tmp_path) == int(text.split()[-1])
    assert out_of_memory.kills() >= 0
