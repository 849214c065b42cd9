"""A rule decides which episodes are rendered: those have a video in the end, and of the others nothing is drawn."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing
from pathlib import Path

import gymnasium as gym
import pytest

import films
import offcam
from envs import play
from offcam import RecordVideo, keep
from offcam.replay import renderer
from offcam_proto.errors import RecordingLost
from offcam_runs.format import INDEX_NAME
from offcam_runs.run import read_run
from scored import Graded, Score
from waiting import HANG_SECONDS, wait_until

pytest.importorskip("xxhash")
pytestmark = pytest.mark.usefixtures("embedded")

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    made = {"Graded-v0": "scored:Graded", "GlobalRandom-v0": "oddities:GlobalRandom", "Sized-v0": "oddities:Sized"}
    monkeypatch.syspath_prepend(ROOT / "client" / "replay")
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    for name, place in made.items():
        gym.register(name, place)
    yield
    for name in made:
        gym.registry.pop(name)


def graded(seconds=0.0):
    return gym.make("Graded-v0", seconds=seconds, disable_env_checker=True)


def scores(count: int, seed: int = 0) -> list[Score]:
    env, found = Graded(), []
    for number in range(count):
        env.reset(seed=seed + number)
        found.append(env.score)
    return found


def worst(of: list[Score], count: int) -> set[int]:
    return set(sorted(range(len(of)), key=lambda number: of[number].value)[:count])


def failures(of: list[Score]) -> set[int]:
    return {number for number, score in enumerate(of) if not score.success}


def kept(folder) -> dict[int, str | None]:
    """By the number of its episode, why each video is kept; each is whole and shows it."""
    clips = read_run(folder, "all").clips
    assert films.videos(folder) == sorted(clip.file for clip in clips if clip.file), "no more on the disk"
    for clip in clips:
        assert clip.state == "final"
        assert films.numbers(folder / clip.file) == list(range(clip.frames))
        assert (clip.length, clip.frames) == (clip.frames - 1, len(clip.steps()["step"]))
    films.check(folder)
    return {clip.episode: clip.keep_reason for clip in clips}


def rendered(folder) -> int:
    """How many videos were begun."""
    with closing(sqlite3.connect(folder / INDEX_NAME)) as database:
        (made,) = database.execute("SELECT count(*) FROM clips WHERE state != 'evicted'").fetchone()
        (let_go,) = database.execute("SELECT sum(let_go) FROM rules").fetchone()
    return made + let_go


def test_failures_and_the_three_worst(folder):
    of = scores(60)
    env = offcam.record(graded(), folder, source="replay", keep=keep.failures() | keep.worst(3))
    play(env, 60, seed=0)
    env.close()
    assert env.unwrapped.renders == 0
    found = kept(folder)
    assert set(found) == failures(of) | worst(of, 3)
    for number, reason in found.items():
        wanted = ["failures()"] * (number in failures(of)) + ["worst(3)"] * (number in worst(of, 3))
        assert reason == ", ".join(wanted)
    assert len(offcam.load(folder).episodes) == 60


def test_what_is_let_go_before_its_turn_is_never_rendered(folder):
    count = 300
    env = RecordVideo(graded(), folder, source="replay", keep=keep.worst(2))
    play(env, count, seed=0)
    env.close()
    assert set(kept(folder)) == worst(scores(count), 2)
    assert rendered(folder) < 10, "a few that were kept when the process came to them"


def test_videos_are_there_while_the_training_goes_on_and_go_with_their_episodes(folder):
    made = []
    env = RecordVideo(graded(), folder, source="replay", keep=keep.best(1), on_video=made.append)
    of = scores(200)
    play(env, 5, seed=0)
    assert env.flush()
    first = max(range(5), key=lambda number: of[number].value)
    better = next(number for number in range(5, 200) if of[number].value > of[first].value)
    assert films.videos(folder) == [f"rl-video-episode-{first}.mp4"]
    assert made == [str(folder / f"rl-video-episode-{first}.mp4")]
    assert env.last_video == made[0]
    play(env, better - 4, seed=5)
    assert env.flush()
    assert films.videos(folder) == [f"rl-video-episode-{better}.mp4"]
    play(env, 1, seed=better)  # the same once more, which is no better
    assert env.wait_video(HANG_SECONDS) == str(folder / f"rl-video-episode-{better}.mp4")
    env.close()
    assert kept(folder) == {better: "best(1)"}


def test_all_but_the_worst(folder):
    env = offcam.record(graded(), folder, source="replay", keep=~keep.worst(3) & keep.longer_than(3))
    play(env, 20, seed=0)
    env.close()
    of = scores(20)
    assert set(kept(folder)) == {number for number in range(20) if of[number].length > 3} - worst(of, 3)


def test_cartpole(folder):
    env = offcam.record(gym.make("CartPole-v1"), folder, source="replay", keep=keep.worst(1) | keep.best(1))
    play(env, 30, seed=7)
    env.close()
    returns = offcam.load(folder).episodes.return_.tolist()
    found = {clip.episode: clip.return_ for clip in read_run(folder).clips}
    assert found == {returns.index(each): each for each in (min(returns), max(returns))}
    films.check(folder)


def test_a_trigger_says_which_are_judged(folder):
    env = offcam.record(graded(), folder, source="replay", keep=keep.longer_than(1), every=5)
    play(env, 11, seed=0)
    env.close()
    assert set(kept(folder)) == {0, 5, 10}


def test_a_ranking_goes_on_with_the_session_that_is_resumed(folder):
    for resume in (False, True):
        env = offcam.record(graded(), folder, source="replay", keep=keep.worst(2), resume=resume)
        play(env, 20, seed=20 * resume)
        env.close()
    assert set(kept(folder)) == worst(scores(40), 2)


def test_bytes_are_bound(folder):
    env = offcam.record(graded(), folder, source="replay", keep=keep.longer_than(1), keep_bytes=1)
    play(env, 6, seed=0)
    env.close()
    assert set(kept(folder)) == {5}, "one is there in any case"


def test_what_does_not_happen_again_has_no_video_and_keeps_its_place(folder):
    env = gym.make("GlobalRandom-v0", max_episode_steps=3)
    env = RecordVideo(env, folder, source="replay", keep=keep.worst(2), strict=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        play(env, 4)
        assert env.flush()
        play(env, 4)
        with pytest.raises(RecordingLost, match="it did not happen again"):
            env.close()
    assert len([each for each in said if "not rendered" in str(each.message)]) == 1
    assert films.videos(folder) == []


def test_closing_does_not_wait_for_ever(folder, monkeypatch):
    monkeypatch.setattr(renderer, "CLOSE_SECONDS", 0.0)
    env = RecordVideo(graded(), folder, source="replay", keep=keep.best(1))
    play(env, 3, seed=0)
    with pytest.warns(UserWarning, match="after 0 s videos are still being rendered"):
        env.close()
    best = max(range(3), key=lambda number: scores(3)[number].value)
    wait_until(lambda: films.videos(folder) == [f"rl-video-episode-{best}.mp4"], "it goes on alone")
    renderer._left.pop().wait(HANG_SECONDS)  # as a script that goes on comes to do some time


# --- what is asked for afterwards -------------------------------------------------------------------------

KILLED = """
import os, signal, sys
import gymnasium as gym
import offcam
from envs import play
from offcam import keep
from offcam.replay import clip, renderer

