"""`offcam recover`: what it makes of the leftovers of a daemon that was killed, without a daemon."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import films
import offcam
from envs import Barcode, play
from offcam_proto.codec import pack_record
from offcam_proto.messages import OpenClip, OpenStream
from offcam_proto.records import ClipRecord
from offcam_runs.format import INDEX_NAME
from offcam_runs.run import read_run
from offcamd.reports.verify import verify
from offcamd.store.entries import StreamOwner
from offcamd.store.index import RunIndex
from offcamd.store.recovery import recover_folder
from offcamd.video.files import is_fragmented
from waiting import Process, wait_until

if TYPE_CHECKING:
    from pathlib import Path

KILLED_WRITER = """
import os, signal, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from envs import encode
from offcamd.video.mp4 import VideoWriter
writer = VideoWriter(Path(sys.argv[1]), width=84, height=84, fps=Fraction(30), preset="ultrafast", crf=23)
picture = np.full((126, 84), 128, np.uint8)
for number in range(int(sys.argv[2])):
    picture[:84] = encode(number, 84, 84)
    writer.write(picture, number)
os.kill(os.getpid(), signal.SIGKILL)
"""
STREAM = b"s" * 16


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """A file whose writer was killed after 41 frames: 40 are in it, and it was never finished."""
    part = tmp_path_factory.mktemp("killed") / "x.mp4.part"
    tests = str(sys.modules["films"].__file__).removesuffix("/films.py")
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WRITER, str(part), "41"], check=False, env={"PYTHONPATH": tests}
    )
    assert done.returncode == -9
    assert is_fragmented(part)
    return part


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "run"
    place.mkdir()
    return place


def open_clip(index: RunIndex, number: int = 0, stream: bytes = STREAM) -> str:
    """A clip that a daemon was recording; returns its file's name once it would have been final."""
    file = f"v-episode-{number}.mp4"
    index.open_stream(
        OpenStream(
            handle=0, stream=stream, folder="/x", prefix="v", suffix=0, video=True, env_id="E", num_envs=1,
            vector=False, started=1.0,
        ),
        StreamOwner("h", 1, "c"),
    )  # fmt: skip
    index.clip_opened(stream, OpenClip(0, number, file[:-4], 1, 30.0, 1, 1, number, 0, 1.0, 100), file)
    return file


def test_parts_without_an_index(killed, folder, offcam_command):
    names = ["rl-video-episode-7.mp4", "eval-episode-3-s2-part4.mp4"]
    for name in names:
        shutil.copy(killed, folder / f"{name}.part")
    done = offcam_command("recover", str(folder), "--json")
    assert done.returncode == 0, done
    said = json.loads(done.stdout)
    assert said["outcome"] == "lossless"
    assert {clip["file"]: (clip["state"], clip["frames"], clip["loss"]) for clip in said["clips"]} == dict.fromkeys(
        names, ("recovered", 40, "")
    )
    clips = films.clips(folder)
    assert {(clip.name, clip.part, clip.episode) for clip in clips.values()} == {
        ("rl-video-episode-7", 1, 7),
        ("eval-episode-3", 4, 3),
    }
    for name in names:
        assert films.numbers(folder / name) == list(range(40))
        assert not is_fragmented(folder / name)  # a plain MP4, as all others
        assert (clips[name].state, clips[name].fps, clips[name].duration) == ("recovered", 30.0, 40 / 30)
    assert {stream.state for stream in read_run(folder, "all").streams} == {"lost"}
    films.check(folder)
    again = offcam_command("recover", str(folder))
    assert (again.returncode, again.stdout) == (1, "nothing to recover.\n")
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, INDEX_NAME])


def test_a_half_written_frame_is_cut_off_and_counts_as_lossy(killed, folder, offcam_command):
    index = RunIndex.open(folder)
    file = open_clip(index)
    index.close()
    part = folder / f"{file}.part"
    shutil.copy(killed, part)
    with part.open("r+b") as stream:
        stream.truncate(part.stat().st_size - 7)
    assert any(problem.kind == "unfinished" for problem in verify(folder).problems)
    done = offcam_command("recover", str(folder))
    assert done.returncode == 3
    assert f"{file}: recovered, 39 frames; the last frame was half written" in done.stdout
    assert films.numbers(folder / file) == list(range(39))
    films.check(folder)
    assert offcam_command("recover", str(folder)).returncode == 1


def test_the_clients_account_tells_what_is_lost(killed, folder):
    index = RunIndex.open(folder)
    file = open_clip(index)
    record = ClipRecord(0, file[:-4], 1, 0, 0, 44, 44.0, 45, {"credit": 2}, 30.0, 1.0, complete=True)
    index.apply(STREAM, 1, [pack_record(record)])
    index.close()
    shutil.copy(killed, folder / f"{file}.part")
    recovery = recover_folder(folder)
    assert recovery.outcome == "lossy"
    assert recovery.clips[0].loss == "3 frames that the client sent are in no file"
    (clip,) = read_run(folder, "all").clips
    assert (clip.frames, clip.offered, clip.dropped) == (40, 45, {"credit": 2, "lost": 3})
    films.check(folder)


def test_a_daemon_that_died_between_naming_a_file_and_noting_it(killed, folder):
    index = RunIndex.open(folder)
    file = open_clip(index)
    index.close()
    shutil.copy(killed, folder / file)
    assert recover_folder(folder).outcome == "lossless"
    assert films.clips(folder)[file].state == "recovered"
    films.check(folder)


