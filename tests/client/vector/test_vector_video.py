"""`offcam.vector.RecordVideo`: grids, autoreset modes, triggers by sub-environment 0."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RenderCollection

import films
import offcam
from envs import Barcode, Look, decode
from offcam.vector import RecordVideo
from triggers import always

pytestmark = pytest.mark.usefixtures("daemon")

HEIGHT, WIDTH = 40, 60
SAME_STEP_WARNING = "Recorded episodes will not contain the last frame of the episode"


def make(index: int, length: int, size: tuple[int, int] = (HEIGHT, WIDTH)):
    """A maker of a sub-environment whose numbers say which one it is: 1000 for the second, and so on."""
    return lambda: Barcode(length, Look(*size), offset=1000 * index)


def vectorised(lengths, mode=AutoresetMode.NEXT_STEP, kind=SyncVectorEnv, size=(HEIGHT, WIDTH)):
    return kind([make(index, length, size) for index, length in enumerate(lengths)], autoreset_mode=mode)


def tiles(path, rows, cols, count):
    """For each picture, the number that each tile shows."""
    found = []
    for shot in films.shots(path):
        numbers = []
        for place in range(count):
            top, left = place // cols * HEIGHT, place % cols * WIDTH
            numbers.append(decode(shot.rgb[top : top + HEIGHT, left : left + WIDTH], HEIGHT, WIDTH))
        for place in range(count, rows * cols):
            top, left = place // cols * HEIGHT, place % cols * WIDTH
            assert shot.rgb[top : top + HEIGHT, left : left + WIDTH].mean() < 4, "an empty tile is black"
        found.append(numbers)
    return found


def steps(envs, count):
    for _ in range(count):
        envs.step(np.zeros(envs.num_envs, int))


# --- grids ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "aspect", "grid"),
    [(1, (1, 1), (1, 1)), (2, (1, 1), (2, 1)), (4, (1, 1), (2, 2)), (7, (1, 1), (4, 2)), (7, (16, 9), (3, 3)),
     (7, (4, 1), (2, 4)), (12, (16, 9), (3, 4)), (5, (100, 1), (1, 5)), (5, (1, 100), (5, 1))],
)  # fmt: skip
def test_grids(folder, count, aspect, grid):
    check_grid(vectorised([20] * count), folder, aspect, grid)


def test_a_grid_of_other_processes_envs(folder):
    check_grid(vectorised([20] * 7, kind=AsyncVectorEnv), folder, (1, 1), (4, 2))


def check_grid(plain, folder, aspect, grid):
    count = plain.num_envs
    envs = RecordVideo(plain, str(folder), aspect)
    envs.reset()
    steps(envs, 4)
    assert (envs.frame_rows, envs.frame_cols) == grid
    envs.close()
    shown = tiles(folder / "rl-video-episode-0.mp4", *grid, count)
    assert shown == [[(1000 * index + number) % 4096 for index in range(count)] for number in range(5)]
    (clip,) = films.clips(folder).values()
    assert (clip.height, clip.width) == (grid[0] * HEIGHT, grid[1] * WIDTH)
    films.check(folder)


def test_seven_are_no_strip(folder):
    """Gymnasium only tries divisors, of which 7 has none."""
    envs = RecordVideo(vectorised([5] * 7), str(folder))
    envs.reset()
    assert (envs.frame_rows, envs.frame_cols) not in {(1, 7), (7, 1)}
    envs.close()


def test_the_first_only(folder):
    envs = RecordVideo(vectorised([5, 3, 4]), str(folder), record_first_only=True)
    envs.reset()
    steps(envs, 5)
    envs.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4", HEIGHT, WIDTH) == [0, 1, 2, 3, 4, 5]


def test_odd_tiles(folder):
    envs = RecordVideo(vectorised([9] * 4, size=(37, 53)), str(folder))
    envs.reset()
    steps(envs, 5)
    envs.close()
    for number, shot in enumerate(films.shots(folder / "rl-video-episode-0.mp4")):
        for place in range(4):
            tile = shot.rgb[place // 2 * 37 :, place % 2 * 53 :]
            assert decode(tile[:37, :53], 37, 53) == (1000 * place + number) % 4096
    films.check(folder)


def test_tiles_of_several_sizes_are_refused_or_shown_but_never_raise(folder):
    envs = SyncVectorEnv([make(0, 9, (40, 60)), make(1, 9, (84, 84))])
    envs = RecordVideo(envs, str(folder))
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        envs.reset()
        steps(envs, 3)
        envs.close()
    films.check(folder)
    (clip,) = films.clips(folder).values()
    assert clip.offered == 4
    assert clip.frames == 4 or clip.error or clip.dropped


# --- autoreset --------------------------------------------------------------------------------------------


def test_next_step(folder):
    envs = RecordVideo(vectorised([3, 20]), str(folder), episode_trigger=always)
    envs.reset()
    steps(envs, 7)  # 3 steps, a reset, 3 steps
    envs.close()
    assert tiles(folder / "rl-video-episode-0.mp4", 2, 1, 2) == [[0, 1000], [1, 1001], [2, 1002], [3, 1003]]
    assert tiles(folder / "rl-video-episode-1.mp4", 2, 1, 2) == [[0, 1004], [1, 1005], [2, 1006], [3, 1007]]
    films.check(folder)
    assert [clip.length for clip in films.clips(folder).values()] == [3, 3]


def test_same_step_has_the_terminal_frame_in_a_sync_vector_env(folder, recwarn):
    envs = RecordVideo(vectorised([3, 20], AutoresetMode.SAME_STEP), str(folder), episode_trigger=always)
    envs.reset()
    steps(envs, 6)
    envs.close()
    assert tiles(folder / "rl-video-episode-0.mp4", 2, 1, 2) == [[0, 1000], [1, 1001], [2, 1002], [3, 1003]]
    assert tiles(folder / "rl-video-episode-1.mp4", 2, 1, 2) == [[0, 1003], [1, 1004], [2, 1005], [3, 1006]]
    assert tiles(folder / "rl-video-episode-2.mp4", 2, 1, 2) == [[0, 1006]]
    assert not [warning for warning in recwarn if SAME_STEP_WARNING in str(warning.message)]
    films.check(folder)


def test_same_step_shows_the_terminal_frames_of_the_others(folder):
    envs = RecordVideo(vectorised([20, 2], AutoresetMode.SAME_STEP), str(folder))
    envs.reset()
    steps(envs, 5)
    envs.close()
    shown = tiles(folder / "rl-video-episode-0.mp4", 2, 1, 2)
    assert shown == [[0, 1000], [1, 1001], [2, 1002], [3, 1001], [4, 1002], [5, 1001]]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_whoever_looks_into_the_vector_env_finds_the_envs_that_were_put_there(folder, mode):
    inner = vectorised([3, 20], mode)
    before = list(inner.envs)
    envs = offcam.record(inner, str(folder), every=1)
    assert all(one is other for one, other in zip(inner.envs, before, strict=True))
    assert all(isinstance(env, Barcode) for env in inner.envs)
    envs.reset()
    steps(envs, 2)
    assert [env.number for env in inner.envs] == [2, 2]
    inner.envs[1].length = 3
    *_, ends, _, _ = envs.step(np.zeros(2, int))
    assert ends.tolist() == [True, True]
    envs.close()


def pickled(envs):
    return pickle.loads(cloudpickle.dumps(envs))  # noqa: S301 - it is our own


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_a_copy_and_another_recorder_have_their_own_terminal_frames(folder, copied):
    inner = RecordVideo(vectorised([2], AutoresetMode.SAME_STEP), str(folder), name_prefix="inner")
    original = RecordVideo(inner, str(folder), name_prefix="outer")
    for envs in (copied(original), original):
        envs.reset()
        steps(envs, 3)
        envs.close()
    shown = {name: tiles(folder / name, 1, 1, 1) for name in films.videos(folder) if "episode-0" in name}
    assert shown == {
        f"{prefix}-episode-0{suffix}.mp4": [[0], [1], [2]] for prefix in ("inner", "outer") for suffix in ("", "-s2")
    }


def test_same_step_elsewhere_is_warned_about_as_gymnasium_does(folder):
    with pytest.warns(UserWarning, match=SAME_STEP_WARNING):
        envs = RecordVideo(
            vectorised([3, 20], AutoresetMode.SAME_STEP, AsyncVectorEnv), str(folder), episode_trigger=always
        )
    envs.reset()
    steps(envs, 4)
    envs.close()
    assert tiles(folder / "rl-video-episode-0.mp4", 2, 1, 2) == [[0, 1000], [1, 1001], [2, 1002]]
    assert tiles(folder / "rl-video-episode-1.mp4", 2, 1, 2) == [[0, 1003], [1, 1004]]


class Numbered(SyncVectorEnv):
    """Is told which to reset as ManiSkill's vector env is."""

    def reset(self, *, seed=None, options=None):
        if options is not None:
            options = {"reset_mask": np.isin(range(self.num_envs), options["env_idx"])}
        return super().reset(seed=seed, options=options)


