"""What is recorded is what was played: ends without a reset, resets without an end, the first and last frame."""

from __future__ import annotations

import copy
import gc

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import SyncVectorEnv

import films
import offcam
from envs import Barcode, play
from offcam import RecordEpisodeStatistics, RecordVideo
from offcam.vector import RecordEpisodeStatistics as VectorStatistics
from offcam.vector import RecordVideo as VectorVideo
from triggers import always

pytestmark = pytest.mark.usefixtures("daemon")


def lengths(folder):
    return [episode.length for episode in films.episodes(folder)]


def numbers(folder):
    return {name.removesuffix(".mp4"): films.numbers(folder / name) for name in films.videos(folder)}


def test_a_step_after_the_end_begins_an_episode(folder):
    env = offcam.record(Barcode(3), folder, every=1)
    env.reset()
    infos = [env.step(0)[-1] for _ in range(5)]
    env.close()
    assert [info["episode"]["l"] for info in infos if "episode" in info] == [3, 1, 1]
    assert lengths(folder) == [3, 1, 1]
    assert numbers(folder) == {
        "rl-video-episode-0": [0, 1, 2, 3],
        "rl-video-episode-1": [4],
        "rl-video-episode-2": [5],
    }


def test_a_planner_looks_ahead_in_an_env_that_is_rendered(folder):
    """Which a planner could without a recording, as nobody would have rendered it."""
    env = offcam.record(gym.make("CartPole-v1", render_mode="rgb_array"), folder, every=1)
    env.reset(seed=1)
    for step in range(5):
        twin = copy.deepcopy(env)
        assert twin.step(step % 2)[0].tolist() == env.step(step % 2)[0].tolist()
        twin.step(0)
    env.close()
    assert [clip.frames for clip in films.clips(folder).values()] == [6]
    films.check(folder)


@pytest.mark.parametrize("vector", [False, True])
def test_a_shallow_copy_is_silent_until_its_own_reset(folder, vector):
    """It is around the same env, so that its steps are missing: who copies shallowly gives it another env, or none."""
    inner = SyncVectorEnv([lambda: Barcode(9)]) if vector else Barcode(9)
    (video, statistics) = (VectorVideo, VectorStatistics) if vector else (RecordVideo, RecordEpisodeStatistics)
    for wrap in (video, statistics):
        env = wrap(inner, folder=str(folder)) if wrap is statistics else wrap(inner, str(folder))
        env.reset()
        env.step([0])
        twin = copy.copy(env)
        assert type(twin) is wrap
        assert twin.env is inner
        for _ in range(4):
            twin.step([0])
        del twin
        gc.collect()
        for _ in range(4):
            env.step([0])
        other = copy.copy(env)
        env.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4") == [0, 1, 6, 7, 8, 9]
    assert lengths(folder) == [5]
    assert list(env.length_queue) == [5]
    play(other)
    other.close()
    assert lengths(folder) == [5, 9]
    films.check(folder)


def test_the_step_in_which_autoreset_resets_is_none(folder):
    wrappers = pytest.importorskip("gymnasium.wrappers", reason="without moviepy some versions cannot import it")
    env = offcam.record(wrappers.Autoreset(Barcode(3)), folder, every=1)
    env.reset()
    for _ in range(8):
        env.step(0)
    assert env.episode_returns == 0
    env.close()
    assert lengths(folder) == [3, 3]
    assert numbers(folder) == {"rl-video-episode-0": [0, 1, 2, 3], "rl-video-episode-1": [0, 1, 2, 3]}


def test_wrapped_after_its_reset(folder):
    inner = Barcode(3)
    inner.reset()
    env = offcam.record(inner, folder, every=1)
    *_, info = [env.step(0) for _ in range(3)][-1]
    env.close()
    assert info["episode"]["l"] == 3
    assert 0 <= info["episode"]["t"] < 10
    assert lengths(folder) == [3]
    assert numbers(folder) == {"rl-video-episode-0": [1, 2, 3]}


