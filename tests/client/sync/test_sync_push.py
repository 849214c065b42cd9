"""Runs that are pushed to a hub: each episode is there once, whoever is killed or cannot be reached meanwhile."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

import offcam
from envs import Barcode, play
from hubs import hub_host
from made import BEGAN, PEER, episode, make_run, open_stream
from object_runs import grow, send
from offcam.connection.hub import Hub
from offcam.sync import pushed, worker
from offcam_proto import client_session
from offcam_proto.codec import pack_record
from offcam_proto.errors import ConfigError
from offcam_proto.limits import MAX_INT
from offcam_proto.pushing import ClipsGone
from offcam_runs.format import INDEX_NAME, SYNC_NAME
from offcam_runs.sync.process import SyncRequest, parse_place, start
from offcam_runs.sync.state import read_all
from offcamd.store.index import RunIndex
from waiting import freeze, wait_until

COLUMNS = ("env_index", "episode", "return_", "length", "duration", "started", "terminated", "truncated", "seed")
LATER = 12_000
"""Episodes that take more than one message to be pushed."""


@pytest.fixture
def hub(runtime):
    with hub_host(runtime / "hub") as found:
        yield found


@pytest.fixture
def following():
    """Starts processes that push a run for as long as this process is there, or until they are told to end."""
    processes = []

    def follow(folder, hub):
        tracker, options = parse_place(hub.url)
        request = SyncRequest(folder=str(folder), tracker=tracker, options=options, follow=True, owner=os.getpid())
        processes.append(start(request, sys.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return processes[-1]

    yield follow
    for process in processes:
        process.kill()
        process.wait()
        process.stdin.close()


def by_stream(folder):
    """All episodes, by their streams, in the order of their numbers there."""
    run = offcam.load(folder, session="all")
    rows = list(zip(*(map(repr, getattr(run.episodes, name).tolist()) for name in COLUMNS), strict=True))
    found = {stream.stream: [] for stream in run.streams}
    for place, row in zip(run.episodes.stream.tolist(), rows, strict=True):
        found[run.streams[place].stream].append(row)
    return found


def numbers_at(folder):
    with closing(sqlite3.connect(folder / INDEX_NAME)) as index:
        return index.execute("SELECT seq FROM episodes ORDER BY id").fetchall()


def is_as(hub, folder):
    """Whether the hub has what the folder has, each episode once."""
    (there,) = hub.runs()
    assert by_stream(there) == by_stream(folder)
    return True


def count_at(hub):
    return sum(len(offcam.load(folder, session="all").episodes) for folder in hub.runs())


# --- it is as it was ------------------------------------------------------------------------------------------


def test_what_was_pushed_is_there_as_it_was(tmp_path, hub, video):
    run = grow(tmp_path / "lander", 0, 5, video)
    hub.start()
    assert send(run, hub.url)
    assert is_as(hub, run)
    there, here = hub.load(), offcam.load(run)
    for name in ("env_id", "num_envs", "prefix", "started", "session"):
        assert [getattr(stream, name) for stream in there.streams] == [getattr(s, name) for s in here.streams]
    assert there.streams[0].state == "closed"
    differ = {"folder", "place", "first_row", "encode_seconds", "grid"}
    for clip, own in zip(there.clips, here.clips, strict=True):
        changed = {name for name, value in vars(clip).items() if value != getattr(own, name)}
        assert changed <= differ
        assert clip.whereabouts == f"{os.uname().nodename}:{own.path}"
    (state,) = (each.state for each in read_all(run))
    assert (state.where, state.sent_episodes, state.sent_clips, state.over) == (hub.url, 5, 5, True)


def test_a_run_is_sent_once_the_hub_has_its_end_too(tmp_path, hub, video, monkeypatch):
    """The hub hangs as the end is said, and is killed: that would be lost in its socket."""
    run = grow(tmp_path / "lander", 0, 5, video)
    hub.start()

    def end(self, handles):
        freeze(hub.process.pid)
        killer = threading.Timer(0.3, hub.kill)
        killer.start()
        try:
            said(self, handles)
        finally:
            killer.join()

    said = Hub.end
    with monkeypatch.context() as patch:
        patch.setattr(Hub, "end", end)
        assert not send(run, hub.url)
    hub.start()
    assert send(run, hub.url)
    assert hub.load().streams[0].state == "closed"
    assert is_as(hub, run)


def test_what_was_pushed_twice_is_there_once(tmp_path, hub, video):
    run = grow(tmp_path / "run", 0, 3, video)
    hub.start()
    for _ in range(2):
        assert send(run, hub.url)
        assert is_as(hub, run)
        shutil.rmtree(run / SYNC_NAME)  # as on a disk that was lost: the hub alone knows how far it came
    grow(run, 3, 2, video)
    assert send(run, hub.url)
    assert is_as(hub, run)
    assert numbers_at(hub.runs()[0]) == [(number,) for number in range(1, 6)]
    assert len(hub.load().clips) == 5


def test_all_that_records_hold_arrives(tmp_path, hub):
    """Of many streams and sessions, with whatever numbers, by clocks that disagree."""
    folder = tmp_path / "run"
    folder.mkdir()
    odd = [
        episode(0, -5.0, return_=float("nan"), seed=None),
        episode(1, 4e9, return_=float("inf"), duration=float("nan"), seed="9" * 40),
        episode(2, BEGAN, info={"is_success": 1.0, "gap": float("-inf")}, seed=-7),
    ]
    with closing(RunIndex.open(folder)) as index:
        for number, began in enumerate((BEGAN, 0.0, 9e9)):
            stream = bytes([number + 1]) * 16
            with index.transaction():
                index.open_stream(open_stream(folder, stream, began, num_envs=2, training=b"t" * 16), PEER)
                index.apply(stream, 1, list(map(pack_record, odd)))
    hub.start()
    assert send(folder, hub.url)
    assert is_as(hub, folder)
    there, here = hub.load(), offcam.load(folder, session="all")
    assert [dict(each.info) for each in there.episodes] == [dict(each.info) for each in here.episodes]
    assert there.sessions == here.sessions
    assert [stream.started for stream in there.streams] == [stream.started for stream in here.streams]


def test_sessions_are_told_apart_there_too(tmp_path, hub):
    run = make_run(tmp_path / "run", 3, 0)
    hub.start()
    assert send(run, hub.url)
    make_run(run, 5, 0, stream=b"t" * 16, began=1.8e9)
    assert send(run, hub.url)
    assert is_as(hub, run)
    assert hub.load().sessions == (1, 2)


def test_runs_of_one_name_are_kept_apart(tmp_path, hub):
    hub.start()
    for host, count in (("a", 3), ("b", 4)):
        assert send(make_run(tmp_path / host / "lander", count, 0), hub.url)
    one, other = hub.runs()
    assert {len(offcam.load(folder).episodes) for folder in (one, other)} == {3, 4}
    assert all(folder.name.startswith("lander-") for folder in (one, other))


def test_a_run_that_was_moved_goes_on(tmp_path, hub):
    run = make_run(tmp_path / "run", 3, 0)
    hub.start()
    assert send(run, hub.url)
    (tmp_path / "disk").mkdir()
    moved = run.rename(tmp_path / "disk" / "run")
    grow_on(moved, 2)
    assert send(moved, hub.url)
    assert is_as(hub, moved)


# --- who is killed, or not there ------------------------------------------------------------------------------


def test_it_breaks_off_at_each_step(tmp_path, hub, video, monkeypatch):
    run = grow(tmp_path / "run", 0, 12, video)
    hub.start()
    monkeypatch.setattr(pushed, "MOST_EPISODES", 5)
    wait, left = Hub._wait, [0]

    def breaks_off(self, settled, what):
        if left[0] == 0:
            raise OSError("the network is gone")
        left[0] -= 1
        wait(self, settled, what)

    monkeypatch.setattr(Hub, "_wait", breaks_off)
    for steps in range(100):
        left[0] = steps
        shutil.rmtree(run / SYNC_NAME, ignore_errors=steps == 0)
        if send(run, hub.url):
            break
    assert steps > 10, "each message was the last one once"
    assert is_as(hub, run)
    assert len(hub.load().clips) == 12


def test_a_sender_is_killed_again_and_again(tmp_path, hub, following):
    run = make_run(tmp_path / "run", LATER, 0)
    hub.start()
    before = 0
    for _ in range(3):
        process = following(run, hub)
        wait_until(lambda before=before: count_at(hub) > min(before, LATER - 1), "it has pushed something")
        process.kill()
        process.wait()
        before = count_at(hub)
    assert send(run, hub.url)
    assert is_as(hub, run)
    assert len(set(numbers_at(hub.runs()[0]))) == LATER


def test_a_hub_is_killed_and_started_again(tmp_path, hub, following, video):
    run = grow(tmp_path / "run", 0, 3, video, over=False)
    hub.start()
    process = following(run, hub)
    wait_until(lambda: count_at(hub) == 3, "all is pushed")
    for first in (3, 6):
        hub.kill()
        grow(run, first, 3, video, over=False)
        hub.start()
        wait_until(lambda first=first: count_at(hub) == first + 3, "what came meanwhile is pushed, too")
    grow(run, 9, 1, video)
    process.stdin.close()  # the training is over
    assert process.wait() == 0
    assert is_as(hub, run)
    assert len(hub.load().clips) == 10
    assert hub.load().streams[0].state == "closed"


def test_nothing_is_dropped_while_there_is_no_hub(tmp_path, hub, following, video):
    run = grow(tmp_path / "run", 0, 3, video, over=False)
    following(run, hub)

    def state():
        return next((each.state for each in read_all(run)), None)

    said = wait_until(lambda: (found := state()) and found.failures > 1 and found.error, "it has failed twice")
    assert f"no hub answers at {hub.url}" in said
    assert state().behind_episodes == 3
    grow(run, 3, 4, video)
    hub.start()
    wait_until(lambda: hub.runs() and count_at(hub) == 7, "all is pushed")
    assert is_as(hub, run)


@pytest.mark.usefixtures("embedded")
def test_a_training_is_seen_while_it_goes_on(hub):
    """`offcam.record` with ``sync``: what has ended is at the hub long before the env is closed."""
    hub.start()
    env = offcam.record(Barcode(3), "live", every=2, sync=hub.url)
    play(env, 3)
    wait_until(lambda: hub.runs() and count_at(hub) == 3, "three episodes are there")
    assert hub.load().streams[0].state == "live"
    play(env, 1)
    env.close()
    wait_until(lambda: hub.load().streams[0].state == "closed" and len(hub.load().clips) == 2, "all is there")
    assert is_as(hub, "live")


# --- videos that a rule lets go -------------------------------------------------------------------------------


def play_of(barcode, env, *lengths):
    for barcode.length in lengths:
        play(env, 1)


def names(run):
    return [clip.file for clip in run.clips]


@pytest.mark.usefixtures("embedded")
def test_a_video_that_a_better_one_has_ousted_is_gone_at_the_hub_too(hub):
    hub.start()
    barcode = Barcode(3)
    env = offcam.record(barcode, "live", keep=offcam.keep.best(2), sync=hub.url)
    play_of(barcode, env, 3, 4)
    wait_until(lambda: hub.runs() and len(hub.load().clips) == 2, "two videos are there")
    play_of(barcode, env, 5)
    wait_until(
        lambda: names(hub.load()) == ["rl-video-episode-1.mp4", "rl-video-episode-2.mp4"], "the first one is gone"
    )
    assert hub.load().streams[0].state == "live", "it did not wait for the end"
    env.close()
    wait_until(lambda: hub.load().streams[0].state == "closed", "all is there")
    assert names(hub.load()) == names(offcam.load("live"))


@pytest.mark.usefixtures("embedded")
def test_what_was_ousted_while_no_sender_was_there_is_gone_after_the_next_one(hub):
    hub.start()
    barcode = Barcode(3)
    env = offcam.record(barcode, "run", keep=offcam.keep.best(2))
    play_of(barcode, env, 3, 4)
    assert env.get_wrapper_attr("flush")()
    assert send("run", hub.url)
    assert len(hub.load().clips) == 2
    play_of(barcode, env, 6, 5)
    env.close()
    shutil.rmtree(f"run/{SYNC_NAME}")  # nobody remembers what the hub was told
    assert send("run", hub.url)
    assert names(hub.load()) == names(offcam.load("run")) == ["rl-video-episode-2.mp4", "rl-video-episode-3.mp4"]


def test_what_was_told_of_a_clip_of_the_hubs_own_stays(tmp_path, hub, video):
    """A host that says too much: only what it has pushed goes."""
    run = grow(tmp_path / "run", 0, 3, video)
    with closing(RunIndex.open(run)) as index, index.transaction():
        index.elsewhere.apply(b"s" * 16, ClipsGone(1, (0, MAX_INT)))
    assert len(offcam.load(run).clips) == 3


@pytest.mark.parametrize(
    ("there", "gone"),
    [
        ([], [(0, MAX_INT)]),
        ([0, 1], [(2, MAX_INT)]),
        ([1, 4, 5], [(0, 0), (2, 3), (6, MAX_INT)]),
        ([MAX_INT], [(0, MAX_INT - 1)]),
    ],
)
def test_what_is_gone_is_all_that_is_not_there(there, gone):
    assert pushed.between(there) == gone


# --- what cannot be -------------------------------------------------------------------------------------------


def refused(run, to):
    """The one line that is said where a run cannot be pushed."""
    assert not send(run, to)
    (state,) = (each.state for each in read_all(run))
    assert "\n" not in state.error
    return state.error


def test_nobody_answers(tmp_path, hub):
    said = refused(make_run(tmp_path / "run", 1, 0), hub.url)
    assert f"no hub answers at {hub.url}. Start it there with `offcam hub --tcp {hub.url}`" in said


def test_the_key_is_not_let_in(tmp_path, hub, monkeypatch):
    hub.start()
    stranger = hub.key("stranger")
    hub.store.revoke("stranger")
    monkeypatch.setenv("OFFCAM_KEYS", str(stranger))
    said = refused(make_run(tmp_path / "run", 1, 0), hub.url)
    assert "does not let the key 'stranger'" in said
    assert "`offcam keys new NAME`" in said
    assert not hub.runs()


def test_the_hub_is_of_another_offcam(tmp_path, hub, monkeypatch):
    hub.start()
    monkeypatch.setattr(client_session, "PROTOCOL_VERSION", 2)
    said = refused(make_run(tmp_path / "run", 1, 0), hub.url)
    assert f"the hub at {hub.url} refused this sender" in said
    assert "speaks protocol version 1 and the client 2: install the same offcam on both sides" in said


@pytest.mark.parametrize("to", ["tcp://head", "tcp://:1", "tcp://head:0/x", "push:url=ipc:///tmp/socket", "push"])
def test_it_is_no_address(tmp_path, to, hub):
    with pytest.raises(ConfigError, match="tcp://"):
        send(make_run(tmp_path / "run", 1, 0), to)


def test_an_older_index_took_the_place_of_the_run(tmp_path, hub):
    run = make_run(tmp_path / "run", 3, 0)
    older = tmp_path / "older"
    shutil.copytree(run, older)
    hub.start()
    grow_on(run, 3)
    assert send(run, hub.url)
    shutil.rmtree(run)
    older.rename(run)
    with pytest.raises(ConfigError, match=r"the hub has 6 episodes .* has 3.*remove the run's folder at the hub"):
        worker.SyncWorker(SyncRequest(folder=str(run), tracker="push", options={"url": hub.url}, tries=1)).run()


def grow_on(run, count):
    with closing(RunIndex.open(run)) as index, index.transaction():
        index.open_stream(open_stream(run), PEER)
        first = len(offcam.load(run).episodes)
        bodies = [pack_record(episode(number, BEGAN + number)) for number in range(first, first + count)]
        index.apply(b"s" * 16, first + 1, bodies)
        index.close_stream(b"s" * 16)
