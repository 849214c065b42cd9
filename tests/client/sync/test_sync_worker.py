"""The process that sends: what trackers do is survived by it, and felt by nobody else."""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest

import commandline
import offcam
from envs import Barcode, play
from journal_samples import write_journal
from made import PEER, STREAM, episode, make_run, make_video, open_clip, open_stream
from offcam.sync import sinks, worker
from offcam.sync.sinks import memory
from offcam_proto.errors import ConfigError, FolderNotWritable, NotARunFolder, RunFolderError, SyncFailed
from offcam_runs.format import INDEX_NAME
from offcam_runs.replay.recipe import read_key
from offcam_runs.sync.process import SyncRequest, parse_place, with_options
from offcam_runs.sync.state import file_of, read_all, write_state
from offcamd.store.index import RunIndex
from waiting import HANG_SECONDS, wait_until

EPISODES, EVERY = 1201, 300
CLIPS = [f"rl-video-episode-{number}.mp4" for number in range(0, EPISODES, EVERY)]


@pytest.fixture
def run(tmp_path):
    """A run that is over: of its episodes each 300th has a video."""
    return make_run(tmp_path / "run", EPISODES, EVERY, video=make_video(tmp_path / "video.mp4"))


def send(folder, **changes):
    return worker.SyncWorker(SyncRequest(folder=str(folder), tracker="memory", **changes)).run()


def sending(folder):
    (found,) = read_all(Path(folder))
    return found


# --- in this process ------------------------------------------------------------------------------------------


def test_all_of_a_run_that_is_over_is_sent_once(run, sent):
    assert send(run)
    episodes = [episode for batch in sent for episode in batch.episodes]
    of_the_run = offcam.load(run).episodes
    assert [each.number for each in episodes] == list(range(EPISODES))
    assert [each.return_ for each in episodes] == pytest.approx(of_the_run.return_, nan_ok=True)
    assert [each.steps for each in episodes] == of_the_run.length.cumsum().tolist()
    clips = [batch.clip for batch in sent if batch.clip]
    assert [Path(clip.path).name for clip in clips] == CLIPS
    assert [(clip.number, clip.episode) for clip in clips] == [(n, n) for n in range(0, EPISODES, EVERY)]
    assert max(len(batch.episodes) for batch in sent) < EPISODES, "a batch is bounded"
    found = sending(run)
    assert (found.state.sent_episodes, found.state.sent_clips) == (EPISODES, len(CLIPS))
    assert (found.state.over, found.working, found.state.behind_since) == (True, False, None)
    del sent[:]
    assert send(run)
    assert sent == []


def test_what_failed_is_sent_again_and_nothing_else_is(run, sent):
    memory.Tracker.to_raise = [OSError("away"), ValueError("odd\n" * 1000)]
    assert send(run)
    assert [each.number for batch in sent for each in batch.episodes] == list(range(EPISODES))
    state = sending(run).state
    assert (state.failures, state.error) == (2, "")
    assert state.error_at is not None


def test_of_a_sink_that_is_late_all_since_it_was_certain_comes_again(run, sent, monkeypatch):
    monkeypatch.setattr(memory.Tracker, "late", True)
    monkeypatch.setattr(memory.Tracker, "finished", 0)
    memory.Tracker.to_raise = [None, None, OSError("away")]
    assert send(run)
    numbers = [each.number for batch in sent for each in batch.episodes]
    assert numbers == [*range(1000), *range(EPISODES)], "two batches, and then all from the beginning"
    state = sending(run).state
    assert state.certain == {"position": state.position, "saved": {"batches": 3 + len(CLIPS)}}
    assert memory.Tracker.finished == 1
    del sent[:]
    assert send(run)
    assert sent == []


def test_one_that_is_not_goes_on_with_the_batch_that_failed(run, sent):
    memory.Tracker.to_raise = [None, None, OSError("away")]
    assert send(run)
    assert [each.number for batch in sent for each in batch.episodes] == list(range(EPISODES))
    assert sending(run).state.saved == {"batches": 3 + len(CLIPS)}


def test_what_cannot_be_noted_keeps_from_nothing(run, sent, monkeypatch):
    written = []

    def write(file, state):
        written.append(state)
        if 1 < len(written) < 6:
            raise OSError(errno.ENOSPC, "full")
        write_state(file, state)

    monkeypatch.setattr(worker, "write_state", write)
    assert send(run)
    assert [each.number for batch in sent for each in batch.episodes] == list(range(EPISODES))
    assert sending(run).state.over


