"""The two `RecordEpisodeStatistics`: sums, queues and info, and the same numbers in the run's index."""

from __future__ import annotations

import inspect
import math
import os
import re
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import films
import offcam
from envs import Barcode, play
from offcam import RecordEpisodeStatistics
from offcam.vector import RecordEpisodeStatistics as VectorStatistics

pytestmark = pytest.mark.usefixtures("daemon")


class Rewarded(Barcode):
    """Gives the rewards it is told to."""

    def __init__(self, rewards, **options):
        super().__init__(len(rewards), **options)
        self._rewards = rewards

    def step(self, action):
        obs, _, terminated, truncated, info = super().step(action)
        return obs, self._rewards[self.number - 1], terminated, truncated, info


def the_run(tmp_path):
    """The one run folder of a wrapper that was given none."""
    (folder,) = (tmp_path / "offcam-runs").iterdir()
    return folder


# --- single -----------------------------------------------------------------------------------------------


def test_info_and_queues(tmp_path):
    env = RecordEpisodeStatistics(Rewarded([1.5, -2.0, 4.0]))
    infos = play(env, 2)
    for info in infos:
        assert info["episode"]["r"] == 3.5
        assert info["episode"]["l"] == 3
        assert 0 <= info["episode"]["t"] < 10
    assert list(env.return_queue) == [3.5, 3.5]
    assert list(env.length_queue) == [3, 3]
    assert list(env.time_queue) == [info["episode"]["t"] for info in infos]
    assert env.episode_count == 2
    env.close()
    assert [(e.return_, e.length, e.duration) for e in films.episodes(the_run(tmp_path))] == [
        (3.5, 3, info["episode"]["t"]) for info in infos
    ]


def test_info_has_the_statistics_only_at_the_end():
    env = RecordEpisodeStatistics(Barcode(3))
    _, info = env.reset()
    assert "episode" not in info
    for step in range(3):
        *_, info = env.step(0)
        assert ("episode" in info) == (step == 2)
        assert (env.episode_lengths, env.episode_returns) == (step + 1, step + 1.0)
    env.close()


@pytest.mark.parametrize("buffer_length", [1, 3])
def test_the_queues_have_a_length_the_index_has_none(tmp_path, buffer_length):
    env = RecordEpisodeStatistics(Barcode(2), buffer_length)
    play(env, 5)
    env.close()
    assert len(env.return_queue) == len(env.length_queue) == len(env.time_queue) == buffer_length
    assert env.episode_count == len(films.episodes(the_run(tmp_path))) == 5


def test_another_key():
    env = RecordEpisodeStatistics(Barcode(2), stats_key="mine")
    (info,) = play(env)
    assert "mine" in info
    assert "episode" not in info
    env.close()


@pytest.mark.parametrize("theirs", [RecordEpisodeStatistics, gym.wrappers.RecordEpisodeStatistics])
def test_what_somebody_beneath_has_put_into_info_is_left(tmp_path, theirs):
    beneath = theirs(Rewarded([1.5, -2.0, 4.0]))
    env = offcam.record(beneath, str(tmp_path / "run"))
    infos = play(env, 2)
    env.close()
    assert [info["episode"]["t"] for info in infos] == list(beneath.time_queue)  # not ours
    assert list(env.return_queue) == list(env.env.env.return_queue) == [3.5, 3.5]
    assert [(e.return_, e.length) for e in films.episodes(tmp_path / "run")] == [(3.5, 3)] * (
        4 if theirs is RecordEpisodeStatistics else 2  # two of ours are two reports in one run
    )


def test_what_the_index_knows_of_an_episode(tmp_path):
    env = RecordEpisodeStatistics(Barcode(2))
    play(env, 2, seed=41)
    env.reset()  # an episode that is cut off is none
    env.step(0)
    play(env)
    env.close()
    found = [(e.episode, e.seed, e.terminated, e.truncated, e.env_index) for e in films.episodes(the_run(tmp_path))]
    assert found == [(0, 41, True, False, 0), (1, 42, True, False, 0), (3, None, True, False, 0)]


