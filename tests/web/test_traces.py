"""The steps of an episode as columns beside its video: each row on the frame that shows it, long ones thinned."""

from __future__ import annotations

import io

import av
import gymnasium as gym
import jsonschema
import numpy as np
import pytest

import offcam
from envs import Barcode, Look, decode, play
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


def test_each_row_is_at_the_time_of_its_frame_where_frames_were_dropped(folder, endpoint, serve, look, monkeypatch):
    """This env draws faster than this daemon can encode."""
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    serve("--encoders", "1", "--memory-limit", "16MiB", "--spool-limit", "0", "--preset", "veryslow")
    with pytest.warns(UserWarning, match="overflow='block'"):
        record(Valued(150, Look(720, 1280)), folder, 1)
    (clip,) = read_run(folder).clips
    base = f"/api/runs/{run_id(folder)}/clips/{key_of(clip)}"
    client = look(folder)
    answer = steps(client.get(f"{base}/steps"))
    with av.open(io.BytesIO(client.get(f"{base}/video").content)) as video:
        shown = [(each.time, decode(each.to_ndarray(format="rgb24"), 720, 1280)) for each in video.decode(video=0)]
    assert answer["found"] == clip.offered == 151 > len(shown)
    for time, number in shown[1:]:
        assert answer["time"][number] == pytest.approx(time, abs=0.002)
    missing = [frame for first, count in answer["film"]["gaps"] for frame in range(first, first + count)]
    assert missing == sorted(set(range(151)) - {number for _, number in shown})
    assert len(missing) == sum(clip.dropped.values())


def test_a_long_episode_has_the_least_and_the_most_of_as_many_steps_as_share_a_point(folder, ask):
    record(Valued(3000), folder, 1, every=2)
    answer = steps(ask("episodes/steps", number=0, points=100))
    assert (answer["rows"], answer["found"], answer["bucket"], answer["complete"]) == (3001, 3001, 31, True)
    assert answer["row"] == list(range(0, 3001, 31))
    assert answer["step"] == answer["row"]
    assert answer["flags"] == [4, *[0] * 95, 1]
    reward = column(answer, "reward")
    assert reward["min"] == [1, *range(31, 3001, 31)]
    assert reward["max"] == [*range(30, 3000, 31), 3000]
    assert column(answer, "return")["max"][-1] == sum(range(3001))
    whole = read_run(folder).steps(0)
    assert column(answer, "value")["max"] == [
        float(np.nanmax(whole["value"][at : at + 31])) for at in range(0, 3001, 31)
    ]


def test_of_a_vector_env_it_is_one_sub_environments(folder, ask):
    envs = gym.vector.SyncVectorEnv([lambda length=length: Valued(length) for length in (3, 4, 5)])
    env = offcam.vector.RecordVideo(envs, str(folder), steps=True, step_trigger=lambda step: step == 3, video_length=12)
    env = offcam.vector.RecordEpisodeStatistics(env)
    env.reset()
    for _ in range(20):
        env.step(np.full((3, 2), 0.5, np.float32))
    env.close()
    (clip,) = read_run(folder).clips
    path = f"clips/{key_of(clip)}/steps"
    first = steps(ask(path))
    assert (first["env_index"], first["envs"]) == (0, [0, 1, 2])
    last = steps(ask(path, env_index=2))
    assert last["step"] == [4, 5, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    assert (last["episode"], last["time"]) == ([0] * 2 + [1] * 6 + [2] * 4, first["time"])
    assert column(last, "return")["min"] == [None, None, 0, 1, 3, 6, 10, 15, 0, 1, 3, 6]  # its beginning is not there
    assert column(last, "action[0]")["min"][:4] == [0.5, 0.5, None, 0.5]  # in the row of a reset it takes none
    number = next(each.number for each in read_run(folder).episodes if (each.env_index, each.episode) == (2, 1))
    alone = steps(ask("episodes/steps", number=number))
    assert (alone["env_index"], alone["episode"], alone["complete"]) == (2, [1] * 6, True)
    assert alone["time"] == pytest.approx([(row - first["row"][0]) / 30 for row in alone["row"]])


def test_where_there_are_none_it_is_said_why(folder, ask):
    env = offcam.record(Barcode(5), str(folder), every=2)
    play(env, 2)
    env.close()
    for answer in map(
        steps, (ask("episodes/steps", number=0), ask(f"clips/{key_of(read_run(folder).clips[0])}/steps"))
    ):
        assert (answer["rows"], answer["found"], answer["complete"], answer["columns"]) == (0, 0, False, [])
        assert answer["why"].startswith("no steps were recorded: with steps=True")


def test_an_episode_that_no_video_shows_has_no_times(folder, ask):
    record(Valued(5), folder, 2, every=2)
    answer = steps(ask("episodes/steps", number=1))
    assert (answer["film"], answer["time"], answer["found"]) == (None, [None] * 6, 6)


def test_of_actions_of_no_fixed_size_those_are_drawn_that_are_numbers(folder, ask):
    class Said(Barcode):
        action_space = gym.spaces.Dict({"how": gym.spaces.Text(9), "much": gym.spaces.Box(0, 9, (30,))})

        def step(self, action):
            return super().step(0)

    env = offcam.record(Said(3), str(folder), steps=True)
    play(env)
    env.close()
    answer = steps(ask("episodes/steps", number=0))
    assert answer["left_out"] == ["action.how", "action.much[16…]"]
    assert [each["name"] for each in answer["columns"]][2:] == [f"action.much[{place}]" for place in range(16)]
