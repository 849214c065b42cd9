"""Videos of some sub-environments of a vector env: as tiles, or each with files of its own."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper

import films
import offcam
from envs import Barcode, Look, decode
from offcam.vector import RecordVideo
from offcam_runs.clip_episodes import ClipEpisodes, span_of
from triggers import always, every_second

pytestmark = pytest.mark.usefixtures("daemon")

HEIGHT, WIDTH = 40, 60
MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]


def vectorised(lengths, mode=AutoresetMode.NEXT_STEP, kind=SyncVectorEnv):
    """Sub-environments whose frames show their step, plus 100 for the second one, and so on."""
    makers = [lambda n=n, i=i: Barcode(n, Look(HEIGHT, WIDTH), offset=100 * i) for i, n in enumerate(lengths)]
    return kind(makers, autoreset_mode=mode)


def play(envs, count):
    for _ in range(count):
        envs.step(np.zeros(envs.num_envs, int))


def shown(path, count):
    """For each picture, the numbers that its tiles show, one below the other."""
    tops = [HEIGHT * place for place in range(count)]
    return [[decode(shot.rgb[top : top + HEIGHT], HEIGHT, WIDTH) for top in tops] for shot in films.shots(path)]


# --- tiles ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_the_chosen_ones_are_tiles_in_their_order_and_the_first_of_them_is_counted(folder, kind):
    envs = RecordVideo(
        vectorised([9, 9, 2, 9], kind=kind), str(folder), (1, 9), episode_trigger=always, record_envs=[2, 0]
    )
    envs.reset()
    play(envs, 5)
    envs.close()
    assert shown(folder / "rl-video-episode-0.mp4", 2) == [[200, 0], [201, 1], [202, 2]]
    assert shown(folder / "rl-video-episode-1.mp4", 2) == [[200, 3], [201, 4], [202, 5]]
    films.check(folder)
    assert [clip.envs for clip in films.clips(folder).values()] == [(2, 0), (2, 0)]


def test_a_number_is_that_of_the_first(folder):
    envs = RecordVideo(vectorised([5] * 4), str(folder), (1, 9), record_envs=2)
    envs.reset()
    play(envs, 1)
    envs.close()
    assert shown(folder / "rl-video-episode-0.mp4", 2) == [[0, 100], [1, 101]]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("per_env", [False, True])
def test_only_what_a_video_shows_is_rendered_and_only_while_it_is_open(folder, mode, per_env):
    made = vectorised([3] * 5, mode)
    sub_envs = list(made.envs)
    envs = RecordVideo(made, str(folder), episode_trigger=lambda n: n == 1, record_envs=[1, 3], per_env=per_env)
    envs.reset()
    play(envs, 12)
    assert [env.renders for env in sub_envs] == [0, 4, 0, 4, 0]
    envs.close()
    assert len(films.videos(folder)) == (2 if per_env else 1)


class Painted(VectorWrapper):
    """Renders something else than its sub-environments do."""

    def render(self):
        return tuple(255 - frame for frame in self.env.render())


def test_what_a_wrapper_renders_is_what_is_shown(folder):
    envs = RecordVideo(Painted(vectorised([5] * 3)), str(folder), record_envs=[1])
    envs.reset()
    play(envs, 1)
    envs.close()
    (first, _) = films.shots(folder / "rl-video-episode-0.mp4")
    assert decode(255 - first.rgb, HEIGHT, WIDTH) == 100


# --- each with files of its own -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.filterwarnings("ignore:.*Recorded episodes will not contain the last frame")
def test_each_has_videos_of_its_own_episodes(folder, mode, kind):
    envs = offcam.record(vectorised([7, 3, 2, 9], mode, kind), folder, every=1, record_envs=[1, 2], per_env=True)
    envs.reset()
    play(envs, 7)
    envs.close()
    films.check(folder)
    found = {name: films.numbers(folder / name, HEIGHT, WIDTH) for name in films.videos(folder)}
    same, last = mode is AutoresetMode.SAME_STEP, mode is AutoresetMode.NEXT_STEP or kind is SyncVectorEnv
    one, two = [100, 101, 102, *[103] * last], [200, 201, *[202] * last]
    assert found == {
        "rl-video-env-1-episode-0.mp4": one,
        "rl-video-env-1-episode-1.mp4": one,
        **({"rl-video-env-1-episode-2.mp4": [100, 101]} if same else {}),
        "rl-video-env-2-episode-0.mp4": two,
        "rl-video-env-2-episode-1.mp4": two,
        "rl-video-env-2-episode-2.mp4": two if same else [200, 201],
        **({"rl-video-env-2-episode-3.mp4": [200, 201]} if same else {}),
    }


def test_the_index_knows_which_episodes_they_show(folder):
    envs = offcam.record(vectorised([4, 3, 2]), folder, every=2, record_envs=[1, 2], per_env=True)
    envs.reset()
    play(envs, 11)
    envs.close()
    run = offcam.load(folder)
    spans = [span_of(clip, run.streams) for clip in run.clips]
    told = ClipEpisodes(run.episodes, spans)
    for clip, span in zip(run.clips, spans, strict=True):
        (place,) = told.episodes_of(span)
        assert (run.episodes.env_index[place], run.episodes.episode[place]) == (clip.envs[0], clip.episode)
        assert told.shows(place) == span
        assert clip.return_ == run.episodes.length[place] == clip.frames - 1
    for place in np.flatnonzero((run.episodes.env_index == 0) | (run.episodes.episode % 2 == 1)):
        assert told.shows(int(place)) is None


def test_a_step_trigger_is_asked_once_and_begins_all(folder):
    asked = []

    def third(step):
        asked.append(step)
        return step == 2

    envs = RecordVideo(vectorised([9, 9]), str(folder), step_trigger=third, video_length=3, per_env=True)
    envs.reset()
    play(envs, 8)
    envs.close()
    assert asked == list(range(8))
    assert films.numbers(folder / "rl-video-env-0-step-2.mp4", HEIGHT, WIDTH) == [3, 4, 5]
    assert films.numbers(folder / "rl-video-env-1-step-2.mp4", HEIGHT, WIDTH) == [103, 104, 105]
    assert len(films.videos(folder)) == 2


def test_a_reset_of_some_ends_and_begins_theirs_alone(folder):
    envs = RecordVideo(vectorised([9, 2], AutoresetMode.DISABLED), str(folder), episode_trigger=always, per_env=True)
    envs.reset()
    play(envs, 2)
    envs.reset(options={"reset_mask": np.array([False, True])})
    play(envs, 1)
    envs.close()
    found = {name: films.numbers(folder / name, HEIGHT, WIDTH) for name in films.videos(folder)}
    assert found == {
        "rl-video-env-0-episode-0.mp4": [0, 1, 2, 3],
        "rl-video-env-1-episode-0.mp4": [100, 101, 102],
        "rl-video-env-1-episode-1.mp4": [100, 101],
    }


def test_all_are_ended_and_begun_by_hand(folder):
    envs = RecordVideo(vectorised([9] * 3), str(folder), episode_trigger=every_second, record_envs=[0, 2], per_env=True)
    envs.reset()
    play(envs, 1)
    assert envs.recording
    envs.recording = False
    play(envs, 1)
    envs.start_recording("mine")
    play(envs, 1)
    envs.stop_recording()
    assert not envs.recording
    envs.close()
    found = {name: films.numbers(folder / name, HEIGHT, WIDTH) for name in films.videos(folder)}
    assert found == {
        "mine-env-0.mp4": [3],
        "mine-env-2.mp4": [203],
        "rl-video-env-0-episode-0.mp4": [0, 1],
        "rl-video-env-2-episode-0.mp4": [200, 201],
    }


def test_a_copy_that_looks_ahead_records_nothing_until_it_is_reset(folder):
    envs = RecordVideo(vectorised([9, 9]), str(folder), episode_trigger=always, per_env=True)
    envs.reset()
    play(envs, 1)
    twin = copy.deepcopy(envs)
    play(twin, 5)
    assert not twin.recording
    play(envs, 1)
    envs.close()
    found = {name: films.numbers(folder / name, HEIGHT, WIDTH) for name in films.videos(folder)}
    assert found == {"rl-video-env-0-episode-0.mp4": [0, 1, 2], "rl-video-env-1-episode-0.mp4": [100, 101, 102]}


class OnePicture(VectorEnv):
    """Two sub-environments that are rendered in one picture, as simulators do."""

    num_envs = 2
    render_mode = "rgb_array"
    spec = None
    single_observation_space = observation_space = Barcode.observation_space

    def __init__(self):
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def reset(self, *, seed=None, options=None):
        return np.zeros((2, 1)), {}

    def step(self, actions):
        return np.zeros((2, 1)), np.ones(2), np.zeros(2, bool), np.zeros(2, bool), {}

    def render(self):
        return np.zeros((HEIGHT, WIDTH, 3), np.uint8)


@pytest.mark.filterwarnings("ignore:.*Recorded episodes will not contain the last frame")
def test_one_picture_of_all_is_shown_and_cannot_be_taken_apart(folder):
    envs = RecordVideo(OnePicture(), str(folder / "tiles"), record_envs=[1])
    envs.reset()
    play(envs, 2)
    envs.close()
    assert films.videos(folder / "tiles") == ["rl-video-episode-0.mp4"]
    envs = RecordVideo(OnePicture(), str(folder / "each"), per_env=True)
    with pytest.warns(UserWarning, match="one picture of all its sub-environments.*Leave `per_env` out"):
        envs.reset()
    play(envs, 2)
    envs.close()
    assert films.videos(folder / "each") == []


# --- arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [0, 4, -1, True, [], [3], [0, 0], [-1], 1.5, "0", [1.5], [[0]]])
def test_what_is_no_choice_is_said_at_once(folder, given):
    with pytest.raises(offcam.ConfigError, match="record_envs must be different indices of sub-environments, 0 to 2"):
        RecordVideo(vectorised([3] * 3), str(folder), record_envs=given)
    assert not folder.exists()


def test_what_does_not_go_together(folder):
    with pytest.raises(offcam.ConfigError, match="without record_first_only"):
        RecordVideo(vectorised([3]), str(folder), record_first_only=True, record_envs=1)
    with pytest.raises(offcam.ConfigError, match="at most 256 at a time, and these are 300"):
        RecordVideo(vectorised([3] * 300), str(folder), per_env=True)
    with pytest.raises(offcam.ConfigError, match="name_prefix"):
        RecordVideo(vectorised([3]), str(folder), per_env=True, name_prefix="x" * 170)
    assert not folder.exists()
