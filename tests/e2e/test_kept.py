"""What a rule keeps is on the disk, and nothing else: of real trainings, with a daemon of their own."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import partial

import gymnasium as gym
import pytest
from gymnasium.vector import AutoresetMode

import films
import offcam
from envs import Barcode, play
from offcam import keep
from offcam_proto.errors import ConfigError
from offcam_runs.format import INDEX_NAME
from offcam_runs.run import read_run
from scored import Score, Scored, drawn, failures, worst

pytestmark = pytest.mark.usefixtures("embedded")


def kept(folder) -> dict[int, str]:
    """Number of the episode of each video, and why it is kept; each is whole and has its name."""
    clips = read_run(folder, "all").clips
    assert films.videos(folder) == sorted(clip.file for clip in clips if clip.file), "no more on the disk"
    for clip in clips:
        assert clip.state == "final"
        assert films.numbers(folder / clip.file) == list(range(clip.frames))
    films.check(folder)
    return {clip.episode: clip.keep_reason for clip in clips}


@pytest.mark.parametrize("count", [80, pytest.param(1000, marks=pytest.mark.slow)])
def test_failures_and_the_three_worst(count, folder):
    scores = drawn(count)
    env = offcam.record(Scored(scores), str(folder), keep=keep.failures() | keep.worst(3), overflow="block")
    most = 0
    for _ in range(count):
        play(env)
        most = max(most, len(list(folder.glob("*.mp4"))))  # those that wait for their verdict end in .part
    env.close()
    found = kept(folder)
    assert most <= len(failures(scores)) + 3 + 2, "nor before that; names may change while one looks"
    assert set(found) == failures(scores) | worst(scores, 3)
    for number, reason in found.items():
        wanted = ["failures()"] * (number in failures(scores)) + ["worst(3)"] * (number in worst(scores, 3))
        assert reason == ", ".join(wanted)
    assert len(offcam.load(folder).episodes) == count, "all of them are in the statistics"


def test_the_list_says_why_a_video_is_kept(folder, offcam_command):
    for rule in (None, keep.longer_than(2) | keep.worst(1)):
        env = offcam.record(Scored([Score(1.0, 3, success=True)]), str(folder), keep=rule, every=1)
        play(env, 1)
        env.close()
        *_, row = offcam_command("ls", str(folder)).stdout.split("1 episode")[0].rstrip().splitlines()
        assert row.endswith("  longer_than(2), worst(1)") == (rule is not None), row


def test_rules_of_all_kinds(folder):
    scores = drawn(40, seed=1)
    seen = []
    rule = keep.best(2, among=keep.successes()) | (keep.longer_than(4) & ~keep.above(0)) | keep.when(seen.append)
    env = offcam.record(Scored(scores), str(folder), keep=rule)
    play(env, 40)
    env.close()
    succeeded = [number for number in range(40) if scores[number].success]
    best = set(sorted(succeeded, key=lambda number: -scores[number].value)[:2])
    long = {number for number, score in enumerate(scores) if score.length > 4 and score.value <= 0}
    assert set(kept(folder)) == best | long
    assert [(each.episode, each.return_, each.length, each.success, each.terminated) for each in seen] == [
        (number, *score, True) for number, score in enumerate(scores)
    ]


def test_two_envs_of_a_session_have_one_ranking(folder):
    scores = drawn(30, seed=2)
    envs = [offcam.record(Scored(half), str(folder), keep=keep.best(4)) for half in (scores[:15], scores[15:])]
    for _ in range(15):
        for env in envs:
            play(env)
    for env in envs:
        env.close()
    best = sorted((score.value for score in scores), reverse=True)[:4]
    assert sorted((clip.return_ for clip in read_run(folder, "all").clips), reverse=True) == best


def test_a_session_that_goes_on_ranks_with_what_it_has(folder, offcam_command):
    scores = drawn(40, seed=3)
    for part in range(2):
        if part:
            assert offcam_command("stop").returncode == 0
        first = 20 * part
        env = offcam.record(Scored(scores, first=first), str(folder), keep=keep.worst(5), resume=part > 0)
        play(env, 20)
        env.close()
    assert set(kept(folder)) == worst(scores, 5)


def test_rankings_go_on_where_the_index_was_removed(folder):
    scores = drawn(30, seed=5)
    env = offcam.record(Scored(scores), str(folder), keep=keep.worst(3), overflow="block")
    play(env, 15)
    assert env.flush()
    for path in folder.glob(f"{INDEX_NAME}*"):
        path.unlink()
    play(env, 15)
    env.close()
    assert set(kept(folder)) == worst(scores, 3)


def test_an_episode_that_close_cuts_short_is_let_go_and_one_that_a_reset_ends_is_judged(folder):
    env = offcam.record(Barcode(50), str(folder), keep=keep.every(1))
    env.reset()
    env.step(0)
    env.reset()
    env.step(0)
    env.close()
    assert set(kept(folder)) == {0}


def test_a_video_that_the_user_starts_stays(folder):
    env = offcam.RecordVideo(Barcode(3), str(folder), keep=keep.below(-1.0))
    play(env)
    env.reset()
    env.start_recording("by-hand")
    env.step(0)
    env.stop_recording()
    env.close()
    assert films.videos(folder) == ["by-hand.mp4"]


def test_bytes_are_bound_and_the_oldest_go_first_but_those_of_a_ranking(folder):
    scores = drawn(30, seed=4)
    env = offcam.record(Scored(scores), str(folder), keep=keep.every(1) | keep.worst(2), keep_bytes=12_000)
    play(env, 30)
    env.close()
    found = kept(folder)
    assert sum(path.stat().st_size for path in folder.glob("*.mp4")) <= 12_000
    others = set(found) - worst(scores, 2)
    assert worst(scores, 2) <= set(found)
    assert others
    assert others == set(range(min(others), 30)) - worst(scores, 2), "the newest"


def test_a_video_in_parts_is_kept_or_let_go_as_a_whole(folder):
    env = offcam.record(Barcode(6, sizes={3: (96, 96)}), str(folder), keep=keep.every(2))
    play(env, 4)
    env.close()
    clips = read_run(folder, "all").clips
    assert [(clip.episode, clip.part) for clip in clips] == [(0, 1), (0, 2), (2, 1), (2, 2)]
    assert films.videos(folder) == sorted(clip.file for clip in clips)


def test_a_test_that_raises_says_no_and_is_said_once(folder, recwarn):
    env = offcam.record(Barcode(2), str(folder), keep=keep.when(lambda episode: 1 / 0) | keep.every(2))
    play(env, 3)
    env.close()
    assert set(kept(folder)) == {0, 2}
    (said,) = [str(warning.message) for warning in recwarn if "ZeroDivisionError" in str(warning.message)]
    assert "counts as no" in said


def test_the_newest_video_is_one_that_is_kept(folder):
    told = []
    env = offcam.record(Barcode(2), str(folder), keep=keep.every(2), on_video=told.append)
    for _ in range(4):
        play(env)
        assert env.flush()
    assert env.last_video == str(folder / "rl-video-episode-2.mp4")
    env.close()
    assert told == [str(folder / f"rl-video-episode-{number}.mp4") for number in (0, 2)]


def test_the_rule_is_in_the_spec(folder):
    env = offcam.RecordVideo(
        gym.make("CartPole-v1", render_mode="rgb_array"), str(folder), keep=keep.failures() | keep.worst(3)
    )
    text = env.spec.to_json()
    env.close()
    again = gym.envs.registration.EnvSpec.from_json(text)
    (wrapper,) = again.additional_wrappers
    assert wrapper.kwargs["keep"] == "failures() | worst(3)"
    gym.make(again).close()


def test_who_has_let_go_of_how_much_is_in_the_index(folder):
    env = offcam.record(Barcode(2), str(folder), keep=keep.every(5))
    play(env, 10)
    env.close()
    with closing(sqlite3.connect(folder / INDEX_NAME)) as database:
        ((rule, let_go),) = database.execute("SELECT rule, let_go FROM rules").fetchall()
    assert json.loads(rule) == ["test", 0, "every(5)"]
    assert let_go == 8


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep": 3}, "offcam.keep"),
        ({"keep": keep.best(3), "video_length": 10}, "video_length"),
        ({"keep": keep.best(3), "step_trigger": lambda _: True}, "step_trigger"),
        ({"keep": keep.best(3), "keep_bytes": 0}, "keep_bytes"),
        ({"keep_bytes": 10}, "keep="),
        ({"keep": "best(three)"}, "best"),
    ],
)
def test_what_cannot_be_is_said_with_the_fix(options, words, folder):
    with pytest.raises(ConfigError, match=words):
        offcam.RecordVideo(Barcode(), str(folder), **options)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_sub_envs_with_videos_of_their_own_have_one_ranking(mode, folder):
    scores = [drawn(12, seed=seed) for seed in range(3)]
    envs = gym.vector.SyncVectorEnv([partial(Scored, of_one) for of_one in scores], autoreset_mode=mode)
    env = offcam.record(envs, str(folder), keep=keep.failures() | keep.worst(3), per_env=True)
    env.reset()
    ended = [0, 0, 0]
    while min(ended) < 12:
        over = env.step(env.action_space.sample())[2]
        ended = [count + bool(now) for count, now in zip(ended, over, strict=True)]
    env.close()
    played = [of_one[at % 12] for of_one, count in zip(scores, ended, strict=True) for at in range(count)]
    lowest = sorted(score.value for score in played)[:3]
    wanted = sorted(score.value for score in played if not score.success or score.value in lowest)
    assert sorted(clip.return_ for clip in read_run(folder, "all").clips) == wanted
    kept(folder)


def test_a_picture_of_many_is_judged_by_the_first_that_it_shows(folder):
    scores = [drawn(10, seed=seed) for seed in range(3)]
    envs = gym.vector.SyncVectorEnv([partial(Scored, of_one) for of_one in scores])
    env = offcam.record(envs, str(folder), keep=keep.best(2), record_envs=[1, 2])
    env.reset()
    ended = 0
    while ended < 10:
        ended += bool(env.step(env.action_space.sample())[2][1])
    env.close()
    best = sorted(range(10), key=lambda number: -scores[1][number].value)[:2]
    assert {clip.episode for clip in read_run(folder, "all").clips} == set(best)