@pytest.mark.parametrize("by", ["reset_mask", "env_idx"])
def test_disabled_with_a_reset_of_one(folder, by):
    kind = Numbered if by == "env_idx" else SyncVectorEnv
    envs = offcam.record(vectorised([3, 20], AutoresetMode.DISABLED, kind), str(folder), every=1)
    envs.reset()
    steps(envs, 3)
    envs.reset(options={by: [0] if by == "env_idx" else np.array([True, False])})
    steps(envs, 2)
    assert envs.episode_lengths.tolist() == [2, 5]
    envs.reset(options={by: [1] if by == "env_idx" else np.array([False, True])})  # the first goes on
    steps(envs, 1)
    envs.close()
    assert tiles(folder / "rl-video-episode-0.mp4", 2, 1, 2) == [[0, 1000], [1, 1001], [2, 1002], [3, 1003]]
    assert tiles(folder / "rl-video-episode-1.mp4", 2, 1, 2) == [
        [0, 1003], [1, 1004], [2, 1005], [2, 1000], [3, 1001],
    ]  # fmt: skip
    films.check(folder)


def test_resets_of_others_add_nothing_where_only_the_first_is_shown(folder):
    envs = RecordVideo(vectorised([9, 2], AutoresetMode.DISABLED), str(folder), record_first_only=True)
    envs.reset()
    for _ in range(3):
        steps(envs, 2)
        envs.reset(options={"reset_mask": np.array([False, True])})
    envs.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4", HEIGHT, WIDTH) == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_video_length_over_episodes(folder, mode):
    envs = RecordVideo(vectorised([3, 4], mode), str(folder), step_trigger=lambda step: step == 1, video_length=5)
    envs.reset()
    for _ in range(8):
        _, _, terminations, truncations, _ = envs.step(np.zeros(2, int))
        over = terminations | truncations
        if mode is AutoresetMode.DISABLED and over.any():
            envs.reset(options={"reset_mask": over})
    envs.close()
    assert films.videos(folder) == ["rl-video-step-1.mp4"]
    assert len(tiles(folder / "rl-video-step-1.mp4", 2, 1, 2)) == 5
    films.check(folder)


