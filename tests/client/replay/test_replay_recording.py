"""source="replay": nothing is rendered in the loop, and the videos show what happened."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import warnings

import gymnasium as gym
import pytest

import films
import offcam
from envs import Barcode, play
from offcam import RecordVideo
from offcam.replay.tap import Tap
from offcam.vector import RecordVideo as RecordVideos
from offcam_proto.errors import ConfigError
from offcam_runs.clip_episodes import read_spans
from offcam_runs.database import open_to_read
from offcam_runs.run import read_run
from offcam_runs.streams import read_streams
from triggers import always
from waiting import HANG_SECONDS, freeze, wait_until

pytest.importorskip("xxhash")
pytestmark = pytest.mark.usefixtures("daemon")


@pytest.fixture(autouse=True)
def _registered():
    made = {"Numbers-v0": "envs:Barcode", "Drawing-v0": "oddities:Drawing", "GlobalRandom-v0": "oddities:GlobalRandom"}
    made["Looked-v0"] = "oddities:Looked"
    for name, place in made.items():
        gym.register(name, place)
    yield
    for name in made:
        gym.registry.pop(name)


def numbers_env(length=5, **kwargs):
    return gym.make("Numbers-v0", length=length, render_mode=None, disable_env_checker=True, **kwargs)


def numbers(folder, name="rl-video-episode-0"):
    return films.numbers(folder / f"{name}.mp4")


def test_the_videos_that_a_trigger_asks_for(folder):
    env = RecordVideo(numbers_env(5), folder, lambda number: number % 2 == 1, source="replay", fps=10)
    play(env, 4)
    assert env.unwrapped.renders == 0
    env.close()
    assert films.videos(folder) == ["rl-video-episode-1.mp4", "rl-video-episode-3.mp4"]
    assert numbers(folder, "rl-video-episode-1") == numbers(folder, "rl-video-episode-3") == list(range(6))
    films.check(folder)
    for clip in films.clips(folder).values():
        assert (clip.length, clip.return_, clip.frames, clip.fps, clip.state) == (5, 5.0, 6, 10, "final")


def test_what_only_happens_otherwise_where_it_is_rendered_is_no_video_of_its_episode(folder):
    env = RecordVideo(gym.make("Looked-v0", disable_env_checker=True), folder, always, source="replay")
    env.reset()
    for _ in range(4):
        env.step(0)
    with pytest.warns(UserWarning, match="it happens otherwise where it is rendered"):
        env.close()
    (clip,) = read_run(folder).clips
    assert (clip.state, clip.verified, clip.diverged_at) == ("aborted", False, 1)
    assert "observation" in clip.diverged_why
    with open_to_read(folder) as database:
        assert read_spans(database, read_streams(database)) == []


def test_of_an_env_that_cannot_be_made_again_frames_are_recorded_and_it_is_said(folder):
    with pytest.warns(UserWarning, match="it has no spec.*frames are recorded instead") as said:
        env = RecordVideo(Barcode(5), folder, lambda number: number == 1, source="replay")
    assert len([each for each in said if "no spec" in str(each.message)]) == 1
    play(env, 3)
    env.close()
    assert numbers(folder, "rl-video-episode-1") == list(range(6))
    assert read_run(folder).steps(1).complete
    assert not isinstance(env.env, Tap)


def test_what_is_drawn_again_is_what_was_drawn(folder):
    env = RecordVideo(gym.make("LunarLander-v3"), folder, lambda number: number == 2, source="replay")
    play_some(env, 4, 30)
    env.close()
    twin, pictures = gym.make("LunarLander-v3", render_mode="rgb_array"), []
    play_some(twin, 4, 30, lambda episode: pictures.append(twin.render().copy()) if episode == 2 else None)
    twin.close()
    shown = [shot.rgb for shot in films.shots(folder / "rl-video-episode-2.mp4")]
    assert len(shown) == len(pictures) == 31
    assert all(films.close(one, other) for one, other in zip(shown, pictures, strict=True))
    assert not films.close(shown[0], pictures[-1], 0.5)


def play_some(env, episodes, steps, look=lambda episode: None):
    env.action_space.seed(1)
    for episode in range(episodes):
        env.reset(seed=5 if episode == 0 else None)
        look(episode)
        for _ in range(steps):
            env.step(env.action_space.sample())
            look(episode)


class Skips(gym.Wrapper):
    """It takes four steps for each that it is given, and some after a reset."""

    def reset(self, **kwargs):
        super().reset(**kwargs)
        self.env.step(0)
        return self.env.step(0)[0], {}

    def step(self, action):
        for _ in range(4):
            result = self.env.step(action)
        return result


def test_frames_are_those_that_the_wrapper_would_have_seen(folder):
    env = RecordVideo(Skips(numbers_env(100)), folder, always, source="replay", video_length=3)
    env.reset()
    for _ in range(5):
        env.step(0)
    env.close()
    assert numbers(folder) == [2, 6, 10]


def test_a_video_that_begins_at_a_step_and_goes_over_resets(folder):
    env = RecordVideo(numbers_env(4), folder, step_trigger=lambda step: step == 2, video_length=6, source="replay")
    play(env, 3)
    env.close()
    assert numbers(folder, "rl-video-step-2") == [3, 4, 0, 1, 2, 3]


def test_each_nth_frame_and_the_last(folder):
    env = RecordVideo(numbers_env(8), folder, always, source="replay", every_nth_frame=3)
    play(env)
    env.close()
    assert numbers(folder) == [0, 3, 6, 8]


def test_a_flush_waits_for_them_and_they_are_told_of(folder):
    told = []
    env = RecordVideo(numbers_env(3), folder, always, source="replay", on_video=told.append)
    play(env, 2)
    env.reset()
    assert env.flush()
    assert told == [str(folder / f"rl-video-episode-{number}.mp4") for number in range(2)]
    assert env.wait_video(HANG_SECONDS) == env.last_video == told[-1]
    env.close()


def test_they_are_in_the_session_of_what_they_show(folder):
    env = offcam.record(gym.make("CartPole-v1"), folder, source="replay", every=2)
    play(env, 3, seed=3)
    env.close()
    run = read_run(folder)
    assert run.sessions == (1,)
    assert len(run.episodes) == 3
    original, replayer = run.streams
    assert replayer.replays == original.stream
    assert (replayer.prefix, replayer.suffix) == (original.prefix, original.suffix)
    for clip, number in zip(run.clips, (0, 2), strict=True):
        assert (clip.episode, clip.length) == (number, run.episodes[number].length)


def test_what_happens_otherwise_has_no_video_and_that_is_said(folder):
    env = RecordVideo(gym.make("GlobalRandom-v0"), folder, always, source="replay")
    play_some(env, 2, 4)
    with pytest.warns(UserWarning, match=r"'rl-video-episode-0' is not rendered: it did not happen again: .*at step 1"):
        env.close()
    assert films.videos(folder) == []
    clips = films.clips(folder).values()
    assert [(clip.file, clip.verified, clip.diverged_at) for clip in clips] == [(None, False, 1)] * 2


def test_a_copy_of_the_env_is_on_no_tape(folder):
    env = RecordVideo(gym.make("Drawing-v0"), folder, always, source="replay")
    env.reset(seed=1)
    for _ in range(3):
        ahead = copy.deepcopy(env)
        ahead.step(0)
        env.step(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.close()
    (clip,) = films.clips(folder).values()
    assert clip.frames == 4


def test_once_closed_it_can_be_used_again(folder):
    env = RecordVideo(gym.make("Drawing-v0"), folder, always, source="replay")
    play_some(env, 2, 3)
    env.close()
    play_some(env, 2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.close()
    assert [(clip.episode, clip.frames) for clip in read_run(folder, "all").clips] == [(n, 4) for n in range(4)]


def test_off_is_off(folder, monkeypatch):
    monkeypatch.setenv("OFFCAM", "off")
    env = RecordVideo(numbers_env(), folder, always, source="replay")
    play(env)
    env.close()
    assert list(folder.iterdir()) == []
    layer = env
    while hasattr(layer, "env"):
        assert not isinstance(layer, Tap)
        layer = layer.env


def test_what_cannot_be_replayed_is_refused_at_once(folder, monkeypatch):
    with pytest.raises(ConfigError, match="it has no spec"):
        RecordVideo(Barcode(render_mode=None), folder, source="replay")
    with pytest.raises(ConfigError, match=r"keep='~worst\(3\)' keeps .* frames are gone by then.*source='replay'"):
        RecordVideo(numbers_env(), folder, keep="~worst(3)")
    with pytest.raises(ConfigError, match=r"last_seconds=30 cannot be had with source='replay'.*`offcam render"):
        RecordVideo(numbers_env(), folder, source="replay", last_seconds=30)
    envs = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    with pytest.raises(ConfigError, match="source='replay' makes videos of single sub-environments"):
        RecordVideos(envs, folder, source="replay")
    envs.close()
    with monkeypatch.context() as context:
        context.setenv("OFFCAM_ADDR", "tcp://127.0.0.1:1")
        with pytest.raises(ConfigError, match="source='replay' needs the run folder on this host"):
            RecordVideo(numbers_env(), folder, source="replay")
    with pytest.raises(ConfigError, match="source must be one of 'render', 'frames', 'obs', 'replay'"):
        RecordVideo(numbers_env(), folder, source="again")
    assert not folder.exists()


WITHOUT = """
import sys
sys.modules["xxhash"] = None
import gymnasium as gym, offcam
offcam.replay.register("CartPole-v1", state=len, restore=len)
try:
    offcam.record(gym.make("CartPole-v1"), sys.argv[1], source="replay")
