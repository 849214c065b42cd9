"""source="replay" of vector envs: each sub-environment has a tape, and videos of its own."""

from __future__ import annotations

import json
import os
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import films
import offcam
from offcam.vector import RecordVideo
from offcam_proto.errors import ConfigError
from offcam_runs.run import read_run
from triggers import always

pytest.importorskip("xxhash")
pytestmark = pytest.mark.usefixtures("daemon")

MODES = list(AutoresetMode)


@pytest.fixture(autouse=True)
def _registered(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    gym.register("Numbers-v0", "envs:Barcode")
    yield
    gym.registry.pop("Numbers-v0")


def numbers(length, offset, render_mode=None):
    return lambda: gym.make(
        "Numbers-v0", length=length, offset=offset, render_mode=render_mode, disable_env_checker=True
    )


def three(mode, render_mode=None):
    makers = [numbers(length, 100 * length, render_mode) for length in (3, 5, 4)]
    return SyncVectorEnv(makers, autoreset_mode=mode)


def play(env, steps, *, disabled, seed=None):
    env.reset(seed=seed)
    env.action_space.seed(1)
    for _ in range(steps):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        over = terminated | truncated
        if disabled and over.any():
            env.reset(options={"reset_mask": over})


def shown(folder):
    return {path.name: films.numbers(path) for path in sorted(folder.glob("*.mp4"))}


@pytest.mark.parametrize("mode", MODES)
def test_pictures_are_those_that_frames_would_show(tmp_path, mode):
    """In the same videos, of which the last are of episodes that `close` cut short."""
    for source, render_mode in (("replay", None), ("render", "rgb_array")):
        env = RecordVideo(three(mode, render_mode), tmp_path / source, per_env=True, episode_trigger=always,
                          source=source, steps=True)  # fmt: skip
        play(env, 14, disabled=mode is AutoresetMode.DISABLED)
        if source == "replay":
            assert [each.unwrapped.renders for each in env.unwrapped.envs] == [0, 0, 0]
        env.close()
    found, expected = shown(tmp_path / "replay"), shown(tmp_path / "render")
    assert len(expected) > 8
    assert expected["rl-video-env-1-episode-1.mp4"] == [500, 501, 502, 503, 504, 505]
    assert found == expected
    films.check(tmp_path / "replay")
    clips = [films.clips(tmp_path / source) for source in ("replay", "render")]
    for name, clip in clips[1].items():
        same = clips[0][name]
        assert (same.episode, same.length, same.return_, same.frames) == (
            clip.episode, clip.length, clip.return_, clip.frames,
        )  # fmt: skip
        assert same.envs == clip.envs
        assert same.steps()["episode"].tolist() == clip.steps()["episode"].tolist()


@pytest.mark.parametrize("mode", MODES)
def test_pictures_of_a_real_env(folder, mode):
    made = [lambda: gym.make("CartPole-v1", render_mode="rgb_array") for _ in range(3)]
    env = RecordVideo(SyncVectorEnv(made, autoreset_mode=mode), folder, record_envs=[2], episode_trigger=always,
                      source="replay")  # fmt: skip
    play(env, 60, disabled=mode is AutoresetMode.DISABLED, seed=3)
    env.close()
    twin = RecordVideo(SyncVectorEnv(made, autoreset_mode=mode), folder.parent / "twin", record_envs=[2],
                       episode_trigger=always, steps=True, overflow="block")  # fmt: skip
    play(twin, 60, disabled=mode is AutoresetMode.DISABLED, seed=3)
    twin.close()
    names = films.videos(folder)
    assert names == films.videos(folder.parent / "twin")
    assert len(names) > 1
    for name in names:
        one, other = list(films.shots(folder / name)), list(films.shots(folder.parent / "twin" / name))
        assert [shot.time for shot in one] == [shot.time for shot in other]
        assert all(np.array_equal(mine.rgb, his.rgb) for mine, his in zip(one, other, strict=True))


def test_videos_of_so_many_frames(tmp_path):
    for mode in MODES:
        for source, render_mode in (("replay", None), ("render", "rgb_array")):
            env = RecordVideo(three(mode, render_mode), tmp_path / mode.name / source, per_env=True, steps=True,
                              step_trigger=lambda step: step % 5 == 2, video_length=5, source=source)  # fmt: skip
            play(env, 17, disabled=mode is AutoresetMode.DISABLED)
            env.close()
        found = shown(tmp_path / mode.name / "replay")
        assert found == shown(tmp_path / mode.name / "render")
        assert len(found) == 9


@pytest.mark.parametrize("per_env", [True, False])
def test_a_rule_keeps_some_of_them(folder, per_env):
    """The same episodes and pictures as a rule keeps of frames."""
    videos = {}
    for source, render_mode in (("replay", None), ("render", "rgb_array")):
        env = RecordVideo(three(AutoresetMode.NEXT_STEP, render_mode), folder / source, per_env=per_env,
                          record_envs=[1, 2] if per_env else [1], keep=offcam.keep.every(2), source=source)  # fmt: skip
        play(env, 27, disabled=False)
        env.close()
        videos[source] = shown(folder / source)
        films.check(folder / source)
    assert videos["replay"] == videos["render"]
    kept = {int(name.removesuffix(".mp4").rpartition("-")[2]) for name in videos["replay"]}
    assert kept == ({0, 2, 4} if per_env else {0, 2})
    assert all(len(set(seen)) == len(seen) > 1 for seen in videos["replay"].values())


@pytest.mark.parametrize("mode", MODES)
def test_others_are_rendered_later(folder, offcam_command, mode):
    env = offcam.record(three(mode), folder, per_env=True, episode_trigger=lambda _: False, source="replay")
    play(env, 14, disabled=mode is AutoresetMode.DISABLED)
    env.close()
    words = ["render", str(folder), "--episode", "0", "--episode", "1", "--env-index", "1"]
    done = offcam_command(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert shown(folder) == {f"rl-video-env-1-episode-{number}.mp4": list(range(500, 506)) for number in range(2)}
    clips = films.clips(folder).values()
    assert [(clip.episode, clip.length, clip.return_, clip.envs) for clip in clips] == [
        (0, 5, 5.0, (1,)),
        (1, 5, 5.0, (1,)),
    ]
    ended = json.loads(offcam_command("render", str(folder), "--best", "1", "--env-index", "2", "--json").stdout)
    assert [video["why"] for video in ended["videos"]] == [""]


def test_one_picture_of_several_is_refused(folder):
    with pytest.raises(ConfigError, match=r"not one picture of several. Pass `per_env=True`"):
        RecordVideo(three(AutoresetMode.NEXT_STEP), folder, source="replay")
    asynchronous = AsyncVectorEnv([numbers(3, 0)] * 2)
    with pytest.raises(ConfigError, match=r"AsyncVectorEnv live where this process cannot see them. Wrap each in"):
        RecordVideo(asynchronous, folder, per_env=True, source="replay")
    asynchronous.close()
    many = SyncVectorEnv([numbers(3, 0)] * 257)
    with pytest.raises(ConfigError, match="at most 256 sub-environments"):
        RecordVideo(many, folder, record_first_only=True, source="replay")
    many.close()
    assert not folder.exists()


def test_auto_is_frames(folder, capfd):
    env = RecordVideo(three(AutoresetMode.NEXT_STEP, "rgb_array"), folder, source="auto", episode_trigger=always)
    play(env, 5, disabled=False)
    assert env.recording_source == "render"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.close()
    assert "offcam records frames: source='auto' is for single envs." in capfd.readouterr().err
    assert len(films.videos(folder)) == 2


def test_envs_in_processes_of_their_own(folder):
    def made(number):
        return lambda: offcam.RecordVideo(numbers(3, 100 * number)(), folder, always, source="replay",
                                          name_prefix=f"env-{number}")  # fmt: skip

    envs = AsyncVectorEnv([made(number) for number in range(2)])
    play(envs, 8, disabled=False)
    envs.close()
    found = shown(folder)
    for number in range(2):
        for episode in range(2):
            first = 100 * number
            assert found[f"env-{number}-episode-{episode}.mp4"] == list(range(first, first + 4))
    pids = {stream.pid for stream in read_run(folder).streams if not stream.replays}
    assert len(pids - {os.getpid()}) == 2  # Gymnasium makes the first one here, too, to look at its spaces
