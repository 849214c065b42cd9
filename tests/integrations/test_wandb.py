"""W&B offline: what is in its files, by its own messages; the user's run loses nothing."""

from __future__ import annotations

import copy
import json
import struct
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import wandb
from syncing import EPISODES, EVERY, play_logged, train, wait_sent
from wandb.proto import wandb_internal_pb2

import offcam
from commandline import WAIT_SECONDS
from offcam.integrations import wandb as adapter
from offcam_proto.errors import ConfigError

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]

EXAMPLE = "wandb_videos.py"
BLOCK = 32768
HEAD = struct.Struct("<IHB")


@pytest.fixture(autouse=True)
def _offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "files"))
    (tmp_path / "files").mkdir()
    yield
    wandb.teardown()


def records(path):
    """The records of a ``.wandb`` file: W&B's own messages, in LevelDB's log format behind a head of 7 bytes."""
    data, place, body = path.read_bytes(), 7, b""
    while place < len(data):
        left = BLOCK - place % BLOCK
        if left < HEAD.size:
            place += left
            continue
        _, size, kind = HEAD.unpack_from(data, place)
        body += data[place + HEAD.size : place + HEAD.size + size]
        place += HEAD.size + size
        if kind in (1, 4):  # whole, or its last part
            record, body = wandb_internal_pb2.Record.FromString(body), b""
            yield record


def runs(folder):
    """The runs in a folder of W&B's, by what they are for: each its settings, metrics, and lines."""
    found = {}
    for path in (folder / "wandb").glob("offline-run-*/*.wandb"):
        run, metrics, lines = None, [], []
        for record in records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                run = run or record.run
            elif kind == "metric":
                metrics.append(record.metric)
            elif kind == "history":
                items = record.history.item
                lines.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
        assert run is not None, f"{path}: {path.stat().st_size} bytes"
        found[run.job_type] = (run, metrics, lines, path.parent / "files")
    return found


def column(lines, name):
    return [(line["offcam/episode"], line[name]) for line in lines if name in line]


def test_it_is_in_a_run_of_the_users_group_and_the_users_points_are_all_there(folder, tmp_path):
    run = wandb.init(project="cartpole", name="mine")
    returns = train(folder, "wandb", lambda episode, return_: run.log({"own": return_}, step=episode + 1))
    run.finish()
    wandb.teardown()  # its own process writes the end of the file as it leaves
    wait_sent(folder)
    found = runs(tmp_path / "files")
    assert set(found) == {"", "offcam"}
    _, _, own, _ = found[""]
    assert [(line["_step"], line["own"]) for line in own] == list(enumerate(returns, 1))
    sent, metrics, lines, files = found["offcam"]
    assert (sent.project, sent.run_group, sent.display_name) == ("cartpole", run.id, "mine-offcam")
    assert ("offcam/*", "offcam/episode") in {(each.glob_name, each.step_metric) for each in metrics}
    assert column(lines, "offcam/return") == list(enumerate(returns))
    videos = column(lines, "offcam/video/path")
    assert [episode for episode, _ in videos] == list(range(0, EPISODES, EVERY))
    assert all((files / path).stat().st_size for _, path in videos)


EPISODES_OF_OWN = 8


def cartpole():
    return gym.make("CartPole-v1", render_mode="rgb_array")


def own_run(folder, log, **options):
    """Train an agent in a W&B run that has its videos, too; returns each episode's return."""
    env = adapter.record(cartpole(), folder, every=2, **options)

    def logged(episode, return_):
        env.wait_video(WAIT_SECONDS)  # so that each is there before the next step
        log(episode, return_)

    returns = play_logged(env, EPISODES_OF_OWN, logged)
    env.close()
    return returns


def test_in_the_users_own_run_each_step_of_theirs_is_there_and_each_video(folder, tmp_path):
    run = wandb.init(project="cartpole")
    returns = own_run(folder, lambda episode, return_: run.log({"own": return_}, step=episode + 1))
    run.finish()
    wandb.teardown()
    found = runs(tmp_path / "files")
    assert set(found) == {""}
    _, _, lines, files = found[""]
    assert [(line["_step"], line["own"]) for line in lines if "own" in line] == list(enumerate(returns, 1))
    shown = [line["offcam/video/path"] for line in lines if "offcam/video/path" in line]
    shown += [name for line in lines for name in line.get("offcam/videos", {}).get("videos", [])]
    assert len(shown) == len(list((files / "media").rglob("*.mp4"))) == 4
    told = [line for line in lines if "offcam/episodes" in line]
    assert [line["offcam/episodes"] for line in told] == list(range(1, len(returns) + 1))
    means = [line["offcam/return"] for line in told]
    assert means == pytest.approx([np.mean(returns[:count]) for count in range(1, len(returns) + 1)])