def test_a_daemon_that_died_before_the_first_frame(folder):
    index = RunIndex.open(folder)
    for number in range(2):
        open_clip(index, number)
    index.close()
    (folder / "v-episode-1.mp4.part").touch()
    recovery = recover_folder(folder)
    assert recovery.outcome == "lossy"
    assert [(clip.state, clip.frames) for clip in recovery.clips] == [("aborted", 0)] * 2
    assert [path.name for path in folder.iterdir()] == [INDEX_NAME]
    assert [problem.kind for problem in verify(folder).problems] == ["unchecked"] * 2  # no video at all is not well


def test_an_older_whole_video_is_not_replaced_by_a_part_of_one(killed, folder):
    index = RunIndex.open(folder)
    file = open_clip(index)
    index.close()
    (folder / file).write_bytes(b"whole")
    shutil.copy(killed, folder / f"{file}.part")
    recovery = recover_folder(folder)
    assert [clip.file for clip in recovery.clips] == [f"{file}.part"]
    assert (folder / file).read_bytes() == b"whole"
    assert films.numbers(folder / f"{file}.part") == list(range(40))
    assert verify(folder).ok
    assert recover_folder(folder).outcome == "nothing"
    index = RunIndex.open(folder)  # recorded anew, which writes that part
    open_clip(index, stream=b"t" * 16)
    index.close()
    assert [clip.stream_id for clip in read_run(folder, "all").clips] == [
        (b"t" * 16).hex()
    ]  # the older clip is replaced


def test_what_is_not_ours_is_left_alone(folder, offcam_command):
    download = folder / "film.mp4.part"
    download.write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0" + bytes(1000))
    done = offcam_command("recover", str(folder), "--json")
    assert (done.returncode, json.loads(done.stdout)["outcome"]) == (1, "nothing")
    assert [path.name for path in folder.iterdir()] == ["film.mp4.part"]
    assert download.stat().st_size == 1016
    missing = offcam_command("recover", str(folder / "nowhere"))
    assert missing.returncode == 2
    assert "check the path" in missing.stderr


def test_it_may_be_killed_itself(killed, folder, offcam_command):
    rng = random.Random(0)
    for number in range(12):
        shutil.copy(killed, folder / f"v-episode-{number}.mp4.part")
    command = [sys.executable, "-m", "offcamd", "recover", str(folder)]
    for _ in range(3):
        left = len(list(folder.glob("*.part")))
        with Process(command, stdout=subprocess.DEVNULL) as process:
            wait_until(
                lambda process=process, left=left: (
                    process.poll() is not None or len(list(folder.glob("*.part"))) <= left - 3
                ),
                "some are recovered",
            )
            time.sleep(rng.random() / 100)
            process.kill()
    left = list(folder.glob("*.part"))  # none, where the last one was done before it could be killed
    assert offcam_command("recover", str(folder)).returncode in ((0,) if left else (0, 1))
    assert len(films.clips(folder)) == 12
    for number in range(12):
        assert films.numbers(folder / f"v-episode-{number}.mp4") == list(range(40))
    assert {clip.state for clip in read_run(folder, "all").clips} == {"recovered"}
    films.check(folder)
    assert len(list(folder.iterdir())) == 13


# --- a video library that does not work -----------------------------------------------------------------------

BROKEN = """
import sys, types
from offcamd import __main__
from offcamd.video import packet_file
def broken(*_, **__): raise TypeError("open() got an unexpected keyword argument")
packet_file.av.open = broken
sys.exit(__main__.main())
"""


@pytest.mark.parametrize("known", [True, False])
def test_it_ends_in_no_traceback_where_the_video_library_fails(killed, folder, known):
    """The frames are counted by the file's boxes; it has its name, and can be looked into once the library works."""
    shutil.copy(killed, folder / "x-episode-3.mp4.part")
    if known:
        index = RunIndex.open(folder)
        index.open_stream(OpenStream(1, STREAM, str(folder), "x", 0, True, "", 1, False, 1.0), StreamOwner("h", 1, "c"))
        index.clip_opened(STREAM, OpenClip(1, 0, "x-episode-3", 1, 30.0, 1, 1, 3, 0, 1.0, 0), "x-episode-3.mp4")
        index.close()
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, "recover", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "x-episode-3.mp4: recovered, 40 frames; its frames could not be looked at, as PyAV" in done.stdout
    assert "offcam doctor" in done.stdout
    (clip,) = read_run(folder, "all").clips
    assert (clip.state, clip.frames, clip.file) == ("recovered", 40, "x-episode-3.mp4")
    assert films.numbers(folder / "x-episode-3.mp4") == list(range(40))
    assert verify(folder).ok


def test_a_session_goes_on_behind_an_unfinished_video_that_no_index_knows(daemon, killed, tmp_path):
    """As of a daemon that was killed at the moment at which it opened the video."""
    folder = tmp_path / "run"

    def training() -> None:
        env = offcam.record(Barcode(3), folder, every=1, overflow="block", resume=True)
        play(env)
        env.close()

    training()
    shutil.copy(killed, folder / "rl-video-episode-3.mp4.part")
    (folder / "rl-video-episode-9-s2.mp4.part").write_bytes(b"another one's")
    training()
    run = read_run(folder)
    assert (run.sessions, run.episodes.episode.tolist()) == ((1,), [0, 4])
    assert [(clip.file, clip.state) for clip in run.clips] == [
        ("rl-video-episode-0.mp4", "final"),
        ("rl-video-episode-3.mp4", "recovered"),
        ("rl-video-episode-4.mp4", "final"),
    ]