def test_a_folder_that_cannot_be_written_is_said_at_once(run, monkeypatch):
    def write(file, state):
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(worker, "write_state", write)
    with pytest.raises(FolderNotWritable):
        send(run)


def test_it_is_given_up_after_so_many_failures_and_the_next_one_goes_on(run, sent):
    memory.Tracker.to_raise = [OSError("away")] * 3
    assert not send(run, tries=3)
    state = sending(run).state
    assert (state.failures, state.error) == (3, "OSError: away")
    assert (state.behind_episodes, state.behind_clips, state.sent_episodes) == (EPISODES, len(CLIPS), 0)
    assert state.lag_seconds(time.time()) > 1e6, "its episodes are of years ago"
    assert send(run, tries=3)
    assert len([batch for batch in sent if batch.clip]) == len(CLIPS)


def test_a_video_that_its_rule_let_go_is_passed_over(run, sent):
    (run / CLIPS[1]).unlink()
    assert send(run)
    assert [Path(batch.clip.path).name for batch in sent if batch.clip] == [CLIPS[0], *CLIPS[2:]]
    assert sending(run).state.sent_clips == len(CLIPS) - 1


def test_what_was_saved_of_a_video_whose_daemon_died_is_sent_and_says_so(tmp_path, sent):
    video = make_video(tmp_path / "video.mp4")
    run = make_run(tmp_path / "run", 3, 1, video=video)
    with closing(RunIndex.open(run)) as index:
        with index.transaction():
            index.open_stream(open_stream(run), PEER)
        for number in (3, 4):
            name = f"rl-video-episode-{number}.mp4"
            index.clip_opened(STREAM, open_clip(number, number), name)
            shutil.copy(video, run / f"{name}.part")
    (run / name).hardlink_to(video)  # an earlier one, whole
    assert send(run)
    assert [batch.clip.clip for batch in sent if batch.clip] == [0, 1, 2]
    assert commandline.run("recover", str(run)).returncode in (0, 3)
    assert {clip.state for clip in offcam.load(run).clips[3:]} == {"recovered"}
    assert send(run)
    (clip,) = [batch.clip for batch in sent if batch.clip][3:]
    assert (clip.clip, clip.name, clip.episode) == (3, "rl-video-episode-3", 3)
    assert clip.caption == "episode 3, return nan, 21 frames, recovered"
    assert sending(run).state.sent_clips == 4


@pytest.mark.parametrize("over", [False, True], ids=["its stream goes on", "its stream is over"])
def test_what_there_is_of_a_video_that_was_cut_off_is_sent_once_its_stream_is_over(tmp_path, sent, over):
    video = make_video(tmp_path / "video.mp4")
    run = make_run(tmp_path / "run", 3, 1, video=video)
    with closing(sqlite3.connect(run / INDEX_NAME)) as index, index:
        index.execute("UPDATE clips SET state = 'aborted', complete = NULL WHERE clip IN (0, 1)")
        index.execute("UPDATE clips SET file = NULL WHERE clip = 1")
        if not over:
            index.execute("UPDATE streams SET state = 'live'")
    assert send(run)
    clips = [batch.clip for batch in sent if batch.clip]
    assert sorted((clip.clip, clip.cut_off) for clip in clips) == [(0, True)] * over + [(2, False)]
    assert [clip.caption.rpartition(", ")[2] == "cut off" for clip in clips] == [clip.cut_off for clip in clips]
    assert (sending(run).state.sent_clips, sending(run).state.behind_clips) == (1 + over, 0)


def test_each_session_is_sent_by_itself(tmp_path, sent):
    video = make_video(tmp_path / "video.mp4")
    make_run(tmp_path / "run", 3, 0, video=video)
    make_run(tmp_path / "run", 5, 0, stream=b"t" * 16, began=1.8e9)
    assert send(tmp_path / "run")
    assert [each.number for batch in sent for each in batch.episodes] == [0, 1, 2, 3, 4]
    assert send(tmp_path / "run", session=1)
    assert [each.number for batch in sent for each in batch.episodes][5:] == [0, 1, 2]
    assert [each.state.session for each in read_all(tmp_path / "run")] == [1, 2]


def test_an_index_that_is_another_one_is_sent_from_its_beginning(run, sent):
    assert send(run)
    (run / INDEX_NAME).unlink()
    make_run(run, 7, 0)
    del sent[:]
    assert send(run)
    assert [each.number for batch in sent for each in batch.episodes] == list(range(7))


