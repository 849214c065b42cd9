"""Folders with videos and without an index, as Gymnasium's own wrapper leaves them: shown by their files alone."""

from __future__ import annotations

import functools
import hashlib
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from offcam_runs import format as fmt
from offcam_runs.database import upgrade
from offcamd.video.probe import VideoInfo, survey

if TYPE_CHECKING:
    from pathlib import Path

MOST_FILES = 2_000
"""Most videos of one folder that are read."""

PLAIN_CLIENT = "plain"
"""The ``client`` of the one stream that such a folder appears to have."""

_NUMBER = re.compile(r"-(episode|step)-(\d{1,15})(?:\.|-|$)")


def videos(folder: Path) -> list[Path]:
    """The videos in a folder, the oldest first. Links are left out.

    Raises:
        OSError: the folder cannot be read.
    """
    found = [path for path in folder.iterdir() if path.suffix == fmt.VIDEO_EXTENSION and not path.is_symlink()]
    dated = sorted((path.lstat().st_mtime_ns, path) for path in found if path.is_file())
    return [path for _, path in dated[:MOST_FILES]]


@contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """An index in memory of the videos in a folder: one stream, a clip for each file, no episodes.

    Raises:
        OSError: the folder cannot be read.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        upgrade(database, 0, folder)
        files = videos(folder)
        stream = hashlib.blake2b(bytes(folder), digest_size=16).hexdigest()
        started = files[0].lstat().st_mtime if files else None
        own = {"stream": stream, "client": PLAIN_CLIENT, "started": started, "state": fmt.CLOSED}
        database.execute(_ADD_STREAM, own)
        database.executemany(_ADD_CLIP, [_clip(path) for path in files])
        yield database


_ADD_STREAM = """
INSERT INTO streams (id, stream, env_id, num_envs, vector, prefix, suffix, video, host, pid, client, started, state)
VALUES (1, :stream, '', 1, 0, '', 0, 1, '', 0, :client, :started, :state)
"""
_ADD_CLIP = """
INSERT INTO clips (stream_id, clip, name, part, file, state, fps, width, height, episode, step, offered, received,
    encoded, complete, file_bytes, duration, started, ended, error)
VALUES (1, :clip, :name, 1, :file, :state, :fps, :width, :height, :episode, :step, :frames, :frames, :frames, 1,
    :file_bytes, :duration, :started, :started, :error)
"""


def _clip(path: Path) -> dict[str, object]:
    facts = path.lstat()
    info = _survey(path, facts.st_mtime_ns, facts.st_size)
    number = int.from_bytes(hashlib.blake2b(bytes(path), digest_size=6).digest(), "big")  # stays when files are added
    kind, counted = found.groups() if (found := _NUMBER.search(path.name)) else ("episode", "0")
    episode, step = (int(counted), 0) if kind == "episode" else (0, int(counted))
    state = fmt.ABORTED if info.error or not info.frames else fmt.FINAL
    return {
        "clip": number,
        "name": path.stem,
        "file": path.name,
        "state": state,
        "fps": float(info.fps) or None,
        "width": info.width or None,
        "height": info.height or None,
        "episode": episode,
        "step": step,
        "frames": info.frames,
        "file_bytes": facts.st_size,
        "duration": info.duration_seconds,
        "started": facts.st_mtime,
        "error": info.error,
    }


@functools.lru_cache(4 * MOST_FILES)
def _survey(path: Path, _changed: int, _size: int) -> VideoInfo:
    return survey(path) if stat.S_ISREG(path.lstat().st_mode) else VideoInfo(error="it is no file any more")