def test_truncation(tmp_path):
    env = RecordEpisodeStatistics(Barcode(2, truncates=True))
    play(env)
    env.close()
    (episode,) = films.episodes(the_run(tmp_path))
    assert (episode.terminated, episode.truncated) == (False, True)


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [([math.nan, 1], math.nan), ([math.inf, 1], math.inf), ([-math.inf], -math.inf), ([np.float32(0.5)] * 2, 1.0),
     ([np.array(2.0)], 2.0), ([np.array([2.0])], 2.0), ([10**400], math.nan), ([True, True], 2.0),
     ([np.array([1.0, 2.0])], math.nan)],
    ids=repr,
)  # fmt: skip
def test_odd_rewards_never_raise(tmp_path, rewards, expected):
    try:
        (theirs,) = play(gym.wrappers.RecordEpisodeStatistics(Rewarded(rewards)))
    except OverflowError:  # 10**400 is too much for a float; it raises in theirs alone
        theirs = {"episode": {"r": math.nan}}
    env = RecordEpisodeStatistics(Rewarded(rewards))
    (info,) = play(env)
    env.close()
    np.testing.assert_equal(info["episode"]["r"], theirs["episode"]["r"])
    assert [episode.return_ for episode in films.episodes(the_run(tmp_path))] == pytest.approx([expected], nan_ok=True)
    env = offcam.record(Rewarded(rewards), str(tmp_path / "with-video"))
    play(env)
    env.close()
    assert [clip.return_ for clip in films.clips(tmp_path / "with-video").values()] == pytest.approx(
        [expected], nan_ok=True
    )


@pytest.mark.parametrize(
    ("seed", "kept"), [(2**62, 2**62), (2**70, str(2**70)), (np.int64(5), 5), (0, 0), (None, None)]
)
def test_seeds_of_any_size(tmp_path, seed, kept):
    class Careless(Barcode):
        def reset(self, *, seed=None, options=None):
            return super().reset()

    env = RecordEpisodeStatistics(Careless(2))
    env.reset(seed=seed)
    env.step(0)
    env.step(0)
    env.close()
    (episode,) = films.episodes(the_run(tmp_path))
    assert episode.seed == kept


def test_stepping_before_a_reset_is_the_envs_to_judge():
    env = RecordEpisodeStatistics(Barcode(2))
    env.step(0)
    *_, info = env.step(0)
    assert info["episode"]["l"] == 2
    env.close()


def test_the_arguments_are_gymnasiums_and_the_spec_rebuilds():
    for ours, theirs in (
        (RecordEpisodeStatistics, gym.wrappers.RecordEpisodeStatistics),
        (VectorStatistics, gym.wrappers.vector.RecordEpisodeStatistics),
    ):
        assert {
            name: (parameter.default, parameter.kind) for name, parameter in inspect.signature(ours).parameters.items()
        } == {
            name: (parameter.default, parameter.kind)
            for name, parameter in inspect.signature(theirs).parameters.items()
        } | {
            "folder": (None, inspect.Parameter.KEYWORD_ONLY),
            "if_exists": ("new", inspect.Parameter.KEYWORD_ONLY),
            "strict": (False, inspect.Parameter.KEYWORD_ONLY),
            "info_keywords": ((), inspect.Parameter.KEYWORD_ONLY),
        }
        for method in ("reset", "step"):
            assert list(inspect.signature(getattr(ours, method)).parameters) == list(
                inspect.signature(getattr(theirs, method)).parameters
            )
    env = RecordEpisodeStatistics(gym.make("CartPole-v1"), buffer_length=7, stats_key="k", info_keywords=["d"])
    assert env.spec is not None
    again = gym.make(env.spec)
    assert isinstance(again, RecordEpisodeStatistics)
    assert again._saved_kwargs == {  # where RecordConstructorArgs keeps them
        "buffer_length": 7,
        "stats_key": "k",
        "folder": None,
        "if_exists": "new",
        "strict": False,
        "info_keywords": ["d"],
    }
    env.close()
    again.close()


