"""Recording into a folder that was recorded into before: another session, the last one gone on with, or an error."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

import films
import offcam
from envs import Barcode, play
from offcam_runs.streams import number_of_envs

pytestmark = pytest.mark.usefixtures("daemon")


def training(folder, episodes, **options):
    env = offcam.record(Barcode(3), folder, every=2, overflow="block", **options)
    play(env, episodes)
    last = env.get_wrapper_attr("step_id")
    env.close()
    return last


@pytest.mark.parametrize("how", [{"resume": True}, {"if_exists": "resume"}])
def test_the_last_session_goes_on(folder, how):
    assert training(folder, 3, **how) == 8  # there is none yet
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert training(folder, 4, **how) == 20
    run = offcam.load(folder)
    assert run.sessions == (1,)
    assert run.episodes.episode.tolist() == list(range(7))
    assert films.videos(folder) == [f"rl-video-episode-{number}.mp4" for number in (0, 2, 4, 6)]
    assert [(clip.episode, clip.step) for clip in run.clips] == [(0, 0), (2, 5), (4, 11), (6, 17)]
    films.check(folder)


@pytest.mark.filterwarnings("ignore:.*videos of another recording")
def test_a_session_of_its_own_is_resumed_with_its_names(folder):
    training(folder, 1)
    training(folder, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is to be said of names that are its own
        training(folder, 2, resume=True)
    assert offcam.load(folder).sessions == (1, 2)
    assert offcam.load(folder).episodes.episode.tolist() == [0, 1, 2]
    names = [f"rl-video-episode-{name}.mp4" for name in ("0-s2", "0", "2-s2")]
    assert films.videos(folder) == names
    training(folder, 1)
    assert offcam.load(folder).sessions == (1, 2, 3)
    assert len(offcam.load(folder, session=2).episodes) == 3


def test_an_episode_that_was_cut_off_is_not_overwritten(folder):
    """As by an interrupt: what there is of it stays, and the next one has the next number."""
    env = offcam.record(Barcode(9), folder, every=1, overflow="block")
    env.reset()
    for _ in range(4):
        env.step(0)
    env.close()
    training(folder, 2, resume=True)
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(5))
    assert films.videos(folder) == ["rl-video-episode-0.mp4", "rl-video-episode-2.mp4"]
    assert offcam.load(folder).episodes.episode.tolist() == [1, 2]


def test_what_exists_is_an_error_if_it_is_to_be(folder):
    training(folder, 1, if_exists="error")
    for make in (offcam.record, offcam.RecordVideo):
        with pytest.raises(offcam.ConfigError, match="has a run already"):
            make(Barcode(3), folder, if_exists="error")
    with pytest.raises(offcam.ConfigError, match="has a run already"):
        offcam.RecordEpisodeStatistics(Barcode(3), folder=folder, if_exists="error")
    with pytest.raises(offcam.ConfigError, match="if_exists must be 'new'"):
        offcam.record(Barcode(3), folder, if_exists="append")
    assert len(offcam.load(folder, session="all").episodes) == 1


@pytest.mark.parametrize("vector", [False, True])
def test_statistics_alone_go_on(folder, vector):
    for _ in range(2):
        if vector:
            made = SyncVectorEnv([lambda length=length: Barcode(length) for length in (1, 3)])
            env = offcam.vector.RecordEpisodeStatistics(made, folder=folder, resume=True)
            env.reset()
            for _ in range(3):
                env.step(np.zeros(2, int))
        else:
            env = offcam.RecordEpisodeStatistics(Barcode(2), folder=folder, if_exists="resume")
            play(env, 2)
        env.close()
    run = offcam.load(folder)
    assert run.sessions == (1,)
    assert number_of_envs(run.streams) == (2 if vector else 1)
    found = sorted(zip(run.episodes.env_index.tolist(), run.episodes.episode.tolist(), strict=True))
    assert found == ([(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)] if vector else [(0, n) for n in range(4)])


@pytest.mark.parametrize("vector", [False, True])
def test_videos_alone_go_on(folder, vector):
    for _ in range(2):
        if vector:
            env = offcam.vector.RecordVideo(SyncVectorEnv([lambda: Barcode(3)]), folder, resume=True, overflow="block")
            env.reset()
            for _ in range(4):
                env.step(np.zeros(1, int))
        else:
            env = offcam.RecordVideo(Barcode(3), folder, resume=True, overflow="block")
            assert (env.spec is None) or "resume" not in env.spec.to_json()
            play(env)
        env.close()
    run = offcam.load(folder)
    assert (run.sessions, number_of_envs(run.streams)) == ((1,), 1)
    assert {clip.file for clip in run.clips} >= {"rl-video-episode-0.mp4", "rl-video-episode-1.mp4"}


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.filterwarnings("ignore:.*videos of another recording")
def test_a_notebooks_cell_that_is_run_again(folder, closes):
    """It makes a session of its own, unless it left its env open: then there are two at the same time."""
    cell = "env = offcam.record(Barcode(3), folder, every=1, overflow='block')\nplay(env, 2)\n" + "env.close()" * closes
    notebook = {"offcam": offcam, "Barcode": Barcode, "play": play, "folder": folder}
    for _ in range(2):
        exec(cell, notebook)  # noqa: S102 - as a notebook does
    notebook.pop("env").close()
    run = offcam.load(folder, session="all")
    assert run.sessions == ((1, 2) if closes else (1,))
    assert run.episodes.episode.tolist() == [0, 1, 0, 1]
    assert films.videos(folder) == [f"rl-video-episode-{name}.mp4" for name in ("0-s2", "0", "1-s2", "1")]
    films.check(folder)


def test_a_wrapper_that_is_used_again_after_its_close_goes_on(folder):
    env = offcam.record(Barcode(3), folder, every=1, overflow="block")
    for _ in range(2):
        play(env)
        env.close()
    assert films.videos(folder) == ["rl-video-episode-0.mp4", "rl-video-episode-1.mp4"]
    assert offcam.load(folder).sessions == (1,)