# --- render modes, arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [None, "human", "ansi"])
def test_render_modes_without_images_are_refused(folder, mode):
    envs = SyncVectorEnv([lambda: Barcode(render_mode=mode)])
    with pytest.raises(ValueError, match=rf"Render mode is {mode}, .*incompatible with RecordVideo"):
        RecordVideo(envs, str(folder))
    assert not folder.exists()
    envs.close()


def test_a_list_render_mode_shows_each_last_frame(folder):
    envs = SyncVectorEnv([lambda: RenderCollection(make(0, 9)()), lambda: RenderCollection(make(1, 9)())])
    envs = RecordVideo(envs, str(folder))
    envs.reset()
    steps(envs, 3)
    envs.close()
    assert tiles(folder / "rl-video-episode-0.mp4", 2, 1, 2) == [[n, 1000 + n] for n in range(4)]


def test_every_constructor_argument_is_recorded(folder):
    arguments = {
        "video_folder": str(folder), "video_aspect_ratio": (4, 3), "record_first_only": False,
        "episode_trigger": always, "step_trigger": always, "video_length": 3, "name_prefix": "v", "fps": 7,
        "disable_logger": False, "gc_trigger": always, "overflow": "block", "source": "render",
        "if_exists": "new", "strict": True,
        "record_envs": [0], "per_env": True, "every_nth_frame": 2, "max_size": [40, 30], "crf": 30, "preset": "fast",
        "encode": "now", "steps": True, "steps_limit": 10**9,
    }  # fmt: skip
    names = list(inspect.signature(RecordVideo).parameters)[1:]
    elsewhere = {"on_video", "keep", "keep_bytes", "last_seconds", "seconds_after"}
    assert [*arguments] == [name for name in names if name not in {"resume", *elsewhere}]  # the one is `if_exists`
    envs = RecordVideo(vectorised([3]), **arguments, on_video=print)
    assert envs._saved_kwargs == arguments  # where RecordConstructorArgs keeps them
    envs.close()


@pytest.mark.skipif(
    not hasattr(gym.wrappers.vector, "RecordVideo"), reason="this Gymnasium has no RecordVideo for vector envs"
)
def test_the_arguments_are_gymnasiums_in_its_order():
    ours = inspect.signature(RecordVideo).parameters
    theirs = inspect.signature(gym.wrappers.vector.RecordVideo).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert ours[name].kind == parameter.kind
        if name != "gc_trigger":
            assert ours[name].default == parameter.default


@pytest.mark.parametrize("aspect", [(0, 1), (1, -1), (1,), (1, 2, 3)])
def test_aspects_that_are_none(folder, aspect):
    envs = vectorised([3])
    with pytest.raises(offcam.OffcamError, match="video_aspect_ratio must be"):
        RecordVideo(envs, str(folder), aspect)
    envs.close()


def test_closing_twice_and_being_dropped(folder):
    envs = RecordVideo(vectorised([3, 3]), str(folder))
    envs.reset()
    steps(envs, 2)
    envs.close()
    envs.close()
    del envs
    envs = RecordVideo(vectorised([3, 3]), str(folder / "two"))
    envs.reset()
    steps(envs, 2)
    del envs
    assert films.videos(folder) == ["rl-video-episode-0.mp4"]
