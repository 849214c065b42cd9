"""The steps of an episode as columns beside its video: each row on the frame that shows it, long ones thinned."""

from __future__ import annotations

import io

import av
import gymnasium as gym
import jsonschema
import numpy as np
import pytest

import offcam
from envs import Barcode, decode
from offcam_runs.run import read_run
from offcam_runs.run_ids import run_id
from offcamd.web.openapi import description

SIDE = 84


class Valued(Barcode):
    """Its rewards are the number of the step, and its actions are two numbers."""

    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def step(self, action):
        observation, _, *rest = super().step(0)
        return observation, float(self.number), *rest


def record(env, folder, episodes, **options):
    env = offcam.record(env, str(folder), steps=True, **options)
    for episode in range(episodes):
        env.reset(seed=episode)
        over, step = False, 0
        while not over:
            step += 1
            offcam.trace(env, value=step / 4)
            over = any(env.step(np.array([step, -step], np.float32) / 100)[2:4])
    env.close()


def column(answer, name):
    (found,) = [each for each in answer["columns"] if each["name"] == name]
    return found


def steps(answer):
    found = answer.json()
    jsonschema.validate(found, {**description(), "$ref": "#/components/schemas/Steps"})
    return found


@pytest.fixture
def ask(daemon, folder, look):
    """Ask of the run in the folder, once it is recorded."""
    clients = []

    def get(path, **given):
        clients[:] = clients or [look(folder)]
        return clients[0].get(f"/api/runs/{run_id(folder)}/{path}", params=given).raise_for_status()

    return get


def key_of(clip):
    return f"{clip.stream_id}-{clip.clip}"


def test_an_episode_has_its_rewards_their_sum_its_actions_and_the_agents_numbers(folder, ask):
    record(Valued(5), folder, 3)
    answer = steps(ask("episodes/steps", number=1))
    assert (answer["rows"], answer["found"], answer["bucket"], answer["complete"], answer["why"]) == (
        6,
        6,
        1,
        True,
        None,
    )
    assert answer["step"] == [0, 1, 2, 3, 4, 5]
    assert answer["episode"] == [1] * 6
    assert answer["flags"] == [4, 0, 0, 0, 0, 1]
    assert [(each["kind"], each["name"], each["max"]) for each in answer["columns"]] == [
        ("reward", "reward", None),
        ("return", "return", None),
        ("action", "action[0]", None),
        ("action", "action[1]", None),
        ("trace", "value", None),
    ]
    assert column(answer, "reward")["min"] == [None, 1, 2, 3, 4, 5]  # what is not known is no 0
    assert column(answer, "return")["min"] == [0, 1, 3, 6, 10, 15]
    assert column(answer, "action[1]")["min"][1:] == pytest.approx([-0.01, -0.02, -0.03, -0.04, -0.05])
    assert column(answer, "value")["min"] == [None, 0.25, 0.5, 0.75, 1, 1.25]
    assert answer["time"] == pytest.approx([frame / 30 for frame in range(6)])
    assert answer["film"]["gaps"] == []
    clip = read_run(folder).clips[1]
    assert steps(ask(f"clips/{key_of(clip)}/steps")) == answer


def pictures(file):
    """The time of each picture of a clip's file in seconds, and the number that is painted on it."""
    with av.open(io.BytesIO(file.content)) as video:
        return [(frame.time, decode(frame.to_ndarray(format="rgb24"), SIDE, SIDE)) for frame in video.decode(video=0)]


def test_each_row_is_at_the_time_of_its_frame_where_others_are_not_in_the_video(folder, ask):
    record(Valued(20), folder, 2, every_nth_frame=3)
    (_, clip) = read_run(folder).clips
    answer = steps(ask(f"clips/{key_of(clip)}/steps"))
    shown = pictures(ask(f"clips/{key_of(clip)}/video"))
    assert [number for _, number in shown] == [0, 3, 6, 9, 12, 15, 18, 20]
    times = dict(zip(answer["step"], answer["time"], strict=True))
    for time, number in shown:
        assert times[number] == pytest.approx(time, abs=0.002)
    assert answer["film"]["gaps"] == [[1, 2], [4, 2], [7, 2], [10, 2], [13, 2], [16, 2], [19, 1]]
