"""Run folders made without a daemon: many episodes, and clips whose videos are real."""

from __future__ import annotations

import math
import os
from fractions import Fraction

import numpy as np

from offcam_proto.codec import pack_record
from offcam_proto.messages import OpenClip, OpenStream
from offcam_proto.records import ClipRecord, EpisodeRecord
from offcam_runs.accounts import EncodedResult
from offcamd.store.entries import StreamOwner
from offcamd.store.index import RunIndex
from offcamd.video.mp4 import VideoWriter

STREAM = b"s" * 16
PEER = StreamOwner("node7", 4711, "offcam/0.1.0")
BEGAN = 1_700_000_000.0
LENGTH = 20


def length_of(number):
    return LENGTH + number % 7


def return_of(number):
    return math.nan if number % 1000 == 999 else 100 * math.sin(number / 3000) + number % 11


def make_run(folder, episodes, every=100, *, stream=STREAM, video=None, began=BEGAN):
    """A run of one stream whose every so-manieth episode has a clip, each a copy of one video."""
    folder.mkdir(parents=True, exist_ok=True)
    index = RunIndex.open(folder)
    with index.transaction():
        index.open_stream(open_stream(folder, stream, began), PEER)
        bodies, started = [], began
        for number in range(episodes):
            bodies.append(pack_record(episode(number, started)))
            if every and number % every == 0:
                bodies.append(pack_record(clip_record(number // every, number, started)))
            started += length_of(number) / 50
        index.apply(stream, 1, bodies)
        for clip in range(math.ceil(episodes / every) if every else 0):
            add_clip(index, folder, stream, clip, clip * every, video)
        index.close_stream(stream)
    index.advance_totals()  # as a daemon does
    index.close()
    return folder


def open_stream(folder, stream=STREAM, began=BEGAN, **changes):
    values = {
        "handle": 0, "stream": stream, "folder": str(folder), "prefix": "rl-video", "suffix": 0, "video": True,
        "env_id": "CartPole-v1", "num_envs": 1, "vector": False, "started": began,
    }  # fmt: skip
    return OpenStream(**{**values, **changes})


def episode(number, started, **changes):
    values = {
        "env_index": 0, "episode": number, "return_": return_of(number), "length": length_of(number),
        "duration": length_of(number) / 50, "started": started, "terminated": number % 3 > 0,
        "truncated": number % 3 == 0, "seed": number,
    }  # fmt: skip
    return EpisodeRecord(**{**values, **changes})


def clip_record(clip, number, started, **changes):
    values = {
        "clip": clip, "name": f"rl-video-episode-{number}", "part": 1, "episode": number, "step": 0,
        "steps": length_of(number), "return_": return_of(number), "offered": length_of(number) + 1, "dropped": {},
        "fps": 50.0, "started": started, "complete": True,
    }  # fmt: skip
    return ClipRecord(**{**values, **changes})


def open_clip(clip, number, **changes):
    values = {
        "handle": 0, "clip": clip, "name": f"rl-video-episode-{number}", "part": 1, "fps": 50.0, "rows": 1, "cols": 1,
        "frame_bytes": 96 * 64 * 3, "episode": number, "step": 0, "started": BEGAN,
    }  # fmt: skip
    return OpenClip(**{**values, **changes})


def add_clip(index, folder, stream, clip, number, video, name=None):
    name = name or f"rl-video-episode-{number}"
    file = f"{name}.mp4"
    index.clip_opened(stream, open_clip(clip, number, name=name), file)
    if video is not None:
        os.link(video, folder / file)
    frames = length_of(number) + 1
    size = video.stat().st_size if video is not None else 1000
    index.clip_encoded(stream, clip, EncodedResult("final", file, frames, {}, 96, 64, size, frames / 50, 0.01))


def make_video(path, frames=21, width=96, height=64, fps=50):
    """A video that goes from dark to bright."""
    writer = VideoWriter(path, width=width, height=height, fps=Fraction(fps), preset="ultrafast", crf=30)
    for number in range(frames):
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        planes[:height] = 16 + number * 219 // max(1, frames - 1)
        writer.write(planes, number)
    writer.close()
    return path