def test_vector_statistics_around_an_env_that_was_reset_before(tmp_path):
    inner = SyncVectorEnv([lambda: Barcode(2)])
    inner.reset()
    env = VectorStatistics(inner)
    env.step([0])
    *_, info = env.step([0])
    env.close()
    assert 0 <= info["episode"]["t"][0] < 10
    assert lengths(next((tmp_path / "offcam-runs").iterdir())) == [2]


def test_a_time_limit_outside_is_said_and_its_episodes_are_unfinished(tmp_path):
    wrappers = pytest.importorskip("gymnasium.wrappers", reason="without moviepy some versions cannot import it")
    recorder = RecordEpisodeStatistics(Barcode(20))
    env = wrappers.TimeLimit(recorder, 4)
    with pytest.warns(UserWarning, match="a TimeLimit of 4 steps is outside .* Put the TimeLimit inside") as said:
        play(env, 3)
    env.close()
    assert len(said) == 1
    assert recorder.episode_count == 0
    assert [(e.length, e.return_, e.terminated, e.truncated) for e in films.episodes(recorder.run_folder)] == [
        (4, 4.0, False, False)
    ] * 3


@pytest.mark.parametrize("video_length", [0, 1, 5])
def test_a_reset_without_a_step_makes_no_video(folder, video_length):
    env = RecordVideo(Barcode(3), str(folder), always, video_length=video_length)
    play(env)
    env.reset()
    env.reset()
    env.close()
    assert films.videos(folder) == ["rl-video-episode-0.mp4"]


def test_the_frame_of_the_reset_is_kept_though_the_env_draws_over_it(folder):
    class Reuses(Barcode):
        buffer = None

        def render(self):
            frame = super().render()
            if self.buffer is None:
                self.buffer = frame
            self.buffer[:] = frame
            return self.buffer

    env = RecordVideo(Reuses(3), str(folder), always)
    play(env)
    env.close()
    assert numbers(folder) == {"rl-video-episode-0": [0, 1, 2, 3]}


def test_a_video_is_final_before_the_next_reset(folder):
    env = RecordVideo(Barcode(3), str(folder), always)
    play(env)
    assert env.flush()
    assert numbers(folder) == {"rl-video-episode-0": [0, 1, 2, 3]}
    env.close()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env, folder: offcam.record(env, folder, every=10, on_video=print),
        RecordVideo,
        lambda env, _: RecordEpisodeStatistics(env),
    ],
)
@pytest.mark.filterwarnings("ignore:.*Overwriting existing videos")
def test_a_spec_goes_through_json(folder, wrap):
    env = wrap(gym.make("CartPole-v1", render_mode="rgb_array"), folder)
    spec = EnvSpec.from_json(env.spec.to_json())
    assert spec == env.spec
    again = gym.make(spec)
    assert str(again) == str(env)
    for each in (env, again):
        if each.has_wrapper_attr("episode_trigger"):
            trigger = each.get_wrapper_attr("episode_trigger")
            assert trigger(10) == (not isinstance(each, RecordVideo))
            assert trigger(8) == isinstance(each, RecordVideo)
        each.close()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env, folder: offcam.record(env, folder, every=10, on_video=print),
        offcam.vector.RecordVideo,
        lambda env, _: VectorStatistics(env),
    ],
)
@pytest.mark.parametrize("vectorised", ["sync", "vector_entry_point"])
def test_a_vector_envs_spec_goes_through_json(folder, wrap, vectorised):
    plain = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode=vectorised, render_mode="rgb_array")
    env = wrap(plain, folder)
    again = gym.make_vec(EnvSpec.from_json(env.spec.to_json()))
    assert str(again) == str(plain)
    assert again.num_envs == 2
    again.close()
    env.close()


def test_recording_is_ended_by_setting_it(folder):
    env = RecordVideo(Barcode(9), str(folder), always)
    assert env.last_video is None
    env.reset()
    assert env._video_name == "rl-video-episode-0"
    env.step(0)
    env.recording, env.recorded_frames = False, []
    env.step(0)
    assert not env.recording
    assert env.flush()
    assert env.last_video == str(folder / "rl-video-episode-0.mp4")
    env.close()
    assert numbers(folder) == {"rl-video-episode-0": [0, 1]}
