"""``offcam render``: videos of episodes that nobody rendered, of trainings that were killed, too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest

import films
import offcam
from envs import play
from offcam import RecordVideo
from offcam_runs.clip_episodes import ClipEpisodes, read_spans, span_of
from offcam_runs.database import open_to_read
from offcam_runs.episodes import read_episodes
from offcam_runs.run import read_run
from offcam_runs.streams import read_streams
from waiting import HANG_SECONDS, wait_until

ROOT = Path(__file__).parents[1]

pytest.importorskip("xxhash")
pytestmark = pytest.mark.usefixtures("embedded")


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    gym.register("Numbers-v0", "envs:Barcode")
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    yield
    gym.registry.pop("Numbers-v0")


def record(folder, lengths, name="Numbers-v0"):
    """One training, nothing of which is rendered; an episode of each length."""
    env = gym.make(name, render_mode=None, disable_env_checker=True)
    env = offcam.record(env, folder, source="replay", episode_trigger=lambda _: False)
    for length in lengths:
        env.unwrapped.length = length
        play(env)
    env.close()


def test_those_that_are_asked_for(folder, offcam_command):
    record(folder, [10, 10, 10])
    done = offcam_command("render", str(folder), "--episode", "1", "--episode", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{folder}/rl-video-episode-{number}.mp4: episode {number}, each step as it was (fresh)" for number in (1, 2)
    ] + ["2 videos of 2 episodes."]
    for number in (1, 2):
        assert films.numbers(folder / f"rl-video-episode-{number}.mp4") == list(range(11))
    films.check(folder)
    assert offcam.load(folder).sessions == (1,)
    clips = offcam.load(folder).clips
    assert [(clip.episode, clip.length, clip.verified, clip.diverged_at) for clip in clips] == [
        *((1, 10, True, None), (2, 10, True, None))
    ]
    assert "rendered, each step checked" in offcam_command("ls", str(folder)).stdout


def test_they_show_the_episodes_of_the_training(folder, offcam_command):
    """To whoever looks: the page plays them for these episodes, and their frames have those rows of steps."""
    record(folder, [10, 10, 10])
    offcam_command("render", str(folder), "--episode", "1")
    with open_to_read(folder) as database:
        streams = read_streams(database)
        shown = ClipEpisodes(read_episodes(database, streams), read_spans(database, streams)).shown
    assert shown.tolist() == [-1, 0, -1]
    (clip,) = read_run(folder).clips
    steps = clip.steps()
    assert steps["episode"].tolist() == [1] * 11
    assert steps["step"].tolist() == list(range(11))
    assert span_of(clip, read_run(folder).streams).stream == 0


def test_of_a_training_that_goes_on_those_that_are_over(folder, offcam_command):
    env = gym.make("Numbers-v0", render_mode=None, disable_env_checker=True)
    env = offcam.record(env, folder, source="replay", episode_trigger=lambda _: False)
    env.unwrapped.length = 10
    play(env, 2)
    env.reset()
    env.step(env.action_space.sample())
    words = ("render", str(folder), "--episode")
    running = offcam_command(*words, "2")
    assert running.returncode == 2
    assert "episode 2 is not over yet" in " ".join(running.stderr.split())
    done = offcam_command(*words, "1")
    assert done.returncode == 0, done.stderr
    assert films.numbers(folder / "rl-video-episode-1.mp4") == list(range(11))
    env.close()
    films.check(folder)


def test_what_led_to_an_exception(folder, offcam_command, monkeypatch):
    env = gym.make("Numbers-v0", render_mode=None, disable_env_checker=True)
    env = offcam.record(env, folder, source="replay", episode_trigger=lambda _: False)
    env.unwrapped.length = 10
    play(env)
    env.reset()
    for _ in range(4):
        env.step(env.action_space.sample())
    monkeypatch.setattr(env.unwrapped, "step", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        env.step(0)
    env.close()
    done = offcam_command("render", str(folder), "--episode", "1")
    assert done.returncode == 0, done.stderr
    assert films.numbers(folder / "rl-video-episode-1.mp4") == list(range(5))


def test_those_that_ended_in_some_way(folder, offcam_command):
    env = offcam.record(gym.make("CartPole-v1"), folder, source="replay", episode_trigger=lambda _: False)
    play(env, 8, seed=3)
    env.close()
    returns = [episode.return_ for episode in read_run(folder).episodes]
    ranked = sorted(range(8), key=lambda number: (returns[number], number))
    words = ["render", str(folder), "--best", "1", "--worst", "2", "--json"]
    found = json.loads(offcam_command(*words).stdout)
    assert [video["episode"] for video in found["videos"]] == [ranked[-1], *ranked[:2]]
    limit = sorted(returns)[3]
    found = json.loads(offcam_command("render", str(folder), "--where", f"return > {limit}", "--json").stdout)
    assert [video["episode"] for video in found["videos"]] == [n for n in range(8) if returns[n] > limit]
    assert {video["file"] for video in found["videos"]} <= {str(path) for path in folder.glob("*.mp4")}


def test_those_of_each_run_in_a_folder(folder, offcam_command):
    runs = [folder / f"seed{seed}" for seed in range(3)]
    for run, count in zip(runs, (2, 2, 1), strict=True):
        record(run, [10] * count)
    found = json.loads(offcam_command("render", str(folder), "--worst", "1", "--json").stdout)["runs"]
    assert [(run["folder"], [video["file"] for video in run["videos"]]) for run in found] == [
        (str(run), [f"{run}/rl-video-episode-0.mp4"]) for run in runs
    ]
    done = offcam_command("render", str(folder), "--episode", "1")
    assert done.returncode == 2
    assert done.stdout.splitlines()[:3] == [
        f"{runs[0]}:",
        f"{runs[0]}/rl-video-episode-1.mp4: episode 1, each step as it was (fresh)",
        "1 video of 1 episode.",
    ]
    assert f"{runs[2]} has no steps of an episode that you ask for" in done.stderr


def test_another_argument_of_the_env(folder, offcam_command):
    record(folder, [10])
    done = offcam_command("render", str(folder), "--episode", "0", "--set", "offset=5")
    assert done.returncode == 0, done.stderr
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(5, 16))


def test_what_does_not_happen_again_is_no_video(folder, offcam_command):
    record(folder, [10, 4])  # its length was changed from outside, which is on no tape
    done = offcam_command("render", str(folder), "--episode", "1", "--json")
    assert done.returncode == 1
    (video,) = json.loads(done.stdout)["videos"]
    assert (video["file"], video["diverged_at"]) == ("", 4)
    assert films.videos(folder) == []
    (clip,) = read_run(folder).clips
    assert (clip.episode, clip.file, clip.state, clip.verified, clip.diverged_at) == (1, None, "aborted", False, 4)
    assert clip.diverged_why
    assert "not as it was at step 4" in offcam_command("ls", str(folder)).stdout
    done = offcam_command("render", str(folder), "--episode", "1")
    assert "episode 1: no video: it did not happen again" in done.stdout
    assert "at step 4" in done.stdout


def test_code_that_has_changed_is_named(folder, offcam_command, tmp_path, monkeypatch):
    code = "from oddities import Counting\n\nclass Edited(Counting):\n    by_name = '{}'\n\n{}"
    file = tmp_path / "modules" / "editedlater.py"
    file.parent.mkdir()
    file.write_text(code.format("a", ""))
    monkeypatch.syspath_prepend(file.parent)
    monkeypatch.syspath_prepend(ROOT / "client" / "replay")
    gym.register("Edited-v0", "editedlater:Edited")
    try:
        env = offcam.record(gym.make("Edited-v0"), folder, source="replay", episode_trigger=lambda _: False)
        env.reset()
        for _ in range(4):
            env.step(1)
        env.close()
    finally:
        del sys.modules["editedlater"], gym.registry["Edited-v0"]
    for change, returncode in (("", 0), ("    def move(self, action):\n        self.number += 1\n", 1)):
        file.write_text(code.format("bb", change))
        done = offcam_command("render", str(folder), "--episode", "0")
        assert done.returncode == returncode, done.stdout + done.stderr
        assert "since it was recorded, the env's source code was edited" in done.stdout


def test_steps_that_the_run_may_not_have_are_said_at_once(folder, offcam_command):
    env = gym.make("Numbers-v0", render_mode=None, length=3000, disable_env_checker=True)
    env = RecordVideo(env, folder, lambda _: False, source="replay", steps_limit=1)
    play(env, 2)
    env.close()
    done = offcam_command("render", str(folder), "--episode", "1")
    assert done.returncode == 2
    assert "has not all steps of what you ask for" in done.stderr
    assert "(limit)" in done.stderr


def test_nothing_of_a_folder_from_elsewhere_is_run(folder, offcam_command, tmp_path):
    record(folder, [10])
    elsewhere = {"XDG_STATE_HOME": str(tmp_path / "another")}
    done = offcam_command("render", str(folder), "--episode", "0", **elsewhere)
    assert done.returncode == 2
    assert "was not recorded by you on this machine" in done.stderr
    assert films.videos(folder) == []
    done = offcam_command("render", str(folder), "--episode", "0", "--trust", **elsewhere)
    assert done.returncode == 0, done.stderr
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(11))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say which episodes: --episode N"),
        (["--episode", "7"], "has no steps of an episode that you ask for"),
        (["--episode", "0", "--set", "offset"], "--set takes NAME=VALUE"),
        (["--where", "return of the king"], "is no condition"),
    ],
)
def test_what_is_asked_wrongly(folder, offcam_command, words, said):
    record(folder, [10])
    done = offcam_command("render", str(folder), *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_what_was_not_recorded_so(folder, offcam_command):
    env = RecordVideo(gym.make("Numbers-v0", render_mode="rgb_array"), folder, lambda _: False, steps=True)
    play(env)
    env.close()
    done = offcam_command("render", str(folder), "--episode", "0")
    assert done.returncode == 2
    assert "was not recorded with source='replay'" in done.stderr


KILLED = """
import gymnasium as gym, sys
from offcam import RecordVideo
env = RecordVideo(gym.make("CartPole-v1"), sys.argv[1], lambda number: False, source="replay")
env.action_space.seed(1)
for episode in range(5):
    env.reset(seed=5 if episode == 0 else None)
    for _ in range(7):
        env.step(env.action_space.sample())
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("daemon_too", [False, True])
def test_episodes_of_a_training_that_was_killed(folder, offcam_command, daemon_too):
    def answer():
        said = json.loads(offcam_command("status", "--json").stdout)
        return said if "pid" in said else None

    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as training:
        assert training.stdout.readline() == "ready\n"
        if daemon_too:
            status = wait_until(answer, "the daemon answers")
            os.kill(status["pid"], signal.SIGKILL)
        training.kill()
    done = offcam_command("render", str(folder), *(word for number in range(5) for word in ("--episode", str(number))))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [(clip.episode, clip.frames) for clip in read_run(folder, "all").clips] == [(n, 8) for n in range(5)]
    films.check(folder)
    assert training.wait(HANG_SECONDS) == -signal.SIGKILL