renderer.Renderer.follow = lambda *_: None  # nobody has rendered any of them yet
gym.register("Graded-v0", "scored:Graded")
env = offcam.record(gym.make("Graded-v0"), sys.argv[1], source="replay", keep=keep.failures() | keep.worst(3))
play(env, 40, seed=0)
env.env.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_training_has_kept_is_rendered_once_it_is_asked_for(folder, offcam_command):
    code = subprocess.run([sys.executable, "-W", "ignore", "-c", KILLED, folder], check=False).returncode
    assert code == -signal.SIGKILL
    of = scores(40)
    wanted = failures(of) | worst(of, 3)
    found = json.loads(offcam_command("render", str(folder), "--kept", "--json").stdout)["videos"]
    assert [video["episode"] for video in found] == sorted(wanted)
    assert [video["file"] for video in found] == [str(folder / f"rl-video-episode-{n}.mp4") for n in sorted(wanted)]
    assert set(kept(folder)) == wanted
    again = offcam_command("render", str(folder), "--kept")
    assert (again.returncode, again.stdout) == (0, "0 videos of 0 episodes.\n")


def test_a_rule_that_nobody_had_in_mind_before(folder, offcam_command):
    env = offcam.record(graded(), folder, source="replay", episode_trigger=lambda _: False)
    play(env, 30, seed=0)
    env.close()
    of = scores(30)
    done = offcam_command("render", str(folder), "--keep", "failures() | worst(2, among=successes())", "--json")
    assert done.returncode == 0, done.stderr
    ranked = sorted(set(range(30)) - failures(of), key=lambda number: of[number].value)
    wanted = failures(of) | set(ranked[:2])
    assert {video["episode"] for video in json.loads(done.stdout)["videos"]} == wanted
    assert set(kept(folder)) == wanted
    done = offcam_command("render", str(folder), "--keep", "best(2)", "--worst", "1", "--json")
    best = sorted(range(30), key=lambda number: of[number].value)[-2:]
    assert [video["episode"] for video in json.loads(done.stdout)["videos"]] == [best[0]]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--keep", "best(3) | failure()"], "`failure()` at character 11"),
        (["--keep", "when(f)"], "asks a function"),
        (["--keep", "best(3"], "at character 5"),
        (["--kept", "--best", "1"], "--kept by itself"),
        (["--episode", "0", "--size", "big"], "--size takes WIDTHxHEIGHT"),
        ([], "say which episodes"),
    ],
)
def test_what_cannot_be_asked_for(words, why, folder, offcam_command):
    done = offcam_command("render", str(folder), *words)
    assert done.returncode == 2
    assert why in " ".join(done.stderr.split())


