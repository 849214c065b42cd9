"""The two `RecordEpisodeStatistics`: sums, queues and info, and the same numbers in the run's index."""

from __future__ import annotations

import inspect
import math

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
            "resume": (False, inspect.Parameter.KEYWORD_ONLY),
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