def test_where_one_place_is_meant_it_is_gone_on_with(run, sent):
    assert send(run)
    found = sending(run)
    found.file.unlink()
    key = read_key(os.environ, os.getuid())
    state = replace(found.state, options={"project": "x"})
    write_state(file_of(run, "memory", 1, {"project": "x"}), state.sealed(key))
    del sent[:]
    assert send(run)  # without options, as `offcam sync` after a crash
    assert sent == []
    assert len(read_all(run)) == 1


@pytest.mark.parametrize(
    ("given", "there"), [("logs", "{here}/logs"), ("../x", "{above}/x"), ("~/logs", "{home}/logs"), ("/logs", "/logs")]
)
def test_a_path_counts_from_where_one_asks_and_later_from_there_too(run, sent, tmp_path, monkeypatch, given, there):
    monkeypatch.setattr(memory.Tracker, "options", {"file": "of the test", "name": "of the test"})
    monkeypatch.setattr(memory.Tracker, "paths", ("file",))
    for name in ("here", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    assert send(run, options={"file": given, "name": "logs"})
    found = sending(run).state.options
    assert found == {
        "file": there.format(here=tmp_path / "here", above=tmp_path, home=tmp_path / "home"),
        "name": "logs",
    }
    monkeypatch.chdir(tmp_path)
    del sent[:]
    assert send(run)  # as `offcam sync` without options, from elsewhere
    assert sent == []


@pytest.mark.parametrize("changes", [{"options": {"server": "theirs"}}, {"saved": {"file": "../../x"}}, {"seal": ""}])
def test_what_a_folder_of_another_s_says_is_not_gone_on_with(run, sent, changes):
    assert send(run)
    found = sending(run)
    found.file.unlink()
    state = replace(found.state, **changes)
    write_state(file_of(run, "memory", 1, state.options), state)
    del sent[:]
    assert send(run)
    assert len([batch for batch in sent if batch.clip]) == len(CLIPS), "from the beginning"
    assert sent[0].last_id == 500
    mine = next(each.state for each in read_all(run) if each.state.options == {})
    assert mine.saved == {"batches": 3 + len(CLIPS)}


def test_what_is_pending_in_a_journal_is_sent_once_it_is_in_the_index(tmp_path, sent):
    run = make_run(tmp_path / "run", 3, 0)
    write_journal(run, episode(3, 1.7e9), opening=open_stream(run), first_seq=4)
    assert len(offcam.load(run).episodes) == 4
    assert send(run)
    assert [each.number for batch in sent for each in batch.episodes] == [0, 1, 2]
    assert commandline.run("recover", str(run)).returncode == 0
    assert send(run)
    assert [each.number for batch in sent for each in batch.episodes] == [0, 1, 2, 3]


def test_a_state_that_is_damaged_or_of_a_later_version_begins_anew(run, sent):
    assert send(run)
    file = sending(run).file
    later = file.read_text().replace('"version": 1', '"version": 2')
    for text in ("", "[]", later, '{"version": 1, "tracker": 7}', '{"version": 1}'):
        file.write_text(text)
        assert read_all(run) == []
        del sent[:]
        assert send(run)
        assert len(sent) == math.ceil(EPISODES / 500) + len(CLIPS)


def test_a_run_without_anything_says_so(tmp_path):
    with pytest.raises(NotARunFolder):
        send(tmp_path)
    make_run(tmp_path / "run", 0, 0)
    (tmp_path / "run" / INDEX_NAME).unlink()
    with pytest.raises(RunFolderError):
        send(tmp_path / "run")


@pytest.mark.parametrize(
    ("to", "found"),
    [
        ("wandb", ("wandb", {})),
        (
            "mlflow:tracking_uri=sqlite:///a=b.db,experiment=x y",
            ("mlflow", {"tracking_uri": "sqlite:///a=b.db", "experiment": "x y"}),
        ),
        ("x:a=", ("x", {"a": ""})),
    ],
)
def test_places(to, found):
    assert parse_place(to) == found
    assert with_options(to, {"b": 1, "c": None}) == (found[0], {**found[1], "b": "1"})


@pytest.mark.parametrize("to", ["", ":a=b", "x:a", "x:=b", "x/y", "x:a=b,", "../x"])
def test_what_is_no_place(to):
    with pytest.raises(ConfigError):
        parse_place(to)


@pytest.mark.parametrize(
    ("to", "says"),
    [
        (
            "nothing",
            "there is no tracker 'nothing': there are gone, hub, log, mlflow, none, objects, push, rerun, tensor",
        ),
        ("wandb", r"'wandb' needs no_such_package, which is not installed in .* -m pip install no_such_package$"),
        ("rerun", r"'rerun' needs rerun, which is not installed in .* -m pip install rerun-sdk$"),
        ("gone", "cannot be imported"),
        ("none", "must lead to a kind of Sink"),
        ("log:too=1", r"has no option 'too'. There are: to \(a folder\)"),
        ("log:timeout=0", "got '0'"),
    ],
)
def test_mistakes_are_said(run, tracker, to, says, monkeypatch):
    monkeypatch.setitem(sinks.PACKAGES, "wandb", "no_such_package")
    name, options = parse_place(to)
    with pytest.raises(ConfigError, match=says):
        worker.SyncWorker(SyncRequest(folder=str(run), tracker=name, options=options))


# --- in a process of its own -----------------------------------------------------------------------------------


def test_a_training_is_sent_while_it_goes_on(daemon, folder, tracker):
    env = offcam.record(Barcode(length=5), folder, every=2, sync=tracker.to)
    play(env, 3)
    env.flush()
    assert tracker.wait("episode", 3) == [0, 1, 2]
    assert tracker.wait("clip", 2) == ["rl-video-episode-0.mp4", "rl-video-episode-2.mp4"]
    assert wait_until(lambda: sending(folder).state.sent_clips == 2, "it is noted")
    assert sending(folder).working
    (told,) = [
        each
        for each in commandline.only_json(commandline.run("status", "--json").stdout)["sync"]
        if each["folder"] == str(folder)
    ]
    assert (told["tracker"], told["sent_episodes"], told["behind_episodes"], told["working"]) == ("log", 3, 0, True)
    assert re.search(r"\blog +3 +2 +0 +0 +sending$", commandline.run("status").stdout, re.MULTILINE)
    play(env, 2)
    env.close()
    assert tracker.wait("episode", 5) == [0, 1, 2, 3, 4]
    wait_until(lambda: not sending(folder).working, "it ends with the training")
    assert len(tracker.heard("clip")) == 3
    assert len(set(tracker.heard("pid"))) == 1
    assert tracker.heard("pid") != [os.getpid()]
    assert tracker.heard("nice") == [19]
    assert sending(folder).state.over


def test_envs_of_one_run_have_one_process(daemon, folder, tracker):
    first = offcam.record(Barcode(length=5), folder, every=1, sync=tracker.to)
    second = offcam.record(Barcode(length=5), folder, every=1, name_prefix="other", sync=tracker.to)
    assert offcam.sync(first, tracker.to).pid == offcam.sync(second, "log", to=tracker.folder).pid
    play(first, 1)
    first.close()
    play(second, 2)
    second.close()
    assert tracker.wait("episode", 3) == [0, 1, 2]
    wait_until(lambda: sending(folder).state.over, "all is sent")
    assert len(tracker.heard("clip")) == 3


@pytest.mark.parametrize(
    "mood", [pytest.param("raise", marks=pytest.mark.slow), pytest.param("500", marks=pytest.mark.slow), "hang"]
)
def test_a_tracker_that_does_not_work_is_felt_by_nobody_and_gets_all_when_it_does(daemon, folder, tracker, mood):
    tracker.be(mood)
    env = offcam.record(Barcode(length=5), folder, every=2, sync=f"{tracker.to},timeout=0.2")
    play(env, 3)
    tracker.wait(mood, 2)
    env.close()  # returns
    found = wait_until(lambda: (now := sending(folder)).state.failures and now, "it is noted")
    assert found.working
    assert {"raise": "not in the mood", "500": "500", "hang": "within 0.2 s"}[mood] in found.state.error
    assert found.state.behind_episodes == 3
    tracker.be("well")
    assert tracker.wait("episode", 3) == [0, 1, 2]
    wait_until(lambda: sending(folder).state.over, "all is sent")
    assert sorted(tracker.heard("clip")) == ["rl-video-episode-0.mp4", "rl-video-episode-2.mp4"]


def test_one_that_is_killed_is_gone_on_with(daemon, folder, tracker):
    env = offcam.record(Barcode(length=5), folder, every=2)
    first = offcam.sync(env, tracker.to)
    play(env, 3)
    env.flush()
    tracker.wait("clip", 2)
    os.kill(first.pid, signal.SIGKILL)
    first.wait(HANG_SECONDS)
    play(env, 2)
    second = offcam.sync(env, tracker.to)
    assert second.pid != first.pid
    env.close()
    assert second.wait(HANG_SECONDS)
    assert set(tracker.heard("episode")) == {0, 1, 2, 3, 4}
    assert len(set(tracker.heard("clip"))) == 3
    assert tracker.heard("made")[1] == {"batches": pytest.approx(2, abs=2)}


@pytest.mark.slow
def test_a_training_that_is_killed_is_sent_to_its_end(daemon, folder, tracker):
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import offcam
from envs import Barcode, play
env = offcam.record(Barcode(length=5), {str(folder)!r}, every=2, sync={tracker.to!r})
play(env, 3)
env.flush()
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    tracker.wait("episode", 3)
    wait_until(lambda: sending(folder).state.over, "all is sent", lambda: sending(folder))
    assert sorted(tracker.heard("clip")) == ["rl-video-episode-0.mp4", "rl-video-episode-2.mp4"]


def test_who_sends_the_same_already_is_left_to_it(run, tracker):
    tracker.be("hang")
    first = offcam.sync(run, tracker.to)
    tracker.wait("hang", 1)
    name, options = parse_place(tracker.to)
    with pytest.raises(SyncFailed, match=f"another process already, pid {first.pid}"):
        worker.SyncWorker(SyncRequest(folder=str(run), tracker=name, options=options)).run()
    tracker.be("well")
    os.kill(first.pid, signal.SIGTERM)
    assert not first.wait(HANG_SECONDS)
    assert not sending(run).working


def test_one_whose_folder_is_removed_leaves(run, tracker):
    tracker.be("raise")
    found = offcam.sync(run, tracker.to)
    tracker.wait("raise", 1)
    moved = run.rename(run.with_name("moved"))  # at once: what is written meanwhile cannot keep it from being removed
    shutil.rmtree(moved)
    assert not found.wait(HANG_SECONDS)


def test_what_cannot_be_sent_is_said(daemon, tracker, folder, monkeypatch):
    with pytest.raises(ConfigError, match="is not recorded"):
        offcam.sync(gym.make("CartPole-v1"), tracker.to)
    with pytest.raises(ConfigError, match="there is no tracker 'nothing'"):
        offcam.record(Barcode(), folder, sync="nothing")
    assert not folder.exists()
    with pytest.raises(NotARunFolder):
        offcam.sync(folder, tracker.to)
    monkeypatch.setenv("OFFCAM", "off")
    env = offcam.record(Barcode(length=5), folder, sync=tracker.to)
    assert not offcam.sync(env, tracker.to).running
    env.close()


# --- offcam sync -----------------------------------------------------------------------------------------------


def test_the_verb_sends_runs_and_goes_on(run, tracker):
    done = commandline.run("sync", str(run), "--to", tracker.to)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tracker.folder}: {EPISODES:,} episodes and {len(CLIPS)} videos\n"
    assert len(tracker.heard("episode")) == EPISODES
    found = commandline.only_json(commandline.run("sync", str(run), "--to", "log", "--json").stdout)
    assert (found["sent_episodes"], found["behind_episodes"], found["over"]) == (EPISODES, 0, True)
    assert len(tracker.heard("episode")) == EPISODES
    all_of_them = commandline.run("sync", str(run.parent), "--to", tracker.to, "--json")
    assert [each["sent_clips"] for each in commandline.only_json(all_of_them.stdout)["runs"]] == [len(CLIPS)]


def test_the_verb_says_what_is_wrong(run, tracker, tmp_path):
    assert "no tracker" in commandline.one_line(commandline.run("sync", str(run), "--to", "nothing"))
    assert "no folder" in commandline.one_line(commandline.run("sync", str(tmp_path / "none"), "--to", tracker.to))
    assert "one by one" in commandline.one_line(
        commandline.run("sync", str(run), "--to", tracker.to, "--session", "all")
    )
    tracker.be("die")
    done = commandline.run("sync", str(run), "--to", tracker.to)
    assert "ended with -9" in commandline.one_line(done)


def test_the_verb_gives_up_on_a_tracker_that_fails(run, tracker):
    tracker.be("500")
    done = commandline.run("sync", str(run), "--to", tracker.to)
    assert done.returncode == 1
    assert f"{EPISODES:,} episodes and {len(CLIPS)} videos are not sent: HTTPError: HTTP Error 500" in done.stdout
    assert done.stderr.splitlines()[-1].endswith("it is given up")
    assert len(tracker.heard("500")) == 4