def test_without_episodes_no_folder_is_made(tmp_path):
    RecordEpisodeStatistics(Barcode(2)).close()
    assert not (tmp_path / "offcam-runs").exists()


# --- vector -----------------------------------------------------------------------------------------------


def vectorised(lengths, mode=AutoresetMode.NEXT_STEP, kind=SyncVectorEnv):
    return kind([lambda length=length: Barcode(length) for length in lengths], autoreset_mode=mode)


def lengths_by_env(folder):
    found: dict[int, list[int]] = {}
    for episode in films.episodes(folder):
        found.setdefault(episode.env_index, []).append(episode.length)
        assert episode.return_ == episode.length
        assert episode.episode == len(found[episode.env_index]) - 1
    return found


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_vector_autoreset(tmp_path, mode, kind):
    envs = VectorStatistics(vectorised([2, 3], mode, kind))
    envs.reset(seed=9)
    for _ in range(12):
        *_, infos = envs.step(np.zeros(2, int))
        if "episode" in infos:
            over = infos["_episode"]
            assert infos["episode"]["l"].tolist() == np.where(over, [2, 3], 0).tolist()
            assert infos["episode"]["r"].tolist() == np.where(over, [2.0, 3.0], 0.0).tolist()
            assert (infos["episode"]["t"][~over] == 0).all()
    envs.close()
    per_episode = 1 if mode is AutoresetMode.NEXT_STEP else 0
    counts = [(12 + per_episode) // (length + per_episode) for length in (2, 3)]
    assert lengths_by_env(the_run(tmp_path)) == {0: [2] * counts[0], 1: [3] * counts[1]}
    assert envs.episode_count == sum(counts) == len(envs.return_queue)
    seeds = [(e.env_index, e.seed) for e in films.episodes(the_run(tmp_path)) if e.seed is not None]
    assert sorted(seeds) == [(0, 9), (1, 10)]


def test_vector_reset_mask_keeps_the_others_sums(tmp_path):
    """Gymnasium restarts all sums: the env beneath has taken the mask out of ``options`` by the time it looks."""
    envs = VectorStatistics(vectorised([2, 5], AutoresetMode.DISABLED))
    envs.reset()
    seen = []
    for _ in range(10):
        _, _, terminations, truncations, infos = envs.step(np.zeros(2, int))
        over = terminations | truncations
        if over.any():
            seen.append([int(length) for length in infos["episode"]["l"]])
            kept = infos["_episode"]
            envs.reset(options={"reset_mask": over})
            assert (kept == over).all(), "what a caller was given does not change under its hands"
    assert seen == [[2, 0], [2, 0], [0, 5], [2, 0], [2, 0], [2, 5]]
    envs.close()
    assert lengths_by_env(the_run(tmp_path)) == {0: [2] * 5, 1: [5, 5]}


@pytest.mark.parametrize(
    ("mask", "error"),
    [([True, False], (TypeError, AssertionError)), (np.array([True]), (ValueError, AssertionError)),
     (np.array([1, 0]), (TypeError, AssertionError)), (np.array([False, False]), (ValueError, AssertionError))],
    ids=repr,
)  # fmt: skip
def test_vector_masks_that_are_none(mask, error):
    envs = VectorStatistics(vectorised([2, 5], AutoresetMode.DISABLED))
    envs.reset()
    with pytest.raises(error):
        envs.reset(options={"reset_mask": mask})
    envs.close()


def test_vector_reset_takes_a_seed_by_position_as_gymnasiums():
    envs = VectorStatistics(vectorised([2, 5]))
    envs.reset(123)
    envs.close()


def test_vector_infos_stay_what_they_were_at_a_full_reset():
    envs = VectorStatistics(vectorised([2, 2]))
    envs.reset()
    for _ in range(2):
        *_, infos = envs.step(np.zeros(2, int))
    envs.reset()
    assert infos["_episode"].tolist() == [True, True]
    envs.close()


def test_vector_key_that_is_taken():
    class Taken(SyncVectorEnv):
        def step(self, actions):
            *rest, infos = super().step(actions)
            return *rest, {**infos, "episode": 1}

    envs = VectorStatistics(Taken([lambda: Barcode(1)]))
    envs.reset()
    *_, infos = envs.step(np.zeros(1, int))
    assert infos["episode"] == 1
    assert list(envs.return_queue) == [1.0]
    envs.close()


def test_vector_modes_that_are_none():
    envs = vectorised([2])
    envs.metadata = {**envs.metadata, "autoreset_mode": "NextStep"}
    with pytest.raises(TypeError, match="to be an AutoresetMode"):
        VectorStatistics(envs)
    envs.metadata = {}
    with pytest.warns(UserWarning, match="missing `autoreset_mode` tag"):
        VectorStatistics(envs)
    envs.close()


# --- joining ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("above", [True, False])
def test_statistics_join_the_video_above_or_beneath(tmp_path, above):
    folder = str(tmp_path / "run")
    env = Barcode(3)
    if above:
        env = RecordEpisodeStatistics(offcam.RecordVideo(env, folder))
    else:
        env = offcam.RecordVideo(RecordEpisodeStatistics(env), folder)
    play(env, 2)
    env.close()
    assert [episode.length for episode in films.episodes(tmp_path / "run")] == [3, 3]
    assert len({episode.stream for episode in films.episodes(tmp_path / "run")}) == 1
    assert not (tmp_path / "offcam-runs").exists()
    clip = films.clips(tmp_path / "run")["rl-video-episode-0.mp4"]
    assert (clip.return_, clip.length, clip.episode) == (3.0, 3, 0)


@pytest.mark.parametrize("above", [True, False])
def test_vector_statistics_join_the_video_above_or_beneath(tmp_path, above):
    folder = str(tmp_path / "run")
    envs = vectorised([3, 3])
    if above:
        envs = VectorStatistics(offcam.vector.RecordVideo(envs, folder))
    else:
        envs = offcam.vector.RecordVideo(VectorStatistics(envs), folder)
    envs.reset()
    for _ in range(3):
        envs.step(np.zeros(2, int))
    envs.close()
    assert lengths_by_env(tmp_path / "run") == {0: [3], 1: [3]}
    assert not (tmp_path / "offcam-runs").exists()


def test_other_wrappers_in_between_do_not_matter(tmp_path):
    env = gym.wrappers.TimeLimit(offcam.RecordVideo(Barcode(9), str(tmp_path / "run")), 4)
    env = RecordEpisodeStatistics(gym.wrappers.TransformReward(env, lambda reward: 2 * reward))
    play(env)
    env.close()
    (episode,) = films.episodes(tmp_path / "run")
    assert (episode.return_, episode.length, episode.truncated) == (8.0, 4, True)


def test_statistics_alone_get_a_folder_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "elsewhere"))
    env = RecordEpisodeStatistics(gym.make("CartPole-v1"))
    play(env)
    env.close()
    (folder,) = (tmp_path / "elsewhere").iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}Z-CartPole-v1-[0-9a-f]{6}", folder.name)
    assert len(films.episodes(folder)) == 1


