"""How others put their envs together: stand-ins in the shape of their code, with numpy's arrays for their tensors."""

from __future__ import annotations

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

import films
import offcam
import offcam.vector
from envs import Barcode, decode

pytestmark = pytest.mark.usefixtures("daemon")

LENGTHS = [3, 4]
gym.register("offcam/Barcode-v0", Barcode)


def ends(folder):
    return [(episode.env_index, episode.return_, episode.length) for episode in films.episodes(folder)]


# --- Gymnasium and CleanRL ----------------------------------------------------------------------------------


def make_env(index, folder):
    """As the scripts of CleanRL have it: a video of the first env alone, statistics of each."""

    def thunk():
        env = Barcode(LENGTHS[index], render_mode="rgb_array" if index == 0 else None)
        if index == 0:
            env = offcam.RecordVideo(env, str(folder), lambda episode: episode % 2 == 0)
        return offcam.RecordEpisodeStatistics(env)

    return thunk


def test_cleanrl_with_statistics_of_each(folder):
    envs = SyncVectorEnv([make_env(index, folder) for index in range(2)], autoreset_mode=AutoresetMode.SAME_STEP)
    envs.reset(seed=1)
    told = []
    for _ in range(8):
        *_, infos = envs.step(envs.action_space.sample())
        if "final_info" in infos:
            episode = infos["final_info"]["episode"]
            told += episode["r"][infos["final_info"]["_episode"]].tolist()
    envs.close()
    assert told == [3, 4, 3, 4]
    assert sorted(episode.return_ for episode in films.episodes(folder)) == [3, 3, 4, 4]
    found = {name: films.numbers(folder / name) for name in films.videos(folder)}
    assert found == {"rl-video-episode-0.mp4": [0, 1, 2, 3], "rl-video-episode-2.mp4": [0, 1, 2]}
    films.check(folder)


def test_cleanrl_with_statistics_of_all(folder):
    """Of a video within one process, and of statistics outside: it is one run."""
    envs = SyncVectorEnv(
        [
            lambda: offcam.RecordVideo(Barcode(3), str(folder), lambda _: True),
            lambda: Barcode(4),
        ],
        autoreset_mode=AutoresetMode.NEXT_STEP,
    )
    envs = offcam.vector.RecordEpisodeStatistics(envs, folder=folder)
    envs.reset(seed=1)
    for _ in range(9):
        envs.step(envs.action_space.sample())
    envs.close()
    assert ends(folder) == [(0, 3, 3), (1, 4, 4), (0, 3, 3), (1, 4, 4)]
    assert films.numbers(folder / "rl-video-episode-1.mp4") == [0, 1, 2, 3]
    films.check(folder)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_wrappers_of_make_vec(folder, kind):
    envs = gym.make_vec(
        "offcam/Barcode-v0",
        2,
        kind,
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        wrappers=[partial(offcam.record, folder=str(folder), every=1)],
        length=3,
    )
    assert isinstance(envs.unwrapped, SyncVectorEnv if kind == "sync" else AsyncVectorEnv)
    envs.reset()
    for _ in range(6):
        envs.step(envs.action_space.sample())
    envs.close()
    assert ends(folder) == [(0, 3, 3)] * 4
    ended = [clip for clip in films.clips(folder).values() if clip.frames == 4]
    assert len(ended) == 4
    films.check(folder)


# --- simulators ---------------------------------------------------------------------------------------------


