"""source="auto": frames, until what happens again was seen to look the same; then nothing is rendered in the loop."""

from __future__ import annotations

import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest

import films
import offcam
from envs import Barcode, laid_out, play
from offcam import RecordVideo
from offcam.recorder import frames
from offcam.replay import audits
from offcam_proto.errors import ConfigError
from offcam_runs.replay.requests import Answer
from triggers import always
from waiting import HANG_SECONDS, freeze, wait_until

pytest.importorskip("xxhash")
pytestmark = pytest.mark.usefixtures("daemon")

ODDITIES = ("Drawing", "GlobalRandom", "Clock", "Flickering", "Black", "HarderFromOutside", "Gated")


@pytest.fixture(autouse=True)
def _registered():
    made = {"Numbers-v0": "envs:Barcode"} | {f"{name}-v0": f"oddities:{name}" for name in ODDITIES}
    for name, place in made.items():
        gym.register(name, place)
    yield
    for name in made:
        gym.registry.pop(name)


def auto(folder, name="Numbers-v0", **options):
    env = gym.make(name, render_mode="rgb_array", disable_env_checker=True, **options.pop("of", {}))
    return RecordVideo(env, folder, options.pop("trigger", always), source="auto", **options)


def compared(env):
    """Wait until all that was to be compared is."""

    def over():
        env._replaying.look()
        return not env._replaying.renderer.comparisons

    wait_until(over, "all videos are compared")


def episodes(env, count, steps=4):
    """Episodes that are ended by the next reset, each compared before the next one begins."""
    for _ in range(count):
        env.reset()
        for _ in range(steps):
            env.step(1)
        env.stop_recording()
        compared(env)


def proven(env):
    """The episodes by which it is seen that it happens again."""
    for _ in range(audits.PROOF):
        play(env)
        compared(env)
    assert env.recording_source == "replay"


def test_frames_first_and_then_none(folder):
    env = auto(folder, of={"length": 5})
    assert env.recording_source == offcam.RecordEpisodeStatistics(env).recording_source == "render"
    proven(env)
    assert env.unwrapped.renders == 6 * audits.PROOF
    env.unwrapped.renders = 0
    play(env, 6)  # its 1st, 2nd and 4th video are compared, too
    assert env.unwrapped.renders == 6 * 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.close()
    found = [films.numbers(folder / f"rl-video-episode-{number}.mp4") for number in range(audits.PROOF + 6)]
    assert found == [list(range(6))] * (audits.PROOF + 6)
    films.check(folder)


def test_pictures_are_the_same_either_way(folder):
    env = auto(folder, "CartPole-v1")
    env.action_space.seed(1)
    env.reset(seed=3)
    lengths = [play_on(env) for _ in range(13)]
    assert env.recording_source == "replay"
    env.close()
    twin = gym.make("CartPole-v1", render_mode="rgb_array")
    twin.action_space.seed(1)
    twin.reset(seed=3)
    for number, length in enumerate(lengths):
        pictures = []
        assert play_on(twin, pictures) == length
        shown = [shot.rgb for shot in films.shots(folder / f"rl-video-episode-{number + 1}.mp4")]
        assert len(shown) == len(pictures) == length + 1
        assert all(films.close(one, other) for one, other in zip(shown, pictures, strict=True))
        assert not films.close(shown[0], pictures[-1], 0.2)
    twin.close()