def one_with_videos(tmp_path, count=3):
    """Sub-envs as training scripts make them: all have statistics, the first one has videos, too."""

    def make(index):
        env = Barcode(2 + index)
        return RecordEpisodeStatistics(offcam.RecordVideo(env, str(tmp_path / "videos")) if index == 0 else env)

    return SyncVectorEnv([lambda index=index: make(index) for index in range(count)])


def test_statistics_alone_join_the_one_run_that_has_videos(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "elsewhere"))
    envs = one_with_videos(tmp_path)
    envs.reset()
    for _ in range(12):
        envs.step(np.zeros(3, int))
    envs.close()
    assert not (tmp_path / "elsewhere").exists()
    found = films.episodes(tmp_path / "videos")
    assert sorted({episode.length for episode in found}) == [2, 3, 4]
    assert len({episode.stream for episode in found}) == 3


def test_statistics_alone_join_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "all"))
    envs = [RecordEpisodeStatistics(Barcode(2)) for _ in range(3)]
    for env in envs:
        play(env)
    evaluation = offcam.RecordVideo(Barcode(2), str(tmp_path / "evaluation"))
    late = RecordEpisodeStatistics(Barcode(2))
    play(late)
    for env in (*envs, evaluation, late):
        env.close()
    (run,) = (tmp_path / "all").iterdir()
    assert len(films.episodes(run)) == 4