def test_another_size_and_another_camera(folder, offcam_command):
    env = gym.make("Sized-v0", max_episode_steps=2)
    env = offcam.record(env, folder, source="replay", episode_trigger=lambda _: False)
    play(env)
    env.close()
    video = folder / "rl-video-episode-0.mp4"
    words = ["render", str(folder), "--episode", "0"]
    assert offcam_command(*words, "--size", "40x20", "--camera", "side").returncode == 0
    assert {(shot.rgb.shape, round(shot.rgb.mean(), -1)) for shot in films.shots(video)} == {((20, 40, 3), 40)}
    assert offcam_command(*words, "--camera", "1").returncode == 0
    assert {(shot.rgb.shape, round(shot.rgb.mean(), -1)) for shot in films.shots(video)} == {((8, 8, 3), 100)}


def test_a_size_that_the_env_does_not_take_is_one_that_its_pictures_fit_in(folder, offcam_command):
    env = offcam.record(graded(), folder, source="replay", episode_trigger=lambda _: False)
    play(env)
    env.close()
    for size, expected in (("42x60", (42, 42, 3)), ("200x200", (84, 84, 3))):
        assert offcam_command("render", str(folder), "--episode", "0", "--size", size).returncode == 0
        assert {shot.rgb.shape for shot in films.shots(folder / "rl-video-episode-0.mp4")} == {expected}
    done = offcam_command("render", str(folder), "--episode", "0", "--camera", "side")
    assert done.returncode == 1
    assert "Graded has no camera to choose" in done.stdout