class IsaacLab(gym.Env):
    """A stand-in for an env of Isaac Lab, which needs a GPU.

    It is an Env of many, whose results are tensors of all, and that begins anew within a step. Its picture is
    that of a camera on the scene.
    """

    metadata = {"render_modes": [None, "human", "rgb_array"]}  # noqa: RUF012 - as it has it
    render_mode = "rgb_array"
    num_envs = 2
    observation_space = gym.spaces.Dict({"policy": gym.spaces.Box(-np.inf, np.inf, (2, 3), np.float32)})
    action_space = gym.spaces.Box(-1, 1, (2, 1), np.float32)

    def __init__(self):
        self.scene = Barcode(100)
        self.length_buf = np.zeros(2, int)

    def reset(self, seed=None, options=None):
        self.scene.reset()
        self.length_buf[:] = 0
        return {"policy": np.zeros((2, 3), np.float32)}, {}

    def step(self, action):
        self.scene.step(0)
        self.length_buf += 1
        terminated, truncated = self.length_buf >= [3, 9], self.length_buf >= 4
        self.length_buf[terminated | truncated] = 0
        rewards = np.array([0.5, 2], np.float32)
        return {"policy": np.zeros((2, 3), np.float32)}, rewards, terminated, truncated, {"log": {}}

    def render(self, recompute=False):
        return self.scene.render()


def test_isaac_lab(folder):
    env = offcam.record(IsaacLab(), folder, step_trigger=lambda step: step == 0, video_length=6)
    env.reset()
    for _ in range(8):
        env.step(np.zeros((2, 1), np.float32))
    env.close()
    assert ends(folder) == [(0, 1.5, 3), (1, 8, 4), (0, 1.5, 3), (1, 8, 4)]
    assert [(episode.terminated, episode.truncated) for episode in films.episodes(folder)] == [
        (True, False),
        (False, True),
    ] * 2
    assert films.numbers(folder / "rl-video-step-0.mp4") == list(range(1, 7))
    films.check(folder)


class ManiSkill(VectorEnv):
    """A stand-in for ManiSkill's vector env, which needs a GPU.

    ``final_info`` has what its ended envs said, and each has a picture of its own.
    """

    num_envs = 2
    render_mode = "rgb_array"
    spec = None
    single_observation_space = observation_space = Barcode.observation_space
    single_action_space = action_space = Barcode.action_space

    def __init__(self):
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_fps": 20}
        self.envs_ = [Barcode(3), Barcode(5, offset=100)]

    def reset(self, *, seed=None, options=None):
        for index in (options or {}).get("env_idx", range(2)):
            self.envs_[index].reset()
        return np.zeros((2, 1), np.float32), {}

    def step(self, actions):
        for env in self.envs_:
            env.step(0)
        success = np.array([env.number == env.length for env in self.envs_])
        truncated = np.array([env.number == 4 for env in self.envs_])
        infos = {"success": success, "elapsed_steps": np.array([env.number for env in self.envs_])}
        if (dones := success | truncated).any():
            infos |= {"final_info": dict(infos), "_final_info": dones, "final_observation": np.zeros((2, 1))}
            self.reset(options={"env_idx": np.flatnonzero(dones)})
        return np.zeros((2, 1), np.float32), np.ones(2, np.float32), success, truncated, infos

    def render(self):
        return np.stack([env.render() for env in self.envs_])


@pytest.mark.filterwarnings("ignore:.*Recorded episodes will not contain the last frame")
def test_maniskill(folder):
    envs = offcam.record(ManiSkill(), folder, keep="successes()", info_keywords=["elapsed_steps"])
    envs.reset()
    for _ in range(8):
        envs.step(np.zeros(2, int))
    envs.close()
    assert ends(folder) == [(0, 3, 3), (1, 4, 4), (0, 3, 3), (1, 4, 4)]
    assert [episode.info for episode in films.episodes(folder)] == [
        {"success": 1, "elapsed_steps": 3},
        {"success": 0, "elapsed_steps": 4},
    ] * 2
    names = [f"rl-video-episode-{episode}.mp4" for episode in (0, 1)]
    assert films.videos(folder)[:2] == names
    tiles = [
        [decode(tile, 84, 84) for tile in (shot.rgb[:, :84], shot.rgb[:, 84:])]
        for shot in films.shots(folder / names[0])
    ]
    assert tiles == [[0, 100], [1, 101], [2, 102]]
    assert {clip.fps for clip in films.clips(folder).values()} == {20}