@pytest.mark.parametrize("vector", [False, True])
def test_statistics_have_the_folder_that_they_are_given(tmp_path, monkeypatch, vector):
    monkeypatch.setenv("OFFCAM_RUN", str(tmp_path / "elsewhere"))
    videos = offcam.record(Barcode(2), tmp_path / "videos")
    if vector:
        env = offcam.vector.RecordEpisodeStatistics(SyncVectorEnv([lambda: Barcode(2)]), folder=tmp_path / "mine")
        env.reset()
        for _ in range(2):
            env.step(np.zeros(1, int))
    else:
        env = RecordEpisodeStatistics(Barcode(2), folder=tmp_path / "mine")
        play(env)
    assert env.run_folder == str(tmp_path / "mine")
    beside = RecordEpisodeStatistics(offcam.RecordVideo(Barcode(2), str(tmp_path / "seen")), folder=tmp_path / "mine")
    play(beside)
    for each in (env, beside, videos):
        each.close()
    assert len(films.episodes(tmp_path / "mine")) == 2
    assert len(films.episodes(tmp_path / "seen")) == 0
    with pytest.raises(TypeError):
        RecordEpisodeStatistics(Barcode(2), folder=1.5)


def test_an_env_for_evaluation_alone_takes_no_statistics_with_it(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "all"))
    evaluation = offcam.RecordVideo(Barcode(2), str(tmp_path / "evaluation"))  # made first, and Monitor has its returns
    env = RecordEpisodeStatistics(Barcode(2))
    play(env)
    for each in (evaluation, env):
        each.close()
    (run,) = (tmp_path / "all").iterdir()
    assert len(films.episodes(run)) == 1


def test_of_two_runs_with_videos_none_is_joined(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "all"))
    videos = [offcam.RecordVideo(Barcode(2), str(tmp_path / name)) for name in ("training", "evaluation")]
    env = RecordEpisodeStatistics(Barcode(2))
    play(env)
    for each in (*videos, env):
        each.close()
    (run,) = (tmp_path / "all").iterdir()
    assert len(films.episodes(run)) == 1


def test_a_run_that_was_left_is_not_joined(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "all"))
    for _ in range(2):
        env = RecordEpisodeStatistics(Barcode(2))
        play(env)
        env.close()
    assert [len(films.episodes(run)) for run in (tmp_path / "all").iterdir()] == [1, 1]


def test_the_variable_names_the_run_of_all_that_have_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "all"))
    monkeypatch.setenv("OFFCAM_RUN", "ours")
    videos = offcam.RecordVideo(Barcode(2), str(tmp_path / "videos"))
    env = RecordEpisodeStatistics(Barcode(2))
    play(env)
    both = offcam.record(Barcode(2))
    play(both)
    for each in (videos, env, both):
        each.close()
    assert [run.name for run in (tmp_path / "all").iterdir()] == ["ours"]
    assert len(films.episodes(tmp_path / "all" / "ours")) == 2


