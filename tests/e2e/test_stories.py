"""``offcam clip``, ``gif``, ``grid`` and ``timelapse``: the very frames, their times, and what is said beside them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3

import av
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from PIL import Image

import commandline
import films
import offcam
import runs
from commandline import one_line
from envs import Barcode, Look, decode
from offcam_runs.format import INDEX_NAME

SMALL, LARGE = Look(84, 84), Look(100, 132)


class Counted(Barcode):
    """Its frames show a hundred times the episode's number, and the step; its reward is the step's number."""

    def __init__(self, lengths, look=SMALL, fps=30):
        super().__init__(lengths[0], look, fps)
        self.lengths, self.played = lengths, -1

    def reset(self, **options):
        self.played += 1
        self.length, self._offset = self.lengths[self.played % len(self.lengths)], 100 * self.played
        return super().reset(**options)

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, float(self.number), *rest


def record(folder, lengths, *, look=SMALL, fps=30, **options):
    env = offcam.record(Counted(lengths, look, fps), folder, overflow="block", **{"every": 1, **options})
    for _ in lengths:
        env.reset()
        while not any(env.step(0)[2:4]):
            pass
    env.close()
    return folder


@pytest.fixture(scope="module")
def recorded(shared_daemon, tmp_path_factory):
    """Runs: one with steps, and a larger one without that is slower and has other lengths."""
    place = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFFCAM_ADDR", shared_daemon.address)
        record(place / "with", [5, 9, 6, 8], steps=True)
        record(place / "without", [12, 7], look=LARGE, fps=20)
        record(place / "third", [9, 9], steps=True, every_nth_frame=3)
        step_trigger = {"every": None, "step_trigger": lambda step: step == 0, "video_length": 18}
        record(place / "long", [5, 6, 7], steps=True, **step_trigger)
        record(place / "long-without", [5, 6, 7], **step_trigger)
    return place


@pytest.fixture
def made(recorded, tmp_path):
    """Run a verb in the folder of the runs; it writes into another one, where nothing else is left."""

    def run(*words, name="made.mp4", code=0):
        done = commandline.run(*words, "-o", tmp_path / name, cwd=recorded)
        if code:
            error = one_line(done, code)
            assert [path.name for path in tmp_path.iterdir()] == []
            return error
        assert (done.returncode, done.stderr) == (0, "")
        assert [path.name for path in tmp_path.iterdir()] == [name]
        return tmp_path / name

    return run


def shown(path, look=SMALL):
    """The numbers in the frames of a video, by the time of each in seconds."""
    return {round(float(shot.time), 4): decode(shot.rgb, look.height, look.width) for shot in films.shots(path)}


def at(fps, *numbers):
    return {round(frame / fps, 4): number for frame, number in enumerate(numbers)}


def seconds(path):
    with av.open(str(path)) as file:
        return round(float(file.streams.video[0].duration * file.streams.video[0].time_base), 4)


def said(path):
    """The subtitles: begin, duration and text of each."""
    with av.open(str(path)) as file:
        if not file.streams.subtitles:
            return []
        track = file.streams.subtitles[0]
        assert track.codec_context.name == "mov_text"
        packets = [(packet.pts, packet.duration, bytes(packet)) for packet in file.demux(track) if packet.size > 2]
        base = track.time_base
        return [
            (round(float(pts * base), 4), round(float(duration * base), 4), data[2:].decode())
            for pts, duration, data in packets
        ]


def chapters(path):
    with av.open(str(path)) as file:
        found = []
        for each in file.chapters():
            base = each["time_base"].numerator / each["time_base"].denominator
            found.append((round(each["start"] * base, 3), round(each["end"] * base, 3), each["metadata"]["title"]))
        return found


# --- clip -------------------------------------------------------------------------------------------------


def test_a_whole_episode_and_its_steps_as_subtitles(made):
    path = made("clip", "with", "--episode", "1")
    assert shown(path) == at(30, *range(100, 110))
    assert seconds(path) == pytest.approx(10 / 30, abs=1e-4)
    texts = [f"episode 1, step {step}, reward {step}, return {step * (step + 1) // 2}" for step in range(1, 10)]
    assert said(path) == [
        (round(frame / 30, 4), round(1 / 30, 4), text)
        for frame, text in enumerate(["episode 1, step 0, return 0", *texts])
    ]
    assert chapters(path) == []


def test_the_steps_that_are_asked_for(made):
    path = made("clip", "with", "--episode", "3", "--steps", "3:7")
    assert shown(path) == at(30, 303, 304, 305, 306)
    assert said(path)[0] == (0, round(1 / 30, 4), "episode 3, step 3, reward 3, return 6")
    assert len(said(path)) == 4


@pytest.mark.parametrize(("part", "first", "last"), [("3:", 3, 8), (":2", 0, 1), ("5:100", 5, 8)])
def test_either_end_may_be_left_out(made, part, first, last):
    assert list(shown(made("clip", "with", "--episode", "3", "--steps", part)).values()) == list(
        range(300 + first, 301 + last)
    )


def test_a_part_in_seconds_of_a_run_without_steps(made):
    path = made("clip", "without", "--episode", "0", "--from", "0.1", "--to", "0.3", "--speed", "2")
    assert shown(path, LARGE) == at(40, 2, 3, 4, 5)
    assert said(path) == [(0, 0.1, "episode 0, return 78")]


def test_what_was_left_out_keeps_its_time(made):
    """Every third frame is recorded, and the last: what is shown at a time is the picture before."""
    path = made("clip", "third", "--episode", "1", "--steps", "4:9")
    assert shown(path) == {0: 103, round(2 / 30, 4): 106, round(4 / 30, 4): 106}
    assert seconds(path) == pytest.approx(5 / 30, abs=1e-4)
    assert len(said(path)) == 5


def test_an_episode_within_a_longer_video(made):
    path = made("clip", "long", "--episode", "1")
    assert shown(path) == at(30, *range(100, 107))
    assert said(path)[-1] == (0.2, round(1 / 30, 4), "episode 1, step 6, reward 6, return 21")
    assert list(shown(made("clip", "long", "--episode", "2", "--steps", "1:3", "--force")).values()) == [201, 202]


def test_without_steps_it_is_not_known_where_one_is_in_it(made):
    assert "give seconds, --from and --to" in made("clip", "long-without", "--episode", "1", "--steps", "1:2", code=2)
    assert len(shown(made("clip", "long-without", "--episode", "1"))) == 18


def test_a_sub_environment(recorded, made, shared_daemon, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", shared_daemon.address)
    envs = SyncVectorEnv([lambda: Counted([4, 4]), lambda: Counted([2, 5])], autoreset_mode=AutoresetMode.NEXT_STEP)
    envs = offcam.vector.RecordVideo(
        offcam.vector.RecordEpisodeStatistics(envs), str(recorded / "vector"), step_trigger=lambda step: step == 0,
        video_length=9, steps=True, overflow="block",
    )  # fmt: skip
    envs.reset()
    for _ in range(9):
        envs.step(np.zeros(2, int))
    envs.close()
    path = made("clip", "vector", "--episode", "1", "--env-index", "1")
    right = [decode(shot.rgb[:, 84:], 84, 84) for shot in films.shots(path)]
    assert right == [100, 101, 102, 103, 104, 105]
    assert said(path)[-1][2] == "episode 1, step 5, reward 5, return 15"


def test_an_episode_that_was_cut_off_has_its_video_and_one_whose_file_is_gone_has_none(
    recorded, made, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("copied") / "run"
    shutil.copytree(recorded / "with", folder)
    with contextlib.closing(sqlite3.connect(folder / INDEX_NAME)) as index, index:
        index.execute("DELETE FROM episodes WHERE episode = 3")
        index.execute("UPDATE clips SET state = 'aborted', complete = 0 WHERE episode = 3")
    (folder / "rl-video-episode-1.mp4").unlink()
    path = made("clip", folder, "--episode", "3", "--steps", "6:")
    assert shown(path) == at(30, 306, 307, 308)
    assert said(path)[-1][2] == "episode 3, step 8, reward 8, return 36"
    path.unlink()
    assert "has no video: those that have are 0, 2" in made("clip", folder, "--episode", "1", code=2)
    path = made("timelapse", folder)
    assert [title for _, _, title in chapters(path)] == ["episode 0, return 15", "episode 2, return 21"]


# --- grid -------------------------------------------------------------------------------------------------


def test_a_grid_begins_together_and_what_is_over_stays(made):
    path = made("grid", "with", "without", "--no-labels")
    pictures = list(films.shots(path))
    assert pictures[0].rgb.shape == (100, 2 * 132, 3)
    left = {round(shot.time * 30): decode(shot.rgb[8:92, 24:108], 84, 84) for shot in pictures}
    right = {round(shot.time * 30): decode(shot.rgb[:, 132:], 100, 132) for shot in pictures}
    assert left == {tick: 300 + min(tick, 8) for tick in left}
    begins = [round(frame * 30 / 20) for frame in range(8)]
    assert right == {tick: 100 + sum(begin <= tick for begin in begins) - 1 for tick in right}
    assert {*range(9), *begins} <= set(left)
    assert pictures[0].rgb[:7, :20].max() < 40  # black around what is smaller
    assert seconds(path) == pytest.approx(8 / 20, abs=1e-4)


def test_a_grid_of_episodes_says_above_each_what_it_is(made):
    path = made("grid", "with", "--episode", "0", "--episode", "1", "--episode", "2")
    last = list(films.shots(path))[-1].rgb
    assert last.shape == (2 * 104, 2 * 84, 3)
    tiles = [last[:104, :84], last[:104, 84:], last[104:, :84]]
    assert [decode(tile[20:], 84, 84) for tile in tiles] == [5, 109, 206]
    assert all(tile[:20].max() > 150 for tile in tiles)
    assert last[104:, 84:].max() < 40


def test_a_grid_is_made_smaller_and_picked_from(made):
    path = made("grid", "with", "without", "--pick", "best", "--no-labels", "--width", "132")
    pictures = list(films.shots(path))
    assert pictures[0].rgb.shape == (50, 132, 3)
    assert decode(pictures[-1].rgb[4:46, 12:54], 42, 42) == 109
    assert decode(pictures[-1].rgb[:, 66:], 50, 66) == 12


def test_the_label_of_a_run_whose_name_is_no_utf8(made, recorded, tmp_path_factory):
    """OpenCV, which writes it, ends the process at bytes that are none."""
    path = tmp_path_factory.mktemp("odd") / os.fsdecode(b"r\xfcn")
    shutil.copytree(recorded / "with", path)
    (first,) = [shot.rgb for shot in films.shots(made("grid", path, "--episode", "0"))][:1]
    assert first.shape == (104, 84, 3)
    assert first[:20].max() > 150


# --- timelapse --------------------------------------------------------------------------------------------


def test_a_timelapse_has_a_chapter_for_each_stage_and_goes_on_saying_steps(made):
    path = made("timelapse", "with", "--stages", "2", "--pick", "best")
    assert shown(path) == at(30, *range(100, 110), *range(300, 309))
    assert chapters(path) == [(0, 0.333, "episode 1, return 45"), (0.333, 0.633, "episode 3, return 36")]
    texts = said(path)
    assert len(texts) == 19
    assert texts[10][0] == round(10 / 30, 4)
    assert texts[10][2] == "episode 3, step 0, return 0"
    assert texts[-1][2] == "episode 3, step 8, reward 8, return 36"


def test_a_timelapse_of_a_run_without_steps_says_each_episode(made):
    path = made("timelapse", "without", "--width", "66", "--speed", "0.5")
    pictures = list(films.shots(path))
    assert pictures[0].rgb.shape == (50, 66, 3)
    assert [decode(shot.rgb, 50, 66) for shot in pictures] == [*range(13), *range(100, 108)]
    assert said(path) == [(0, 1.3, "episode 0, return 78"), (1.3, 0.8, "episode 1, return 28")]


# --- gif --------------------------------------------------------------------------------------------------


def animation(path):
    """Its numbers, and for how many milliseconds each is shown."""
    with Image.open(path) as image:
        found = []
        for number in range(image.n_frames):
            image.seek(number)
            picture = np.asarray(image.convert("RGB").resize((84, 84), Image.Resampling.NEAREST))
            found.append((decode(picture, 84, 84), image.info["duration"]))
        assert image.info["loop"] == 0
    return found


def test_a_gif_has_each_frame_at_its_time(made):
    found = animation(made("gif", "with", "--episode", "1", name="made.gif"))
    assert [number for number, _ in found] == list(range(100, 110))
    assert [ms for _, ms in found] == [30, 40, 30, 30, 40, 30, 30, 40, 30, 30]


def test_a_gif_of_fewer_frames_is_as_long_and_ends_with_the_last(made):
    found = animation(
        made("gif", "with", "--episode", "3", "--steps", "1:", "--fps", "10", "--width", "168", name="made.gif")
    )
    assert found == [(301, 100), (304, 100), (307, 100), (308, 100)]


def test_an_overlay_lies_over_the_pictures(recorded, tmp_path):
    pictures = []
    for words in ([], ["--overlay"]):
        target = tmp_path / f"made{len(words)}.gif"
        done = commandline.run("gif", "with", "--episode", "1", "--width", "336", "-o", target, *words, cwd=recorded)
        assert done.returncode == 0
        with Image.open(target) as image:
            pictures.append(np.asarray(image.convert("RGB")).astype(int))
    changed = np.abs(pictures[0] - pictures[1]).max(axis=2) > 40
    assert changed[:18].any()
    assert not changed[40:].any()


def test_a_webp(made):
    found = animation(made("gif", "with", "--episode", "0", "--speed", "3", name="made.webp"))
    assert [number for number, _ in found] == list(range(6))
    assert sum(ms for _, ms in found) == pytest.approx(6 / 90 * 1000, abs=3)


@pytest.mark.parametrize(("pick", "episode"), [("best", 1), ("worst", 0), ("last", 3)])
def test_which_episode_without_its_number(recorded, tmp_path, pick, episode):
    done = commandline.run("gif", "with", "--pick", pick, "-o", tmp_path / "made.gif", cwd=recorded)
    assert f", of episode {episode}, return " in done.stdout
    numbers = [number for number, _ in animation(tmp_path / "made.gif")]
    assert numbers == list(range(100 * episode, 100 * episode + len(numbers)))


# --- what cannot be made ----------------------------------------------------------------------------------


def test_each_bad_input_is_one_line_and_leaves_nothing(made, recorded, tmp_path):
    runs.write(recorded / "pictureless", [1.0, 2.0])
    for words, why in (
        (("clip", "with", "--episode", "17"), "with has no episode 17: `offcam ls with --all` has"),
        (("clip", "pictureless", "--episode", "1"), "episode 1 of pictureless has no video: no episode has one"),
        (("timelapse", "pictureless"), "no finished episode of pictureless has a video"),
        (("grid", "with", "pictureless"), "no finished episode of pictureless has a video"),
        (("clip", "pictureless"), "no finished episode of pictureless has a video"),
        (("clip", "with", "--env-index", "1"), "give its number, --episode, too"),
        (("clip", "nowhere", "--episode", "1"), "nowhere"),
        (("clip", "with", "--episode", "1", "--steps", "3"), "--steps takes A:B"),
        (("clip", "with", "--episode", "1", "--steps", "30:40"), "its video has the steps 0 to 9"),
        (("clip", "with", "--episode", "1", "--steps", "1:2", "--to", "1"), "give one of them"),
        (("clip", "with", "--episode", "1", "--from", "7"), "it is shown from 0 to 0.333333 s"),
        (("clip", "with", "--episode", "1", "--speed", "90"), "2700 frames a second"),
        (("grid", "with", *[word for number in range(10) for word in ("--episode", f"{number % 4}")]), "at most 9"),
        (("gif", "with", "--episode", "1"), "-o must end in .gif or .webp"),
    ):
        assert why in made(*words, code=2)


def test_a_folder_that_holds_one_run_means_that(made, recorded, tmp_path_factory):
    above = tmp_path_factory.mktemp("above")
    shutil.copytree(recorded / "with", above / "seeds" / "only")
    path = made("clip", above, "--episode", "0")
    assert shown(path) == at(30, *range(6))
    path.unlink()
    shutil.copytree(recorded / "with", above / "seeds" / "other")
    for words in (("clip", above, "--episode", "0"), ("gif", above, "--episode", "0"), ("timelapse", above)):
        why = made(*words, name="made.gif" if words[0] == "gif" else "made.mp4", code=2)
        assert f"holds 2 runs, and this shows one: give that, as {above / 'seeds' / 'only'}" in why


def test_what_is_there_is_replaced_only_if_asked_for(recorded, tmp_path):
    path = tmp_path / "made.mp4"
    path.write_text("precious")
    words = ("clip", "with", "--episode", "0", "-o", path)
    assert "is there already: give another name, or --force" in one_line(commandline.run(*words, cwd=recorded))
    assert path.read_text() == "precious"
    done = commandline.run(*words, "--force", "--json", cwd=recorded)
    found = json.loads(done.stdout)
    assert (found["frames"], found["width"], found["height"], found["fps"]) == (6, 84, 84, 30)
    assert found["shown"] == [{"run": "with", "episode": 0, "env_index": 0}]
    assert films.numbers(path) == list(range(6))


def test_a_video_that_is_damaged_is_said_and_nothing_is_left(recorded, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for file in (recorded / "with").glob("*.*"):
        data = file.read_bytes()
        (folder / file.name).write_bytes(data[:-900] if "episode-1" in file.name else data)
    (tmp_path / "out").mkdir()
    done = commandline.run("timelapse", folder, "-o", tmp_path / "out" / "made.mp4")
    assert "rl-video-episode-1.mp4" in one_line(done)
    assert list((tmp_path / "out").iterdir()) == []
