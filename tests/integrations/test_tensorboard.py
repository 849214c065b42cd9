"""TensorBoard: what its own reader finds, beside what the user writes with a writer of their own."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys

import pytest
from PIL import Image
from syncing import EPISODES, EVERY, state, train, wait_sent
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

import offcam
from made import make_run, make_video
from offcam.sync.sinks.tensorboard import MOST_BYTES
from waiting import wait_until

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]

ALL = {"scalars": 0, "images": 0, "tensors": 0}


def read(folder):
    found = EventAccumulator(str(folder), size_guidance=ALL)
    found.Reload()
    return found


def scalars(folder, tag):
    return [(each.step, each.value) for each in read(folder).Scalars(tag)]


def test_the_whole_run_is_there_and_so_are_the_users_own_points(folder, tmp_path):
    writer = EventFileWriter(str(tmp_path / "logs"))

    def log(episode, return_):
        writer.add_event(Event(step=episode, summary=Summary(value=[Summary.Value(tag="own", simple_value=return_)])))

    returns = train(folder, f"tensorboard:logdir={tmp_path / 'logs'}", log)
    writer.close()
    wait_sent(folder)
    assert scalars(tmp_path / "logs", "own") == list(enumerate(returns))
    assert scalars(tmp_path / "logs" / "offcam", "offcam/return") == list(enumerate(returns))
    assert scalars(tmp_path / "logs" / "offcam", "offcam/length") == list(enumerate(returns))
    found = read(tmp_path / "logs" / "offcam")
    images = found.Images("offcam/video")
    assert [image.step for image in images] == list(range(0, EPISODES, EVERY))
    for image in images:
        assert len(image.encoded_image_string) <= MOST_BYTES
        with Image.open(io.BytesIO(image.encoded_image_string)) as gif:
            assert gif.is_animated
            assert gif.size == (image.width, image.height)
            shown = gif.n_frames
        assert 1 < shown <= returns[image.step] + 1
    first = offcam.load(folder).episodes[0]
    assert found.Scalars("offcam/return")[0].wall_time == pytest.approx(first.started + first.duration)


def test_a_relative_folder_is_the_one_in_which_a_script_s_own_writer_writes(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    EventFileWriter("logs").close()
    train(folder, "tensorboard:logdir=logs")
    wait_sent(folder)
    assert len(scalars(tmp_path / "logs" / "offcam", "offcam/return")) == EPISODES


WITHOUT = """
import sys
sys.modules["torch"] = sys.modules["tensorflow"] = None  # whoever imports them fails
from offcam.sync.worker import SyncWorker
from offcam_runs.sync.process import SyncRequest
assert SyncWorker(SyncRequest(folder=sys.argv[1], tracker="tensorboard", tries=1)).run()
"""


def test_neither_torch_nor_tensorflow_is_needed(tmp_path):
    run = make_run(tmp_path / "run", 3, 1, video=make_video(tmp_path / "video.mp4"))
    subprocess.run([sys.executable, "-c", WITHOUT, str(run)], check=True)
    found = read(run / "tensorboard" / "offcam")
    assert [each.step for each in found.Scalars("offcam/return")] == [0, 1, 2]
    assert [each.step for each in found.Images("offcam/video")] == [0, 1, 2]


def test_each_thing_is_there_once_however_often_its_process_is_killed(tmp_path):
    run = make_run(tmp_path / "run", 5000, 100, video=make_video(tmp_path / "video.mp4"))
    logs = tmp_path / "logs" / "offcam"

    def written():
        return sum(path.stat().st_size for path in logs.glob("*"))

    for _ in range(5):
        before, sending = written(), offcam.sync(run, "tensorboard", logdir=tmp_path / "logs")
        wait_until(lambda before=before: written() > before + 1000, "it has written more")
        os.kill(sending.pid, signal.SIGKILL)
        assert not sending.wait()
    assert state(run).over is False
    assert offcam.sync(run, "tensorboard", logdir=tmp_path / "logs").wait()
    assert [step for step, _ in scalars(logs, "offcam/return")] == list(range(5000))
    assert [image.step for image in read(logs).Images("offcam/video")] == list(range(0, 5000, 100))


def test_what_was_written_beyond_the_last_batch_is_cut_off(folder, tmp_path):
    returns = train(folder, f"tensorboard:logdir={tmp_path / 'logs'}")
    found = wait_sent(folder)
    (file,) = (tmp_path / "logs" / "offcam").iterdir()
    assert file.stat().st_size == found.saved["bytes"]
    with file.open("ab") as more:
        more.write(b"\x07" * 100)  # of a batch that was being written by one that was killed
    assert offcam.sync(folder, "tensorboard").wait()
    train(tmp_path / "other", f"tensorboard:logdir={tmp_path / 'logs'}")
    wait_sent(tmp_path / "other")
    assert len(list((tmp_path / "logs" / "offcam").iterdir())) == 2
    assert state(folder).failures == 0
    assert scalars(tmp_path / "logs" / "offcam", "offcam/return")[: len(returns)] == list(enumerate(returns))