def test_processes_that_have_the_variable_record_into_one_run(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_RUN", str(tmp_path / "ours"))
    envs = AsyncVectorEnv([lambda: RecordEpisodeStatistics(Barcode(2))] * 2, context="spawn")
    envs.reset()
    for _ in range(5):
        envs.step(np.zeros(2, int))
    envs.close()
    assert len({episode.stream for episode in films.episodes(tmp_path / "ours")}) == 2


SCRIPT = """
import sys
import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv
import offcam

def make():
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    return offcam.RecordEpisodeStatistics(offcam.RecordVideo(env, sys.argv[1]))

if __name__ == "__main__":
    env = make()
    for context in ("spawn", "fork"):
        envs = AsyncVectorEnv([make, make], context=context)
        envs.reset()
        envs.step(envs.action_space.sample())
        envs.close()
    env.reset()
    env.close()
"""


def test_a_script_run_twice_is_two_sessions_each_with_its_children(tmp_path):
    script = tmp_path / "training.py"
    script.write_text(SCRIPT)
    environ = {name: value for name, value in os.environ.items() if name != "OFFCAM_SESSION"}
    for _ in range(2):
        subprocess.run([sys.executable, script, tmp_path / "run"], env=environ, check=True, capture_output=True)
    sessions = [stream.session for stream in offcam.load(tmp_path / "run", session="all").streams]
    assert sessions == [1] * 7 + [2] * 7  # a vector env makes one more env in the parent


# --- offcam.record ----------------------------------------------------------------------------------------


def test_record_a_single_env(tmp_path):
    env = offcam.record(Barcode(3), str(tmp_path / "run"), every=2, name_prefix="r", buffer_length=2)
    play(env, 4)
    assert list(env.length_queue) == [3, 3]
    env.close()
    assert films.videos(tmp_path / "run") == ["r-episode-0.mp4", "r-episode-2.mp4"]
    assert len(films.episodes(tmp_path / "run")) == 4
    films.check(tmp_path / "run")


def test_record_a_vector_env(tmp_path):
    envs = offcam.record(vectorised([3, 4]), str(tmp_path / "run"), every=1, video_aspect_ratio=(2, 1))
    assert isinstance(envs, gym.vector.VectorEnv)
    envs.reset()
    for _ in range(7):
        envs.step(np.zeros(2, int))
    assert envs.flush()
    assert "rl-video-episode-0.mp4" in films.videos(tmp_path / "run")  # the other goes on
    envs.close()
    assert films.videos(tmp_path / "run") == ["rl-video-episode-0.mp4", "rl-video-episode-1.mp4"]
    assert lengths_by_env(tmp_path / "run") == {0: [3, 3], 1: [4]}
    films.check(tmp_path / "run")


def test_record_has_the_queues_and_the_video_is_its_env(tmp_path):
    env = offcam.record(gym.make("CartPole-v1", render_mode="rgb_array"), str(tmp_path / "run"))
    assert not env.return_queue
    assert isinstance(env.env, offcam.RecordVideo)
    assert env.get_wrapper_attr("episode_id") == -1
    env.close()


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "2"])
def test_record_every_what(tmp_path, every):
    with pytest.raises(offcam.OffcamError, match="every must be a positive integer"):
        offcam.record(Barcode(), str(tmp_path / "run"), every=every)


def test_record_every_or_a_trigger(tmp_path):
    with pytest.raises(offcam.OffcamError, match="without episode_trigger"):
        offcam.record(Barcode(), str(tmp_path / "run"), every=2, episode_trigger=lambda _: True)


# --- OFFCAM=off -------------------------------------------------------------------------------------------


def test_off_passes_through_but_still_counts(tmp_path, monkeypatch, recwarn):
    monkeypatch.setenv("OFFCAM", "off")
    monkeypatch.setenv("OFFCAM_ADDR", f"ipc://{tmp_path}/nobody.sock")
    barcode = Barcode(3)
    env = offcam.record(barcode, str(tmp_path / "run"), every=1)
    infos = play(env, 2)
    assert [info["episode"]["l"] for info in infos] == [3, 3]
    assert list(env.return_queue) == [3.0, 3.0]
    assert env.flush()
    env.close()
    assert films.videos(tmp_path / "run") == []
    assert not recwarn.list


@pytest.mark.parametrize("value", ["of", "2", "required"])
def test_offcam_is_on_off_or_require(tmp_path, monkeypatch, value):
    monkeypatch.setenv("OFFCAM", value)
    with pytest.raises(offcam.OffcamError, match=f"OFFCAM must be 'on', 'off' or 'require', got '{value}'"):
        offcam.RecordVideo(Barcode(), str(tmp_path / "run"))
    with pytest.raises(offcam.OffcamError, match="OFFCAM must be"):
        RecordEpisodeStatistics(Barcode())
