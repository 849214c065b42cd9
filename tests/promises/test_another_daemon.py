"""An embedded daemon that is gone is started again as soon as that is known, however often, and whoever finds out."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from types import SimpleNamespace

import pytest
from scenes import python

import films
import offcam
from begun import gone_on
from envs import Barcode, play
from offcam.connection import launch, reconnect, shared_memory, timeouts
from offcam.connection.reconnect import Starter
from offcam_proto.errors import DaemonUnavailable
from offcam_proto.limits import MAX_RECORDS_IN_FLIGHT
from offcamd.process.instance_lock import read_lock
from waiting import freeze, wait_until

PLAYS = """
import sys, warnings, offcam
from envs import Barcode, play
warnings.simplefilter("ignore")
env = offcam.record(Barcode(3), sys.argv[1], episode_trigger=lambda _: False)
print("ready", flush=True)
sys.stdin.readline()
play(env, 2)
{ending}
"""
COUNTS = """
import sys
if "serve" in sys.orig_argv or "--embedded" in sys.orig_argv:
    with open({tally!r}, "a") as file:
        file.write("daemon\\n" if "serve" in sys.orig_argv else "launcher\\n")
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def kill(embedded, endpoint):
    """Kill the daemon that listens."""

    def one() -> None:
        info = wait_until(lambda: launch.listening(endpoint) and read_lock(endpoint), "a daemon listens")
        os.kill(info.pid, signal.SIGKILL)
        wait_until(lambda: launch.gone(endpoint), "it is gone")

    return one


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_in_a_row_are_one_case(folder, kill, endpoint, recwarn, kills):
    env = offcam.record(Barcode(5), str(folder), every=1)
    play(env, 1)
    wire = env.env._stream._wire
    for _ in range(kills):
        epoch = wire.epoch
        kill()
        wait_until(lambda: play(env, 1) and launch.listening(endpoint), "there is another daemon")
        wait_until(lambda epoch=epoch: play(env, 1) and gone_on(wire, epoch), "it has the stream")
    kill()
    env.close()
    assert [row.episode for row in films.episodes(folder)] == list(range(env.env.episode_id + 1))


def test_under_block_a_frame_waits_for_it_where_the_memory_has_no_more_room(folder, kill, monkeypatch, recwarn):
    monkeypatch.setattr(shared_memory, "ARENA_BYTES", 2**20)
    env = offcam.record(Barcode(2000), str(folder), every=1, overflow="block")
    env.reset()
    wire = env.env._stream._wire
    wait_until(lambda: env.step(0) and wire.arena, "the daemon can use the memory")
    kill()
    epoch = wire.epoch
    while not any(env.step(0)[2:4]):
        pass
    assert gone_on(wire, epoch)
    env.close()
    films.check(folder)
    clips = films.clips(folder).values()
    assert sum(clip.offered for clip in clips) == 2001
    assert {reason for clip in clips for reason in clip.dropped} <= {"lost"}


def test_a_death_is_noticed_by_who_has_nothing_to_send(folder, embedded, endpoint, kill, recwarn):
    """As many records wait for their acks as may, so that no message goes, and none comes."""
    env = offcam.record(Barcode(1), str(folder), episode_trigger=lambda _: False)
    play(env, 1)
    freeze(read_lock(endpoint).pid)
    play(env, MAX_RECORDS_IN_FLIGHT + 10)
    wait_until(lambda: not env.env._stream._wire._held, "all is sent")
    kill()
    wait_until(lambda: play(env, 1) and launch.listening(endpoint), "another daemon is started")
    env.close()
    assert [row.episode for row in films.episodes(folder)] == list(range(env.episode_count))


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_an_open_session_is_doubted(tmp_path, kill, offcam_command, how, recwarn):
    """Nothing is sent between the daemon's end and the next wrapper, so nothing told that it has gone."""
    first = offcam.record(Barcode(5), str(tmp_path / "first"), every=1)
    play(first, 1)
    first.close()
    if how == "stopped":
        assert offcam_command("stop").returncode == 0
    else:
        kill()
    second = offcam.record(Barcode(5), str(tmp_path / "second"), every=1)
    assert second.env._stream._wire.live
    play(second, 1)
    second.close()
    films.check(tmp_path / "second")
    assert films.numbers(tmp_path / "second" / "rl-video-episode-0.mp4") == list(range(6))


def test_a_stream_that_opens_again_has_a_daemon_started(folder, kill, recwarn):
    env = offcam.record(Barcode(5), str(folder), every=1)
    play(env, 1)
    env.close()
    kill()
    wait_until(lambda: play(env, 1) and env.env._stream._wire.live, "another daemon has the stream")
    env.close()
    assert [row.episode for row in films.episodes(folder)] == list(range(env.env.episode_id + 1))


@pytest.mark.parametrize("ending", ["", "1 / 0", "env.close()"])
def test_a_process_that_leaves_has_one_started(folder, kill, endpoint, offcam_command, ending):
    with python(PLAYS.format(ending=ending), folder) as training:
        assert training.stdout.readline() == "ready\n", training.communicate()
        wait_until(lambda: launch.listening(endpoint), "its daemon listens")
        kill()
        training.communicate("go\n")
    assert [row.episode for row in films.episodes(folder)] == [0, 1]


def test_many_at_once_have_one_launcher_and_one_daemon(tmp_path, embedded, endpoint, offcam_command, monkeypatch):
    place, tally = tmp_path / "imports", tmp_path / "tally"
    place.mkdir()
    (place / "sitecustomize.py").write_text(COUNTS.format(tally=str(tally)))
    monkeypatch.setenv("PYTHONPATH", str(place))
    trainings = [python(PLAYS.format(ending="env.close()"), tmp_path / str(number)) for number in range(8)]
    for training in trainings:
        training.stdin.write("go\n")
        training.stdin.flush()
    for number, training in enumerate(trainings):
        with training:
            training.communicate()
        assert [row.episode for row in films.episodes(tmp_path / str(number))] == [0, 1]
    assert Counter(tally.read_text().split()) == {"launcher": 1, "daemon": 1}


@pytest.fixture
def clock(monkeypatch):
    """The time that `reconnect` sees; starts of daemons fail at once."""
    clock = SimpleNamespace(now=1000.0)

    def fail(*_) -> None:
        raise DaemonUnavailable("no")

    monkeypatch.setattr(reconnect, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(launch, "start_embedded", fail)
    return clock


def test_pauses_double_until_one_answers(clock, endpoint):
    starter, pauses = Starter(), []

    def next_pause() -> float:
        starter.begin(endpoint, leaving=1.0)
        assert not starter.due
        before = clock.now
        while not starter.due:
            clock.now += 0.125
        return clock.now - before

    assert starter.due
    pauses = [next_pause() for _ in range(9)]
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert pauses[-1] == timeouts.MOST_PAUSE_SECONDS
    starter.begin(endpoint, leaving=1.0)
    starter.answered()
    assert starter.due
    assert next_pause() == timeouts.LEAST_PAUSE_SECONDS


def test_recording_resumes_soon(folder, kill, within, recwarn):
    env = offcam.record(Barcode(5), str(folder), episode_trigger=lambda _: False)
    play(env, 1)
    assert env.flush()
    wire = env.env._stream._wire
    epoch = wire.epoch
    kill()
    began = time.monotonic()
    wait_until(lambda: play(env, 1) and gone_on(wire, epoch), "another daemon has the stream")
    within(time.monotonic() - began, 2.0)
    env.close()
    assert [row.episode for row in films.episodes(folder)] == list(range(env.env.episode_id + 1))
