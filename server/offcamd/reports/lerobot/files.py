"""Writes the files of a LeRobot dataset, as version 3.0 of its format lays them out.

``meta/info.json`` describes the dataset, ``data/`` has the rows, ``videos/`` the pictures, and ``meta/episodes`` says
where those of each episode are. Files are numbered, and a thousand of them are a chunk.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from offcamd.reports.lerobot.parts import Kind
from offcamd.reports.lerobot.statistics import Numbers, Together, numbers_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

VERSION: Final = "v3.0"
INFO: Final = "meta/info.json"
PICTURES: Final = "observation.images.render"
"""Name of the feature that the videos are."""

CHUNK: Final = 1000
DATA_MB: Final = 100
VIDEO_MB: Final = 200
"""Largest size of files of data and of videos by the format; a single larger video is accepted, too."""

_FILE: Final = "chunk-{chunk_index:03d}/file-{file_index:03d}"
_DATA: Final = f"data/{_FILE}.parquet"
_VIDEOS: Final = f"videos/{{video_key}}/{_FILE}.mp4"
_EPISODES: Final = f"meta/episodes/{_FILE}.parquet"

_OWN: Final = {
    "timestamp": Kind("float32"),
    "frame_index": Kind("int64"),
    "episode_index": Kind("int64"),
    "index": Kind("int64"),
    "task_index": Kind("int64"),
}
"""Columns of every dataset, after its own."""


class Video(NamedTuple):
    """Properties of all videos: the size of their pictures, and what a decoder has to know."""

    width: int
    height: int
    codec: str
    pix_fmt: str


class Files:
    """Writes a dataset into an empty folder: one video at a time, and then its episodes.

    Args:
        folder: where it is written; whole once `close` has returned.
        fps: of all videos.
        video: what all of them are like.
        features: the columns of a row, in order, without those of every dataset.

    Attributes:
        episodes: how many were added.
        rows: how many rows they have.
    """

    def __init__(self, folder: Path, fps: int, video: Video, features: Mapping[str, Kind]) -> None:
        self.episodes = 0
        self.rows = 0
        self._folder, self._fps, self._video, self._features = folder, fps, video, {**features, **_OWN}
        self._schema = pa.schema([(name, _arrow(kind)) for name, kind in self._features.items()])
        self._tasks: dict[str, int] = {}
        self._told: list[dict[str, Any]] = []
        self._together: defaultdict[str, Together] = defaultdict(Together)
        self._videos = 0
        self._data_files = 0
        self._bytes = 0
        self._data: Any = None

    def add_video(self, path: Path) -> None:
        """Copy a video; the episodes that are added next are parts of it. Raises OSError."""
        target = self._folder / _VIDEOS.format(video_key=PICTURES, **_place(self._videos))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        self._videos += 1

    def add_episode(
        self,
        task: str,
        frame: int,
        columns: Mapping[str, NDArray[Any]],
        numbers: Mapping[str, Numbers],
        of_pictures: Numbers,
    ) -> None:
        """Add an episode that is a part of the newest video. Raises OSError.

        Args:
            task: the episode's task.
            frame: the frame of the video that the episode's first row shows.
            columns: (n,) or (n, size) values of each feature.
            numbers: by feature, the statistics for normalising.
            of_pictures: those of the pictures.
        """
        rows = len(next(iter(columns.values())))
        task_index = self._tasks.setdefault(task, len(self._tasks))
        own: dict[str, NDArray[Any]] = {
            "timestamp": (np.arange(rows) / self._fps).astype(np.float32),
            "frame_index": np.arange(rows),
            "episode_index": np.full(rows, self.episodes),
            "index": np.arange(self.rows, self.rows + rows),
            "task_index": np.full(rows, task_index),
        }
        found = {**columns, **own}
        table = pa.table([_array(found[name], kind) for name, kind in self._features.items()], schema=self._schema)
        all_numbers = {**numbers, **{name: numbers_of(column) for name, column in own.items()}, PICTURES: of_pictures}
        begin = frame / self._fps
        self._told.append(
            {
                "episode_index": self.episodes,
                "tasks": [task],
                "length": rows,
                **_named("data", self._write(table)),
                "dataset_from_index": self.rows,
                "dataset_to_index": self.rows + rows,
                **_named(f"videos/{PICTURES}", _place(self._videos - 1)),
                f"videos/{PICTURES}/from_timestamp": begin,
                f"videos/{PICTURES}/to_timestamp": begin + rows / self._fps,
                **_named("meta/episodes", _place(0)),
                **{
                    f"stats/{name}/{which}": each.tolist()
                    for name, its in all_numbers.items()
                    for which, each in its.items()
                },
            }
        )
        for name, each in all_numbers.items():
            self._together[name].add(each)
        self.episodes += 1
        self.rows += rows

    def close(self) -> None:
        """Write the files about the whole dataset. Raises OSError."""
        if self._data is not None:
            self._data.close()
        episodes = self._folder / _EPISODES.format(**_place(0))
        episodes.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(self._told), episodes)
        pq.write_table(_task_table(self._tasks), self._folder / "meta/tasks.parquet")
        numbers = {
            name: {which: each.tolist() for which, each in its.numbers().items()}
            for name, its in self._together.items()
        }
        self._write_json("meta/stats.json", numbers)
        self._write_json(INFO, self._info())

    def _write(self, table: Any) -> dict[str, int]:  # noqa: ANN401 - pyarrow's table
        """Write an episode's rows as a row group of their own; returns chunk and number of the file."""
        if self._data is None or self._bytes + table.nbytes > DATA_MB * 2**20:
            if self._data is not None:
                self._data.close()
            path = self._folder / _DATA.format(**_place(self._data_files))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._data = pq.ParquetWriter(path, self._schema)
            self._data_files += 1
            self._bytes = 0
        self._data.write_table(table)
        self._bytes += table.nbytes
        return _place(self._data_files - 1)

    def _info(self) -> dict[str, Any]:
        return {
            "codebase_version": VERSION,
            "robot_type": None,
            "total_episodes": self.episodes,
            "total_frames": self.rows,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK,
            "data_files_size_in_mb": DATA_MB,
            "video_files_size_in_mb": VIDEO_MB,
            "fps": self._fps,
            "splits": {"train": f"0:{self.episodes}"},
            "data_path": _DATA,
            "video_path": _VIDEOS,
            "features": {
                PICTURES: _picture(self._video, self._fps),
                **{
                    name: {"dtype": kind.dtype, "shape": [kind.size], "names": kind.names}
                    for name, kind in self._features.items()
                },
            },
        }

    def _write_json(self, name: str, value: object) -> None:
        (self._folder / name).write_text(json.dumps(value, indent=4), encoding="utf-8")