def play_on(env, pictures=None):
    """An episode; returns how many steps it had."""
    env.reset()
    steps, over = 0, False
    while not over:
        if pictures is not None:
            pictures.append(env.render())
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        steps, over = steps + 1, terminated or truncated
    if pictures is None:
        compared(env)
    else:
        pictures.append(env.render())
    return steps


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("GlobalRandom", r"episode 0: it did not happen again: .*observation, reward or flags.*\(at step 1, "),
        ("Clock", r"episode 0: it did not happen again: .*\(at step 1, "),
        ("Flickering", r"episode 0: the picture after step \d of episode 0 differs from the recorded one"),
    ],
)
def test_what_happens_otherwise_has_frames(folder, name, said):
    env = auto(folder, f"{name}-v0")
    with pytest.warns(UserWarning, match="source='auto' records frames from here on: " + said) as caught:
        episodes(env, 2)
    assert sum("source='auto'" in str(each.message) for each in caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        episodes(env, 10)
        env.close()
    assert env.recording_source == "render"
    assert [clip.frames for clip in films.clips(folder).values()] == [5] * 12


def test_what_happens_otherwise_later_is_found_out_by_an_audit(folder):
    env = auto(folder, "HarderFromOutside-v0")
    episodes(env, audits.PROOF + 2)
    assert env.recording_source == "replay"
    env.unwrapped.level = 3
    with pytest.warns(UserWarning, match=r"episode 10 has no video: it did not happen again: the first .*\(at step 0"):
        episodes_until_frames(env)
    env.close()
    there = sorted(clip.episode for clip in films.clips(folder).values() if clip.diverged_at is None)
    assert there[-1] > 10
    assert there == [number for number in range(there[-1] + 1) if number != 10]


def episodes_until_frames(env):
    for _ in range(2):
        episodes(env, 1)
        env.flush()
        if env.recording_source == "render":
            break
    assert env.recording_source == "render"
    episodes(env, 2)


def test_a_wrapper_that_draws_over_the_pictures_keeps_its_frames(folder):
    class Overlay(gym.Wrapper):
        def render(self):
            picture = self.env.render().copy()
            picture[:2, :2] = 255 - picture[:2, :2]
            return picture

    env = gym.make("Numbers-v0", length=5, disable_env_checker=True, render_mode="rgb_array")
    env = RecordVideo(Overlay(env), folder, always, source="auto")
    play(env)
    with pytest.warns(UserWarning, match="the picture after step 0 of episode 0 differs from the recorded one"):
        compared(env)
    play(env)
    env.close()
    assert [films.numbers(folder / f"rl-video-episode-{number}.mp4") for number in range(2)] == [list(range(6))] * 2


def test_pictures_that_are_all_alike_prove_nothing(folder, monkeypatch):
    monkeypatch.setattr(audits, "MOST_VAIN", audits.PROOF + 2)
    env = auto(folder, "Black-v0")
    episodes(env, audits.PROOF + 1)
    assert env.recording_source == "render"
    assert not env._replaying.audits.over
    episodes(env, 1)
    assert env._replaying.audits.over
    env.close()


def test_left_out_frames_are_those_that_frames_would_leave_out(folder):
    env = auto(folder, of={"length": 7}, every_nth_frame=3)
    proven(env)
    env.unwrapped.renders = 0
    play(env, 3)
    assert env.unwrapped.renders == 2 * 4
    env.close()
    for number in range(audits.PROOF + 3):
        assert films.numbers(folder / f"rl-video-episode-{number}.mp4") == [0, 3, 6, 7]


@pytest.mark.parametrize("around", [gym.wrappers.RenderCollection, gym.wrappers.AddRenderObservation])
def test_videos_of_so_many_frames_through_wrappers_that_render(folder, around):
    env = gym.make("Numbers-v0", length=4, disable_env_checker=True, render_mode="rgb_array")
    env = around(env)
    env = RecordVideo(env, folder, step_trigger=lambda step: step % 8 == 2, video_length=6, source="auto")
    for _ in range(40):
        play(env)
        compared(env)
    assert env.recording_source == "replay"
    env.close()
    found = [films.numbers(path) for path in folder.glob("*.mp4")]
    assert found == [[3, 4, 0, 1, 2, 3]] * 20


def test_a_video_in_flight_stays_what_it_is(folder):
    """What is compared while one is being recorded changes the next one."""
    env = auto(folder, of={"length": 5})
    for _ in range(audits.PROOF - 1):
        play(env)
        compared(env)
    play(env)
    env.reset()
    env.step(0)
    compared(env)
    assert env.recording_source == "replay"
    env.unwrapped.renders = 0
    for _ in range(4):
        env.step(0)
    assert env.unwrapped.renders == 4
    env.close()
    assert films.numbers(folder / f"rl-video-episode-{audits.PROOF}.mp4") == list(range(6))


def test_a_worker_that_is_killed_leaves_frames(folder):
    env = auto(folder, of={"length": 3})
    proven(env)
    play(env, 4)
    compared(env)
    env.flush()
    worker = env._replaying.renderer._process
    freeze(worker.pid)
    play(env)
    worker.kill()
    worker.wait(HANG_SECONDS)
    with pytest.warns(UserWarning, match=r"records frames from here on: episode 12 has no video: .*ended \(-9\)"):
        play(env, 2)
    assert env.recording_source == "render"
    env.close()
    assert sorted(clip.episode for clip in films.clips(folder).values()) == [*range(12), 13, 14]


def test_close_waits_for_no_comparison(folder, tmp_path, monkeypatch):
    gate = tmp_path / "gate"
    monkeypatch.setenv("GATE", str(gate))
    gate.touch()
    env = auto(folder, "Gated-v0")
    env.reset()
    env.step(1)
    gate.unlink()
    env.stop_recording()
    wait_until(gate.with_name("waits").exists, "it is being compared")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.close()
        gate.touch()
        episodes(env, 2)  # it can be used again
        env.close()
    assert len(films.videos(folder)) == 3
    assert not env._replaying.audits.over


def test_of_what_cannot_be_replayed_frames_are_recorded_and_that_is_no_warning(folder, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = RecordVideo(Barcode(5), folder, always, source="auto")
        play(env, 2)
        env.close()
    told = [line for line in capfd.readouterr().err.splitlines() if "offcam records frames" in line]
    assert len(told) == 1
    assert "has no spec" in told[0]
    assert env.recording_source == "render"
    assert len(films.videos(folder)) == 2


def test_it_needs_pictures_to_compare(folder):
    with pytest.raises(ValueError, match="Render mode is None"):
        RecordVideo(gym.make("Numbers-v0", render_mode=None, disable_env_checker=True), folder, source="auto")


def test_a_rule_keeps_of_both_kinds_in_one_ranking(folder):
    """Episodes whose videos are of frames, and those after them that are rendered when they are kept."""
    env = auto(folder, "CartPole-v1", trigger=None, keep=offcam.keep.best(4) | offcam.keep.worst(4))
    env.action_space.seed(1)
    env.reset(seed=3)
    lengths = [play_on(env)]
    while env.recording_source != "replay":
        compared(env)
        lengths.append(play_on(env))
    filmed = len(lengths)
    lengths += [play_on(env) for _ in range(40)]
    env.close()
    order = sorted(range(1, len(lengths) + 1), key=lambda episode: lengths[episode - 1])
    shown = [int(name.removesuffix(".mp4").rpartition("-")[2]) for name in films.videos(folder)]
    by_length = sorted(lengths[episode - 1] for episode in shown)
    assert by_length == sorted(lengths[episode - 1] for episode in order[:4] + order[-4:])
    assert min(shown) <= filmed < max(shown)  # of both kinds
    for episode in shown:
        assert len(list(films.shots(folder / f"rl-video-episode-{episode}.mp4"))) == lengths[episode - 1] + 1
    films.check(folder)


def test_what_a_ranking_lets_go_cannot_be_kept_later_as_it_may_be_of_frames(folder):
    with pytest.raises(
        ConfigError, match=r"frames are gone by then \(source='auto' has frames alone until.*source='replay'"
    ):
        auto(folder, keep=~offcam.keep.worst(3))


MAIN = """
import gymnasium as gym, sys, offcam
from envs import Barcode
class Own(Barcode): ...
gym.register("Own-v0", Own)
env = offcam.record(gym.make("Own-v0", length=3, disable_env_checker=True), sys.argv[1], source="auto", every=1)
env.reset()
for _ in range(3):
    env.step(0)
env.close()
"""


def test_an_env_of_the_script(folder, daemon):
    where = {**daemon.environment, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", MAIN, str(folder)], env=where, check=True, capture_output=True, text=True
    )
    assert "offcam records frames: " in done.stderr
    assert "is defined in the script itself" in done.stderr
    assert "Warning" not in done.stderr
    assert films.numbers(folder / "rl-video-episode-0.mp4") == [0, 1, 2, 3]


def test_what_is_compared_later():
    ours = audits.Audits()
    for episode in range(audits.PROOF):
        assert not ours.replays_next(0)
        assert ours.compared(episode, Answer("", pictures=2)) == ""
    by_frames = [number for number in range(1, 3002) if not ours.replays_next(0)]
    assert by_frames == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1024, 2000, 2048, 3000]


def test_steps_that_are_not_there_yet_prove_nothing_and_are_no_divergence():
    ours = audits.Audits()
    for episode in range(audits.PROOF):
        assert ours.compared(episode, Answer("", why="its steps are not there", unread=True)) == ""
    assert (ours.source, ours.over) == ("render", False)
    assert "has no video" in ours.not_made(9, Answer("", why="its steps are not there", unread=True))
    assert ours.over


def test_the_same_episode_twice_is_one():
    ours = audits.Audits()
    for _ in range(3 * audits.PROOF):
        ours.compared(5, Answer("", pictures=2))
    assert ours.source == "render"


def test_what_nobody_can_compare_now_is_compared_next():
    ours = audits.Audits()
    for episode in range(audits.PROOF):
        ours.compared(episode, Answer("", pictures=2))
    assert ours.replays_next(audits.MOST_CHECKS)
    assert not ours.replays_next(0)


def test_what_frames_looked_like():
    from offcam.replay.seen import MOST_FRAMES, FrameComparison, Seen  # noqa: PLC0415 - it needs xxhash

    pictures = [np.full((6, 9, 3), number, np.uint8) for number in range(3)]
    for picture in pictures:
        picture[1, 2] = 9, 8, 7
    seen = Seen()
    for number, memory in enumerate(("flipped", "transposed", "contiguous")):
        shown, _ = frames.tiles([laid_out(pictures[number], memory)], 1.0, (1, 1))
        seen.add(shown, 5 * number)
    found = FrameComparison(seen.packed())
    assert found.numbers == {0, 5, 10}
    assert [found.look(5 * number, picture) for number, picture in enumerate(pictures)] == [True] * 3
    assert (found.pictures, found.differs_at) == (3, None)
    pictures[1][5, 8, 2] += 1
    assert not found.look(5, pictures[1])
    assert found.differs_at == 5
    for number in range(MOST_FRAMES + 10):
        seen.add(frames.tiles([pictures[0]], 1.0, (1, 1))[0], 15 + number)
    assert len(FrameComparison(seen.packed()).numbers) == MOST_FRAMES