except offcam.ConfigError as error:
    print(error)
"""


def test_what_it_needs_is_said_where_it_is_not_installed(folder, daemon):
    command = [sys.executable, "-c", WITHOUT, str(folder)]
    done = subprocess.run(command, env=with_path(daemon), check=True, capture_output=True, text=True)
    assert done.stdout == (
        "source='replay' needs xxhash, which is not installed: run `pip install \"offcam[replay]\"`.\n"
    )


def test_the_spec_has_it(folder):
    env = RecordVideo(numbers_env(), folder, source="replay")
    assert '"source": "replay"' in env.spec.to_json()
    env.close()


def test_steps_say_where_on_the_tape_they_are(folder):
    env = RecordVideo(Skips(numbers_env(100)), folder, lambda _: False, source="replay")
    env.reset()
    env.step(0)
    env.close()
    steps = offcam.load(folder).steps(0)
    assert steps["tape"].tolist() == [2, 6]


LEFT = """
import gymnasium as gym, sys, os
from offcam import RecordVideo
gym.register("Numbers-v0", "envs:Barcode")
env = gym.make("Numbers-v0", length=5, render_mode=None, disable_env_checker=True)
env = RecordVideo(env, sys.argv[1], lambda number: True, source="replay")
for episode in range(3):
    env.reset()
    for _ in range(5):
        env.step(0)