def test_of_videos_between_two_steps_of_the_users_none_is_lost(folder, tmp_path):
    run = wandb.init(project="cartpole")
    called = []
    own_run(folder, lambda episode, _: episode % 4 == 3 and run.log({"own": episode}), on_video=called.append)
    run.finish()
    wandb.teardown()
    ((_, _, lines, files),) = runs(tmp_path / "files").values()
    assert [line["own"] for line in lines if "own" in line] == [3, 7]
    assert len(called) == len(list((files / "media").rglob("*.mp4"))) == 4


def test_a_run_that_is_finished_too_early_ends_no_training(folder):
    run = wandb.init(project="cartpole")
    with pytest.warns(UserWarning, match=r"W&B's run takes nothing more"):
        own_run(folder, lambda episode, _: episode == 2 and run.finish())
    assert len(offcam.load(folder).episodes) == EPISODES_OF_OWN


class Stuck(gym.Wrapper):
    """An env that cannot be closed."""

    def close(self):
        super().close()
        raise OSError("its window is gone")


def test_the_last_videos_are_there_though_the_env_cannot_be_closed(folder, tmp_path):
    run = wandb.init(project="cartpole")
    env = adapter.record(Stuck(cartpole()), folder, every=1)
    env.reset(seed=1)
    while not any(env.step(0)[2:4]):
        pass
    with pytest.raises(OSError, match="its window is gone"):
        env.close()
    run.finish()
    wandb.teardown()
    ((_, _, _, files),) = runs(tmp_path / "files").values()
    assert len(list((files / "media").rglob("*.mp4"))) == 1


def test_a_planners_copy_logs_nothing(folder, tmp_path):
    run = wandb.init(project="cartpole")
    env = adapter.record(cartpole(), folder, every=1)
    env.reset(seed=1)
    copied = copy.deepcopy(env)
    copied.reset(seed=1)
    while not any(copied.step(0)[2:4]):
        pass
    env.close()
    run.finish()
    wandb.teardown()
    ((_, _, lines, _),) = runs(tmp_path / "files").values()
    assert not any("offcam/return" in line for line in lines)


def test_a_vector_env_too(folder, tmp_path):
    run = wandb.init(project="cartpole")
    envs = adapter.record(
        gym.make_vec("CartPole-v1", 3, vectorization_mode="sync", render_mode="rgb_array"), folder, every=1
    )
    envs.reset(seed=1)
    for _ in range(60):
        envs.step(envs.action_space.sample())
    envs.close()
    count = envs.episode_count
    run.finish()
    wandb.teardown()
    ((_, _, lines, files),) = runs(tmp_path / "files").values()
    assert [line["offcam/episodes"] for line in lines if "offcam/episodes" in line][-1] == count > 3
    assert list((files / "media").rglob("*.mp4"))


def test_without_a_run_it_says_what_to_do(folder):
    with pytest.raises(ConfigError, match=r"call wandb\.init\(\) first"):
        adapter.record(cartpole(), folder)


@pytest.mark.filterwarnings("ignore")
def test_monitor_gym_beside_it_breaks_nothing(folder, tmp_path):
    run = wandb.init(project="cartpole", monitor_gym=True)
    returns = train(folder, "wandb")
    run.finish()
    wandb.teardown()  # its own process writes the end of the file as it leaves
    wait_sent(folder)
    assert column(runs(tmp_path / "files")["offcam"][2], "offcam/return") == list(enumerate(returns))


def test_the_script_of_the_guide_uploads_each_video(daemon, tmp_path):
    script = Path(__file__).parents[2] / "client" / "examples" / EXAMPLE
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wait_sent(tmp_path / "cartpole-training")
    _, _, lines, files = runs(tmp_path / "files")["offcam"]
    videos = column(lines, "offcam/video/path")
    assert [episode for episode, _ in videos] == [0, 25, 50, 75]
    assert len(list((files / "media").rglob("*.mp4"))) == 4
    assert len([line for line in runs(tmp_path / "files")[""][2] if "reward" in line]) == 100
