"""Pictures in whatever form an env renders or sees them: they are recorded, else a warning says why not."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from PIL import Image

import films
import offcam
import offcam.vector
from envs import Barcode, Look, decode, encode, play
from odd_envs import OnDevice, Tensor, run
from triggers import always

pytestmark = pytest.mark.usefixtures("daemon")

LENGTH = 5


# --- what is rendered -------------------------------------------------------------------------------------


class Drawn(Barcode):
    """Renders its picture as something else."""

    def __init__(self, make, **options):
        super().__init__(LENGTH, **options)
        self._make = make

    def render(self):
        return self._make(super().render())


ONE = {
    "(1, H, W, C)": lambda frame: frame[None],
    "tuple of one": lambda frame: (frame,),
    "tensor": Tensor,
    "pillow": Image.fromarray,
    "palette": lambda frame: Image.fromarray(frame).convert("P"),
    "float 0..255": lambda frame: frame.astype(np.float32),
}


@pytest.mark.parametrize("make", ONE.values(), ids=ONE)
def test_one_frame_in_whatever_form(folder, make):
    env = offcam.RecordVideo(Drawn(make), str(folder), always)
    play(env)
    env.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(LENGTH + 1))
    films.check(folder)


MANY = {
    "tuple of cameras": lambda frame: (frame, frame[::-1]),
    "dict of cameras": lambda frame: {"front": frame, "back": frame[::-1]},
    "picture and depth": lambda frame: (frame, frame[:, :, 0].astype(np.float32) / 255),
    "batch": lambda frame: np.stack([frame, frame]),
}


@pytest.mark.parametrize("make", MANY.values(), ids=MANY)
def test_several_frames_are_tiles(folder, make):
    env = offcam.RecordVideo(Drawn(make), str(folder), always)
    play(env)
    env.close()
    shots = list(films.shots(folder / "rl-video-episode-0.mp4"))
    assert [decode(shot.rgb, 84, 84) for shot in shots] == list(range(LENGTH + 1))
    assert shots[0].rgb.shape == (84, 168, 3)
    films.check(folder)


def test_floats_up_to_255_stay_so_in_a_dark_frame(folder):
    env = offcam.RecordVideo(
        Drawn(lambda frame: frame / 255 if env.step_id == 2 else frame.astype(float)), str(folder), always
    )
    play(env)
    env.close()
    levels = [shot.rgb.max() for shot in films.shots(folder / "rl-video-episode-0.mp4")]
    assert levels[1] > 200
    assert levels[3] < 30  # 1 of 255, not white


@pytest.mark.parametrize("vector", [False, True])
def test_a_frame_on_a_device_is_not_waited_for(folder, vector):
    if vector:
        envs = SyncVectorEnv([lambda: Barcode(LENGTH)] * 3)
        envs.render = lambda: OnDevice(None)
        env = offcam.vector.RecordVideo(envs, str(folder), episode_trigger=lambda episode: episode == 0)
    else:
        env = offcam.RecordVideo(Drawn(OnDevice), str(folder), lambda episode: episode == 0)
    (message,) = run(env)
    assert "frame.cpu().numpy()" in message
    assert films.videos(folder) == []


@pytest.mark.parametrize(("rendered", "fix"), [(None, "return one of shape"), ([], "has just been called")])
def test_that_there_is_no_picture_is_said_once(folder, rendered, fix):
    env = offcam.RecordVideo(Barcode(LENGTH), str(folder), always)
    env.env.render = lambda: rendered
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            play(env)
        env.close()
    (message,) = [str(warning.message) for warning in caught if fix in str(warning.message)]
    assert "(Said once.)" in message
    assert films.videos(folder) == []


WHOLE = {
    "(H, W, C)": lambda frame: frame,
    "(1, H, W, C)": lambda frame: frame[None],
    "(H, W)": lambda frame: frame[:, :, 0],
    "list of one": lambda frame: [frame],
    "pillow": Image.fromarray,
}


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE)
def test_a_vector_envs_one_picture_of_all(folder, make, first_only):
    class One(SyncVectorEnv):
        def render(self):
            return make(self.envs[0].render())

    envs = One([lambda: Barcode(LENGTH)] * 3)
    env = offcam.vector.RecordVideo(
        envs, str(folder), record_first_only=first_only, step_trigger=lambda step: step == 0, video_length=4
    )
    assert run(env, 4) == []
    assert films.numbers(folder / "rl-video-step-0.mp4") == [1, 2, 3, 4]


@pytest.mark.parametrize("rendered", [None, (), "text", np.zeros(3)], ids=repr)
def test_a_vector_env_that_renders_no_picture(folder, rendered):
    envs = SyncVectorEnv([lambda: Barcode(LENGTH)] * 3)
    envs.render = lambda: rendered
    (message,) = run(offcam.vector.RecordVideo(envs, str(folder), episode_trigger=lambda episode: episode == 0))
    assert "Recording stopped" in message


@pytest.mark.parametrize("first_only", [False, True])
def test_an_env_pool_is_asked_for_all_it_has(folder, first_only):
    class Pool(SyncVectorEnv):
        def render(self, env_ids=(0,)):
            return np.stack([self.envs[index].render() for index in env_ids])

    envs = Pool([lambda: Barcode(LENGTH)] * 4)
    env = offcam.vector.RecordVideo(
        envs, str(folder), record_first_only=first_only, step_trigger=lambda step: step == 0, video_length=2
    )
    assert run(env, 2) == []
    sides = [shot.rgb.shape[0] for shot in films.shots(folder / "rl-video-step-0.mp4")]
    assert sides == [84 if first_only else 168] * 2


# --- what the agent sees ----------------------------------------------------------------------------------

SEEN = {
    "picture": lambda grey: np.repeat(grey[:, :, None], 3, axis=2),
    "grey": lambda grey: grey,
    "channels first": lambda grey: np.stack([grey] * 3),
    "stack": lambda grey: np.stack([grey * 0, grey * 0, grey * 0, grey]),
    "stack behind": lambda grey: np.stack([grey * 0, grey * 0, grey * 0, grey], axis=2),
    "stack of pictures": lambda grey: np.stack([np.zeros((*grey.shape, 3), np.uint8), np.stack([grey] * 3, axis=2)]),
    "dict": lambda grey: {"joints": np.zeros(3), "camera": grey},
}


class Sees(Barcode):
    """Cannot render, and sees a picture."""

    def __init__(self, make):
        super().__init__(LENGTH, render_mode=None)
        self._make = make
        seen = make(encode(0, 84, 84))
        box = lambda value: gym.spaces.Box(0, 255, value.shape, value.dtype)  # noqa: E731
        space = gym.spaces.Dict({k: box(v) for k, v in seen.items()}) if isinstance(seen, dict) else box(seen)
        self.observation_space = space

    def _observe(self):
        return self._make(encode(self.number, 84, 84))


@pytest.mark.parametrize("make", SEEN.values(), ids=SEEN)
def test_what_the_agent_sees(folder, make):
    env = offcam.record(Sees(make), str(folder), every=1, source="obs")
    play(env)
    env.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(LENGTH + 1))
    assert [episode.length for episode in films.episodes(folder)] == [LENGTH]


@pytest.mark.parametrize("make", SEEN.values(), ids=SEEN)
def test_what_the_agents_of_a_vector_env_see(folder, make):
    envs = SyncVectorEnv([lambda: Sees(make)] * 4)
    env = offcam.record(envs, str(folder), source="obs", step_trigger=lambda step: step == 0, video_length=3)
    assert run(env, 4) == []
    shots = list(films.shots(folder / "rl-video-step-0.mp4"))
    assert [decode(shot.rgb, 84, 84) for shot in shots] == [1, 2, 3]
    assert [decode(shot.rgb[84:, 84:], 84, 84) for shot in shots] == [1, 2, 3]


@pytest.mark.parametrize("many", [False, True], ids=["one", "several"])
def test_frames_are_what_is_rendered(folder, many):
    env = SyncVectorEnv([lambda: Barcode(LENGTH)] * 2) if many else Barcode(LENGTH)
    env = offcam.record(env, str(folder), source="frames", every=1, video_length=3)
    assert env.env.recording_source == "render"
    if many:
        assert run(env, 4) == []
    else:
        play(env)
        env.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4") == [0, 1, 2]


def test_what_is_seen_must_be_a_picture(folder):
    with pytest.raises(offcam.OffcamError, match=r"source='obs' needs an env whose observations are pictures"):
        offcam.RecordVideo(Barcode(), str(folder), source="obs")
    sources = "'render', 'frames', 'obs', 'replay', 'auto'"
    with pytest.raises(offcam.OffcamError, match=f"source must be one of {sources}, got 'both'"):
        offcam.RecordVideo(Barcode(look=Look()), str(folder), source="both")
    assert not folder.exists()
