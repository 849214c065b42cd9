"""Runs that tests send to a folder as if it were object storage, and what is there then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np

import offcam
import step_samples
from made import BEGAN, PEER, STREAM, add_clip, clip_record, episode, open_stream
from offcam.sync import worker
from offcam_proto.codec import pack_record
from offcam_runs.objects import segments
from offcam_runs.sync.process import SyncRequest, parse_place
from offcamd.store.index import RunIndex

RECORDS = 3
"""Records that each episode of `grow` has."""


def grow(folder, first, count, video, *, over=True):
    """Record episodes into a run, each with a video and its steps."""
    folder.mkdir(exist_ok=True)
    with closing(RunIndex.open(folder)) as index:
        with index.transaction():
            index.open_stream(open_stream(folder), PEER)
            for number in range(first, first + count):
                records = [
                    step_samples.episodes(number),
                    episode(number, BEGAN + number),
                    clip_record(number, number, BEGAN + number),
                ]
                index.apply(STREAM, RECORDS * number + 1, list(map(pack_record, records)))
        for number in range(first, first + count):
            add_clip(index, folder, STREAM, number, number, video)
        if over:
            with index.transaction():
                index.close_stream(STREAM)
    return folder


def send(folder, url, **changes):
    tracker, options = parse_place(url)
    return worker.SyncWorker(
        SyncRequest(folder=str(folder), tracker=tracker, options=options, tries=1, **changes)
    ).run()


def below(url):
    """All objects below a place, by their keys."""
    root = Path(url.removeprefix("file://"))
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def is_as(url, folder):
    """Whether the run at a place is the one in a folder: its index, each video's bytes, each episode's steps."""
    there, here = offcam.load(url), offcam.load(folder)
    values = [{**run.as_dict(), "folder": ""} for run in (there, here)]
    assert values[0] == values[1]
    assert [Path(clip.fetch()).read_bytes() for clip in there.clips] == [
        Path(clip.path).read_bytes() for clip in here.clips
    ]
    for number in here.episodes.episode[:: max(1, len(here.episodes) // 5)].tolist() if here.step_totals.rows else ():
        columns = there.steps(number), here.steps(number)
        assert columns[0].complete
        np.testing.assert_array_equal(columns[0]["reward"], columns[1]["reward"])
    return True


KILLED = """
import os, sys
from offcam.sync.worker import SyncWorker
from offcam_runs.objects import segments
from offcam_runs.objects.store import ObjectStore
from offcam_runs.sync.process import SyncRequest, parse_place
left, segments.MOST_SMALL_TAILS = map(int, sys.argv[3:])
def counted(name):
    own = getattr(ObjectStore, name)
    def call(self, *args, **kwargs):
        global left
        if left == 0:
            os.kill(os.getpid(), 9)
        left -= 1
        return own(self, *args, **kwargs)
    setattr(ObjectStore, name, call)
for name in ("put", "put_file", "remove"):
    counted(name)
tracker, options = parse_place(sys.argv[2])
SyncWorker(SyncRequest(folder=sys.argv[1], tracker=tracker, options=options, tries=1)).run()
print(left)
"""


def killed_at(step, folder, url, most_small_tails=segments.MOST_SMALL_TAILS):
    """Send a run by a process that is killed before its so-manieth change there; returns what it wrote."""
    words = [sys.executable, "-c", KILLED, str(folder), url, str(step), str(most_small_tails)]
    environment = {**os.environ, "TMPDIR": str(folder.parent)}  # what it was packing stays there
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done
