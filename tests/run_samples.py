"""Streams, clips and records for the tests of the run folder."""

import math
import sqlite3
import struct

from offcam_proto.codec import pack_record
from offcam_proto.messages import OpenClip, OpenStream
from offcam_proto.records import ClipRecord, EpisodeColumns, EpisodeRecord
from offcam_runs.format import INDEX_NAME
from offcamd.store.entries import StreamOwner

A, B = b"a" * 16, b"b" * 16
PEER = StreamOwner("node7", 4711, "offcam/0.1.0 python/3.12")


def stream(stream_id=A, **changes):
    values = {
        "handle": 0,
        "stream": stream_id,
        "folder": "/runs/x",
        "prefix": "rl-video",
        "suffix": 0,
        "video": True,
        "env_id": "CartPole-v1",
        "num_envs": 1,
        "vector": False,
        "started": 1000.0,
    }
    return OpenStream(**{**values, **changes})


def episode(number=0, **changes):
    values = {
        "env_index": 0,
        "episode": number,
        "return_": 10.0 + number,
        "length": 20 + number,
        "duration": 0.5,
        "started": 1000.0 + number,
        "terminated": True,
        "truncated": False,
        "seed": number,
    }
    return EpisodeRecord(**{**values, **changes})


def columns():
    """Two episodes of a vector env that ended in the same step."""
    numbers = (3, 4095, 0, 41, 20.0, -math.inf, 20, 1, 0.25, 0.5, 1, 0, 0, 1, 0, -7, 1, 0)
    return EpisodeColumns(count=2, ended=1010.5, columns=struct.pack("<4I2d2I2d4B2q2B", *numbers))


def clip(number=0, **changes):
    """The client's account of a clip, of 21 frames sent."""
    values = {
        "clip": number,
        "name": f"rl-video-episode-{number}",
        "part": 1,
        "episode": number,
        "step": 0,
        "steps": 20,
        "return_": 9.0,
        "offered": 21,
        "dropped": {},
        "fps": 30.0,
        "started": 1000.5,
        "complete": True,
    }
    return ClipRecord(**{**values, **changes})


def open_clip(number=0, **changes):
    values = {
        "handle": 0,
        "clip": number,
        "name": f"rl-video-episode-{number}",
        "part": 1,
        "fps": 30.0,
        "rows": 1,
        "cols": 1,
        "frame_bytes": 720_000,
        "episode": number,
        "step": 0,
        "started": 1000.5,
    }
    return OpenClip(**{**values, **changes})


def packed(*records):
    return [pack_record(record) for record in records]


def rows(index, query):
    """What another program sees of an index: only what is committed."""
    connection = sqlite3.connect(index.folder / INDEX_NAME)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