"""


def test_a_process_that_leaves_without_close_has_its_videos(folder, daemon):
    subprocess.run([sys.executable, "-c", LEFT, str(folder)], env=with_path(daemon), check=True, timeout=HANG_SECONDS)
    films_there = [f"rl-video-episode-{number}.mp4" for number in range(3)]
    wait_until(lambda: films.videos(folder) == films_there, "all videos are final", lambda: films.videos(folder))
    assert numbers(folder, "rl-video-episode-2") == list(range(6))


def with_path(daemon):
    return {**daemon.environment, "PYTHONPATH": ":".join(sys.path)}


def test_a_process_that_is_killed_costs_the_videos_that_it_had_not_made(folder):
    env = RecordVideo(numbers_env(3), folder, always, source="replay")
    play(env)
    env.reset()
    assert env.flush()
    worker = env._replaying.renderer._process  # as a user who looks for it finds it
    freeze(worker.pid)
    play(env)
    worker.kill()
    worker.wait(HANG_SECONDS)
    with pytest.warns(UserWarning, match=r"1 videos were not rendered: the process that does so ended \(-9\)"):
        play(env)
    env.close()
    assert films.videos(folder) == ["rl-video-episode-0.mp4", "rl-video-episode-3.mp4"]


def test_a_forked_child_keeps_nobody_waiting(folder):
    env = RecordVideo(numbers_env(3), folder, always, source="replay")
    play(env)
    env.reset()
    assert env.flush()
    end, begin = os.pipe()
    child = os.fork()
    if not child:
        os.close(begin)
        os.read(end, 1)
        os._exit(0)
    play(env)
    env.close()
    assert films.videos(folder) == ["rl-video-episode-0.mp4", "rl-video-episode-2.mp4"]
    os.close(begin)
    os.close(end)
    os.waitpid(child, 0)