def _place(number: int) -> dict[str, int]:
    """A file's chunk, and its number within that."""
    return {"chunk_index": number // CHUNK, "file_index": number % CHUNK}


def _named(of: str, place: Mapping[str, int]) -> dict[str, int]:
    return {f"{of}/{name}": each for name, each in place.items()}


def _picture(video: Video, fps: int) -> dict[str, Any]:
    info = {
        "video.height": video.height,
        "video.width": video.width,
        "video.codec": video.codec,
        "video.pix_fmt": video.pix_fmt,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
        "is_depth_map": False,
    }
    names = ["height", "width", "channels"]
    return {"dtype": "video", "shape": [video.height, video.width, 3], "names": names, "info": info}


def _arrow(kind: Kind) -> Any:  # noqa: ANN401 - pyarrow's type
    found = pa.from_numpy_dtype(np.dtype(kind.dtype))
    return found if kind.size == 1 else pa.list_(found, kind.size)


def _array(values: NDArray[Any], kind: Kind) -> Any:  # noqa: ANN401 - pyarrow's array
    numbers = pa.array(np.ascontiguousarray(values).reshape(-1))
    return numbers if kind.size == 1 else pa.FixedSizeListArray.from_arrays(numbers, kind.size)


def _task_table(tasks: Mapping[str, int]) -> Any:  # noqa: ANN401 - pyarrow's table
    """The table of tasks as pandas writes it, with the tasks' texts as its index."""
    columns = [("task_index", "int64", "int64"), ("task", "unicode", "object")]
    about = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpys, "metadata": None}
            for name, kind, numpys in columns
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": pa.array(list(tasks.values()), pa.int64()), "task": list(tasks)})
    return table.replace_schema_metadata({"pandas": json.dumps(about)})
