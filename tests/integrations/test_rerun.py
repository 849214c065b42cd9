"""Rerun: what its own reader finds in the file, and that nothing is there twice."""

from __future__ import annotations

import os
import signal
import struct

import av
import numpy as np
import pytest
from syncing import EPISODES, EVERY, send_again, train, wait_sent

import offcam
from made import make_run, make_video
from offcam.sync.sinks.packets import NotRemuxed, packets
from waiting import wait_until

chunks = pytest.importorskip("rerun.chunk", reason="Rerun needs Python 3.11")
pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]


def read(path):
    """By entity, its rows in the order of time: each a dict of what it has."""
    found = {}
    for chunk in chunks.RrdReader(path).stream():
        rows = chunk.to_record_batch().to_pylist()
        found.setdefault(chunk.entity_path, []).extend({**row, "static": chunk.is_static} for row in rows)
    return {
        name: sorted(rows, key=lambda row: 0 if row["static"] else row["time"].timestamp())
        for name, rows in found.items()
    }


def scalars(entities, name):
    return [(row["episode"], row["Scalars:scalars"][0]) for row in entities[name]]


def shown(entity):
    """The pictures of a video, by its packets."""
    codec = av.CodecContext.create("h264", "r")
    samples = [row["VideoStream:sample"][0] for row in entity if not row["static"]]
    made = [av.Packet(bytes(sample)) for sample in samples]
    return [frame.to_ndarray(format="rgb24") for packet in [*made, None] for frame in codec.decode(packet)]


def pictures(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_values_and_packets_are_on_one_timeline(folder, tmp_path):
    file = tmp_path / "logs" / "run.rrd"
    returns = train(folder, f"rerun:file={file}")
    wait_sent(folder)
    run = offcam.load(folder)
    for _ in range(2):
        entities = read(file)
        assert scalars(entities, "/offcam/return") == list(enumerate(returns))
        assert scalars(entities, "/offcam/length") == list(enumerate(returns))
        ended = [each.started + each.duration for each in run.episodes]
        times = [row["time"].timestamp() for row in entities["/offcam/return"]]
        np.testing.assert_allclose(times, ended, atol=1e-3)
        assert len([name for name in entities if name.endswith("/about")]) == EPISODES // EVERY
        for clip in run.clips:
            entity = entities[f"/offcam/videos/{clip.name}"]
            assert {tuple(row["VideoStream:codec"]) for row in entity if row["static"]} == {(int.from_bytes(b"avc1"),)}
            packed = [row for row in entity if not row["static"]]
            assert [row["frame"] for row in packed] == list(range(clip.frames))
            keys = [row["VideoStream:is_keyframe"][0] for row in packed]
            assert keys == [packet.is_keyframe for packet in packets(str(clip.path))]
            assert keys[0]
            np.testing.assert_array_equal(shown(entity), pictures(clip.path))
            seconds = [row["time"].timestamp() for row in packed]
            np.testing.assert_allclose(np.diff(seconds), 1 / clip.fps, atol=1e-3)
            assert seconds[-1] == pytest.approx(clip.ended, abs=1e-3)
        send_again(folder)


def test_each_thing_is_there_once_however_often_its_process_is_killed(tmp_path):
    run = make_run(tmp_path / "run", 5000, 100, video=make_video(tmp_path / "video.mp4"))
    file = tmp_path / "run.rrd"

    def written():
        return file.stat().st_size if file.exists() else 0

    for _ in range(4):
        sending = offcam.sync(run, "rerun", file=file)
        wait_until(lambda: file.exists() and not file.with_suffix(".rrd.part").exists(), "it has begun")
        before = written()
        wait_until(lambda before=before: written() > before + 1000, "it has written more")
        os.kill(sending.pid, signal.SIGKILL)
        assert not sending.wait()
        with file.open("ab") as more:  # as if it had been killed in the middle of a message
            more.write(struct.pack("<QQ", 2, 1000) + b"\x07" * 100)
    assert offcam.sync(run, "rerun", file=file).wait()
    entities = read(file)
    assert [episode for episode, _ in scalars(entities, "/offcam/return")] == list(range(5000))
    videos = [name for name in entities if "/videos/" in name and not name.endswith("/about")]
    assert len(videos) == 50
    for name in videos:
        frames = [row["frame"] for row in entities[name] if not row["static"]]
        assert frames == list(range(21))


def test_a_file_that_is_no_video_has_no_packets(tmp_path):
    (tmp_path / "video.mp4").write_bytes(b"no video")
    with pytest.raises(NotRemuxed, match="cannot be read"):
        packets(str(tmp_path / "video.mp4"))


def test_frames_that_are_shown_in_another_order_are_no_packets(tmp_path):
    with av.open(str(tmp_path / "video.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"bf": "2", "b-adapt": "0"})
        stream.width = stream.height = 64
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number * 12, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(NotRemuxed, match="not shown in the order"):
        packets(str(tmp_path / "video.mp4"))
