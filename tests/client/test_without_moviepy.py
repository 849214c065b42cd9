"""The default arguments where moviepy is not installed, which Gymnasium's own schedule cannot be imported without."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec

import films
import offcam
from offcam.wrappers import triggers

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "moviepy":
            print("asked for", name)
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
"""

RECORD = """
import sys
import gymnasium as gym
import offcam, offcam.vector
from envs import Barcode, play

folder = sys.argv[1]
env = WRAPPED
if isinstance(env, gym.vector.VectorEnv):
    env.reset()
    for _ in range(14):
        env.step(env.action_space.sample())
else:
    play(env, 4)
env.close()
"""

IMPORT_ALL = """
import importlib, pkgutil
import offcam, offcam_proto, offcamd

names = [module.name for package in (offcam, offcam_proto, offcamd)
         for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    try:
        importlib.import_module(name)
    except ImportError as error:  # what an adapter or a tracker's sink is for is not here
        assert name.startswith(("offcam.integrations.", "offcam.sync.sinks.")), error
print(len(names) > 100)
"""


def run(code: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKER + code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_blocker_bites():
    code = "try:\n    import gymnasium.utils.save_video\nexcept Exception as error:\n    print(type(error).__name__)"
    assert run(code) == ["asked for moviepy", "DependencyNotInstalled"]


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    "wrapped",
    [
        "offcam.RecordVideo(Barcode(3), folder, overflow='block')",
        "offcam.record(Barcode(3), folder, overflow='block')",
        "offcam.vector.RecordVideo(gym.vector.SyncVectorEnv([lambda: Barcode(3)] * 2), folder, overflow='block')",
        "offcam.record(gym.vector.SyncVectorEnv([lambda: Barcode(3)] * 2), folder, overflow='block')",
    ],
)
def test_the_default_schedule_records(folder, wrapped):
    assert run(RECORD.replace("WRAPPED", wrapped), str(folder)) == []
    assert films.videos(folder) == ["rl-video-episode-0.mp4", "rl-video-episode-1.mp4"]
    for name in films.videos(folder):
        assert films.numbers(folder / name) == [0, 1, 2, 3]
    films.check(folder)


def test_no_module_asks_for_moviepy():
    assert run(IMPORT_ALL) == ["True"]


def test_the_schedule_is_gymnasiums():
    save_video = pytest.importorskip("gymnasium.utils.save_video", reason="without moviepy it cannot be imported")
    ours = [number for number in range(5000) if triggers.capped_cubic_video_schedule(number)]
    assert ours == [number for number in range(5000) if save_video.capped_cubic_video_schedule(number)]
    assert ours == [0, 1, 8, 27, 64, 125, 216, 343, 512, 729, 1000, 2000, 3000, 4000]


@pytest.mark.usefixtures("daemon")
def test_with_it_a_spec_goes_through_pickle_and_json(folder):
    """As Gymnasium's does with ``gc_trigger=None``; the lambda that is its default would go through neither."""
    env = offcam.RecordVideo(gym.make("CartPole-v1", render_mode="rgb_array"), str(folder), gc_trigger=None)
    specs = [pickle.loads(pickle.dumps(env.spec)), EnvSpec.from_json(env.spec.to_json())]  # noqa: S301 - of our own making
    env.close()
    for spec in specs:
        again = gym.make(spec)
        assert again.episode_trigger is triggers.capped_cubic_video_schedule
        again.close()
    assert pickle.loads(pickle.dumps(again.episode_trigger)) is again.episode_trigger  # noqa: S301 - as above
