"""Real environments, single and vector: as many frames as states, the right pictures, the right numbers."""

from __future__ import annotations

from importlib.util import find_spec

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import films
import offcam
from headless import require_headless_gl

pytestmark = pytest.mark.usefixtures("daemon")

STEPS = 60
SINGLE = {
    "CartPole-v1": "pygame",
    "LunarLander-v3": "Box2D",
    "BipedalWalker-v3": "Box2D",
    "CarRacing-v3": "Box2D",
    "ALE/Breakout-v5": "ale_py",
    "HalfCheetah-v5": "mujoco",
    "MiniGrid-Empty-5x5-v0": "minigrid",
    "FrozenLake-v1": "pygame",
}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def require(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip, with the reason, what this machine cannot run; register what has to be imported for it."""
    module = SINGLE[env_id]
    if find_spec(module) is None:
        pytest.skip(f"{env_id} needs {module}, which is not installed")
    if module in ("ale_py", "minigrid"):
        gym.register_envs(__import__(module))
    if module == "mujoco":
        require_headless_gl(monkeypatch)


@pytest.mark.parametrize("env_id", SINGLE)
def test_single(folder, monkeypatch, env_id):
    require(env_id, monkeypatch)
    steps = STEPS if SINGLE[env_id] != "mujoco" else 12  # drawn without a graphics card
    plain = gym.make(env_id, render_mode="rgb_array", max_episode_steps=steps)
    env = offcam.record(plain, str(folder), every=1, overflow="block")
    env.action_space.seed(1)
    pictures = []
    for episode in range(2):
        env.reset(seed=episode)
        pictures.append([np.array(env.render())])
        over, length, total = False, 0, 0.0
        while not over:
            _, reward, terminated, truncated, info = env.step(env.action_space.sample())
            over, length, total = terminated or truncated, length + 1, total + float(reward)
        pictures[-1].append(np.array(env.render()))
        assert (info["episode"]["l"], info["episode"]["r"]) == (length, pytest.approx(total))
    fps = env.metadata.get("render_fps", 30)
    lengths, returns = list(env.length_queue), list(env.return_queue)
    env.close()

    films.check(folder)
    clips = films.clips(folder)
    for episode in range(2):
        name = f"rl-video-episode-{episode}.mp4"
        shots = list(films.shots(folder / name))
        assert len(shots) == lengths[episode] + 1
        assert films.close(shots[0].rgb, pictures[episode][0])
        assert films.close(shots[-1].rgb, pictures[episode][1])
        assert clips[name].fps == pytest.approx(fps)
        assert (clips[name].frames, clips[name].dropped) == (lengths[episode] + 1, {})
        assert (clips[name].length, clips[name].return_) == (lengths[episode], pytest.approx(returns[episode]))
    rows = films.episodes(folder)
    assert [row.length for row in rows] == lengths
    assert [row.return_ for row in rows] == pytest.approx(returns)
    assert [row.seed for row in rows] == [0, 1]


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_vector(folder, kind, mode):
    """Three CartPoles; what sub-environment 0 showed at the ends of its episodes is in the videos."""
    plain = gym.make_vec("CartPole-v1", 3, kind, render_mode="rgb_array", vector_kwargs={"autoreset_mode": mode})
    envs = offcam.record(plain, str(folder), every=1, overflow="block", buffer_length=1000)
    envs.action_space.seed(3)
    envs.reset(seed=3)
    lengths: list[list[int]] = [[], [], []]
    extra = [0]  # by episode of the first: pictures of the others' resets, which DISABLED shows one by one
    pictures = [np.array(plain.render()[0])]
    for _ in range(STEPS):
        _, _, terminations, truncations, infos = envs.step(envs.action_space.sample())
        pictures.append(np.array(plain.render()[0]))
        over = terminations | truncations
        for index in np.flatnonzero(over):
            lengths[index].append(int(infos["episode"]["l"][index]))
        if mode is AutoresetMode.DISABLED and over.any():
            extra[-1] += not over[0]
            extra += [0] if over[0] else []
            envs.reset(options={"reset_mask": over})
    envs.close()

    films.check(folder)
    rows = films.episodes(folder)
    assert [[row.length for row in rows if row.env_index == index] for index in range(3)] == lengths
    assert sorted(envs.length_queue) == sorted(length for each in lengths for length in each)
    beyond_reach = mode is AutoresetMode.SAME_STEP and kind == "async"
    frames = [sum(1 for _ in films.shots(folder / f"rl-video-episode-{n}.mp4")) for n in range(len(lengths[0]))]
    extra += [0] * len(frames)
    assert frames == [length + 1 - beyond_reach + more for length, more in zip(lengths[0], extra, strict=False)]
    first = next(films.shots(folder / "rl-video-episode-0.mp4")).rgb
    assert films.close(first, pictures[0])
    if mode is not AutoresetMode.SAME_STEP:
        *_, last = films.shots(folder / "rl-video-episode-0.mp4")
        assert films.close(last.rgb, pictures[lengths[0][0]])
    assert [clip.length for clip in films.clips(folder).values()][: len(frames)] == lengths[0]


def test_every_frame_of_a_cartpole_is_its_own(folder):
    """Not only as many frames as there should be, but those that were drawn, one by one."""
    env = offcam.RecordVideo(gym.make("CartPole-v1", render_mode="rgb_array"), str(folder), overflow="block")
    env.action_space.seed(0)
    env.reset(seed=0)
    drawn = [np.array(env.render())]
    over = False
    while not over:
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        drawn.append(np.array(env.render()))
        over = terminated or truncated
    env.close()
    shown = [shot.rgb for shot in films.shots(folder / "rl-video-episode-0.mp4")]
    assert len(shown) == len(drawn)
    for number, picture in enumerate(shown):
        errors = [np.abs(picture.astype(float) - other).mean() for other in drawn]
        assert errors[number] < 4
        assert errors[number] == min(errors) or abs(errors[number] - min(errors)) < 0.2
