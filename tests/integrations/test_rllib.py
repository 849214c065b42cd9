"""RLlib, in an environment of its own: Ray asks for another Gymnasium than all others here do."""

from __future__ import annotations

import os
import sys
from functools import partial

import gymnasium as gym
import pytest

import examples
import films
import offcam
from waiting import HANG_SECONDS

ray = pytest.importorskip("ray", reason="not in the environment of .ci/integrations")
pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]

EXAMPLE = "rllib_ppo.py"


def made(folder, config):
    env = gym.make("CartPole-v1", render_mode="rgb_array", max_episode_steps=20)
    return offcam.record(env, folder, every=5, name_prefix=f"worker-{config.worker_index}")


def wait_for_videos(runner):
    return [env.get_wrapper_attr("wait_video")(HANG_SECONDS) for env in runner.env.unwrapped.envs] if runner.env else []


@pytest.fixture(scope="module")
def _ray(shared_daemon, tmp_path_factory):
    """One for all: it puts a token into the user's home, and a process has but one."""
    here = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OFFCAM_ADDR": shared_daemon.address}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": here})
        yield
        ray.shutdown()


@pytest.mark.usefixtures("_ray")
@pytest.mark.parametrize("runners", [0, 2], ids=["here", "in processes of their own"])
def test_metrics_have_the_videos_and_the_numbers(folder, runners):
    from ray.rllib.algorithms.ppo import PPOConfig  # noqa: PLC0415 - where it is installed
    from ray.tune.registry import register_env  # noqa: PLC0415

    from offcam.integrations.rllib import OffcamCallback  # noqa: PLC0415

    register_env("recorded", partial(made, str(folder)))
    config = (
        PPOConfig()
        .environment("recorded")
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=2)
        .training(train_batch_size_per_learner=200, minibatch_size=100, num_epochs=1)
        .callbacks(OffcamCallback)
    )
    algorithm = config.build_algo()
    algorithm.train()
    waited = [path for each in algorithm.env_runner_group.foreach_env_runner(wait_for_videos) for path in each]
    assert len(waited) == 2 * max(runners, 1)
    assert all(waited)
    result = algorithm.train()["env_runners"]
    algorithm.stop()
    told = result["offcam"]
    episodes = films.episodes(folder)
    assert len(episodes) >= 20
    assert told["return"] == pytest.approx(result["episode_return_mean"])
    assert told["length"] == told["return"]
    videos = [told["video"]] if isinstance(told["video"], str) else told["video"]
    assert {str(folder / name) for name in films.videos(folder)} >= set(videos)
    workers = {f"worker-{index}" for index in (range(1, runners + 1) if runners else [0])}
    assert {name.partition("-episode-")[0] for name in films.videos(folder)} == workers
    films.check(folder)


def test_the_example_tells_of_what_its_workers_recorded(daemon, tmp_path):
    paths = os.pathsep.join(filter(None, sys.path))
    said = examples.printed(EXAMPLE, daemon, tmp_path, HOME=str(tmp_path), PYTHONPATH=paths)
    folder = tmp_path / "runs" / "rllib"
    lines = [line for line in said.splitlines() if line.startswith("return ")]
    assert len(lines) == 3
    assert f"{folder}/worker-1-episode-0.mp4" in said
    assert films.videos(folder)[0] == "worker-1-episode-0.mp4"
    films.check(folder)
