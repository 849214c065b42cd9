"""The last seconds of an env are held, and written where it matters: real envs and a real daemon."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import gymnasium as gym
import pytest
from gymnasium.vector import AutoresetMode

import films
import offcam
from envs import Barcode, play
from offcam_proto.errors import ConfigError
from offcam_runs.run import read_run
from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("daemon")  # one that is there: the first frames are looked for, too

FPS = 30
SECONDS = 2
HELD = SECONDS * FPS
MOST = HELD + HELD // 5
"""A video begins with a keyframe, at most a fifth earlier than it was asked for."""


class Failing(Barcode):
    """Raises at one of its steps, resets or renders, as it is told."""

    fails = ""
    reward = 1.0

    def step(self, action):
        if self.fails == "step":
            raise RuntimeError("the simulator diverged")
        observation, _, *others = super().step(action)
        return observation, self.reward, *others

    def reset(self, **options):
        if self.fails == "reset":
            raise RuntimeError("the simulator diverged")
        return super().reset(**options)

    def render(self):
        if self.fails == "render":
            raise RuntimeError("the simulator diverged")
        return super().render()


def steps(env, count: int) -> None:
    for _ in range(count):
        env.step(0)


def shown(folder: Path, name: str) -> list[int]:
    return films.numbers(folder / f"{name}.mp4")


def last(number: int, found: list[int]) -> bool:
    """Whether a video has the last frames up to a number, each once and in order, as many as are to be held."""
    return found == list(range(found[0], number + 1)) and HELD <= len(found) <= MOST


def test_the_last_seconds_are_saved_and_nothing_else(folder):
    env = offcam.RecordVideo(Barcode(10**4), str(folder), last_seconds=SECONDS, overflow="block")
    env.reset()
    steps(env, 200)
    name = env.save_clip("Went off-road!")
    assert name == "rl-video-went-off-road-step-199"
    steps(env, 30)
    assert env.wait_video(60) == str(folder / f"{name}.mp4")
    env.close()
    assert films.videos(folder) == [f"{name}.mp4"]
    assert last(200, shown(folder, name))
    (clip,) = read_run(folder, "all").clips
    assert (clip.state, clip.complete, clip.keep_reason) == ("final", True, "saved: Went off-road!")
    assert (clip.episode, clip.step, clip.length, clip.return_) == (0, 199, HELD, HELD)
    assert (clip.frames, clip.duration) == (len(shown(folder, name)), pytest.approx(clip.frames / FPS))
    films.check(folder)


def test_before_it_is_full_a_video_has_what_there_is(folder):
    env = offcam.RecordVideo(Barcode(10**4), str(folder), last_seconds=60, overflow="block")
    env.reset()
    steps(env, 25)
    name = env.save_clip()
    assert name == "rl-video-clip-step-24"
    env.close()
    assert shown(folder, name) == list(range(26))
    (clip,) = read_run(folder, "all").clips
    assert clip.keep_reason == "saved: asked for"


def test_saves_that_overlap_and_what_follows(folder):
    env = offcam.RecordVideo(Barcode(10**4), str(folder), last_seconds=SECONDS, seconds_after=1, overflow="block")
    env.reset()
    steps(env, 100)
    first = env.save_clip("a")
    steps(env, 10)
    second, third = env.save_clip("a"), env.save_clip("a")
    assert env.flush(), "what goes on is not waited for"
    unfinished = sorted(f"{name}.mp4.part" for name in (first, second, third))
    wait_until(lambda: films.videos(folder) == unfinished, "all of them are being written")
    steps(env, 200)
    assert env.wait_video(60)
    cut = env.save_clip("cut short")
    steps(env, 5)
    env.close()
    assert len({first, second, third, cut}) == 4
    for name, end in ((first, 100 + FPS), (second, 110 + FPS), (third, 110 + FPS), (cut, 315)):
        found = shown(folder, name)
        assert found == list(range(found[0], end + 1))
        after = FPS if name != cut else 5
        assert HELD + after <= len(found) <= MOST + after
    films.check(folder)


@pytest.mark.parametrize("where", ["step", "reset", "render"])
def test_an_exception_of_the_env_comes_through_and_is_saved(folder, where):
    bare = Failing(10**4)
    env = offcam.record(bare, str(folder), last_seconds=SECONDS, overflow="block")
    env.reset()
    steps(env, 100)
    for _ in range(3):  # a loop that tries again and again does not fill the disk
        bare.fails = where
        with pytest.raises(RuntimeError, match="diverged"):
            env.reset() if where == "reset" else env.step(0) if where == "step" else env.render()
    bare.fails = ""
    steps(env, 10)
    env.close()
    (clip,) = read_run(folder, "all").clips
    assert (clip.name, clip.keep_reason) == ("rl-video-error-step-99", "saved: error")
    assert last(100, shown(folder, clip.name))
    assert films.videos(folder) == [f"{clip.name}.mp4"]


def test_a_reward_that_is_no_number_is_saved_once_an_episode(folder):
    bare = Failing(50)
    env = offcam.record(bare, str(folder), last_seconds=SECONDS, overflow="block")
    for _ in range(2):
        env.reset()
        steps(env, 40)
        bare.reward = float("nan")
        steps(env, 10)
        bare.reward = 1.0
    env.close()
    clips = read_run(folder, "all").clips
    assert {clip.name: clip.keep_reason for clip in clips} == dict.fromkeys(
        ("rl-video-nan-step-40", "rl-video-nan-step-90"), "saved: nan"
    )
    assert shown(folder, "rl-video-nan-step-40") == list(range(42))
    found = shown(folder, "rl-video-nan-step-90")
    assert found[-62:] == [*range(31, 51), *range(42)], "across episodes"
    films.check(folder)


def test_beside_other_videos_a_step_is_rendered_once(folder):
    bare = Barcode(20)
    env = offcam.record(bare, str(folder), every=2, last_seconds=SECONDS, overflow="block")
    play(env, 4)
    assert bare.renders == 4 * 21
    name = env.save_clip()
    env.close()
    assert films.videos(folder) == [f"{name}.mp4", "rl-video-episode-0.mp4", "rl-video-episode-2.mp4"]
    for episode in (0, 2):
        assert shown(folder, f"rl-video-episode-{episode}") == list(range(21))
    assert shown(folder, name)[-HELD:] == [*range(3, 21), *range(21), *range(21)]
    films.check(folder)


def test_with_a_rule_what_is_saved_stays(folder):
    env = offcam.record(Barcode(5), str(folder), keep="longer_than(100)", last_seconds=SECONDS, overflow="block")
    play(env, 3)
    name = env.save_clip("mine")
    play(env, 3)
    env.close()
    assert films.videos(folder) == [f"{name}.mp4"]


def test_a_frame_of_another_size_begins_it_anew(folder):
    env = offcam.RecordVideo(
        Barcode(10**4, sizes={50: (120, 160)}), str(folder), last_seconds=SECONDS, overflow="block"
    )
    env.reset()
    steps(env, 60)
    name = env.save_clip()
    env.close()
    assert films.numbers(folder / f"{name}.mp4", 120, 160) == list(range(50, 61))


def test_frames_that_are_left_out_leave_their_time(folder):
    env = offcam.RecordVideo(Barcode(10**4), str(folder), last_seconds=SECONDS, every_nth_frame=3, overflow="block")
    env.reset()
    steps(env, 100)
    name = env.save_clip()
    env.close()
    times = [shot.time * FPS for shot in films.shots(folder / f"{name}.mp4")]
    found = shown(folder, name)
    assert found == list(range(found[0], 100, 3))
    assert [round(time) for time in times] == [number - found[0] for number in found]


def test_a_vector_env_has_one_picture_of_all(folder):
    envs = gym.vector.SyncVectorEnv(
        [lambda: Barcode(10**4), lambda: Barcode(10**4, offset=1000)], autoreset_mode=AutoresetMode.NEXT_STEP
    )
    env = offcam.record(envs, str(folder), last_seconds=SECONDS, overflow="block")
    env.reset()
    for _ in range(100):
        env.step(env.action_space.sample())
    name = env.save_clip("both")
    env.close()
    assert films.videos(folder) == [f"{name}.mp4"]
    assert last(100, shown(folder, name))
    shot = list(films.shots(folder / f"{name}.mp4"))[-1]
    assert shot.rgb.shape in ((84, 168, 3), (168, 84, 3))


def test_what_is_held_shows_nowhere_as_a_video(folder, offcam_command):
    env = offcam.RecordVideo(Barcode(10**4), str(folder), last_seconds=SECONDS, overflow="block")
    env.reset()
    steps(env, 100)
    assert env.flush()
    stats = json.loads(offcam_command("status", "--json").stdout)
    assert stats["clips"] == {"recording": 0, "final": 0, "aborted": 0, "recovered": 0}
    assert stats["frames"] == {"offered": 0, "encoded": 0, "dropped": {}}
    assert json.loads(offcam_command("ls", str(folder), "--json").stdout)["clips"] == []
    env.save_clip()
    assert env.wait_video(60)
    stats = json.loads(offcam_command("status", "--json").stdout)
    assert stats["clips"]["final"] == 1
    assert HELD <= stats["frames"]["encoded"] == stats["frames"]["offered"] <= MOST
    env.close()
    assert json.loads(offcam_command("status", "--json").stdout)["clips"]["aborted"] == 0
    assert films.videos(folder) == ["rl-video-clip-step-99.mp4"]


def test_nothing_is_held_where_nobody_asked(folder):
    env = offcam.RecordVideo(Barcode(5), str(folder))
    with pytest.warns(UserWarning, match="last_seconds=30"):
        assert env.save_clip("x") == ""
    env.close()


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ({"last_seconds": 0}, "last_seconds=30"),
        ({"last_seconds": float("nan")}, "last_seconds=30"),
        ({"last_seconds": True}, "last_seconds=30"),
        ({"last_seconds": 3601}, "at most 3600"),
        ({"last_seconds": 30, "seconds_after": -1}, "seconds_after=5"),
        ({"seconds_after": 5}, "last_seconds=30"),
    ],
)
def test_what_cannot_be_held_is_said_with_what_to_write(folder, given, fix):
    with pytest.raises(ConfigError, match=fix):
        offcam.RecordVideo(Barcode(5), str(folder), **given)


def test_it_is_of_all_sub_environments_alone(folder):
    envs = gym.vector.SyncVectorEnv([lambda: Barcode(5)])
    with pytest.raises(ConfigError, match="per_env"):
        offcam.vector.RecordVideo(envs, str(folder), per_env=True, last_seconds=3)
    envs.close()


def test_it_is_in_the_spec(folder):
    env = offcam.RecordVideo(gym.make("CartPole-v1", render_mode="rgb_array"), str(folder), last_seconds=3)
    options = json.loads(env.spec.to_json())["additional_wrappers"][-1]["kwargs"]
    assert (options["last_seconds"], options["seconds_after"]) == (3.0, 0.0)
    env.close()
