"""Reads a dataset by LeRobot's own reader, in the environment that has it: ``lerobot_reader.py FOLDER OUT``.

What it finds is in OUT: ``rows.npz`` with each column, and each row's picture as bytes ``(rows, height, width, 3)``;
``told.json`` with what the dataset says of itself. Then it writes a copy of the first episode, as its users do.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from lerobot.datasets.dataset_tools import delete_episodes
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def main(folder: Path, out: Path) -> None:
    dataset = LeRobotDataset("offcam/read", root=folder, video_backend="pyav", return_uint8=True)
    camera = dataset.meta.camera_keys[0]
    names = [name for name in dataset[0] if name not in ("task", camera)]
    rows: dict[str, list[np.ndarray]] = {name: [] for name in (*names, "picture", "task")}
    for item in (dataset[number] for number in range(len(dataset))):
        for name in names:
            rows[name].append(item[name].numpy())
        rows["picture"].append(item[camera].permute(1, 2, 0).numpy())
        rows["task"].append(np.array(item["task"]))
    np.savez(out / "rows.npz", **{name: np.stack(values) for name, values in rows.items()})
    (out / "told.json").write_text(json.dumps(told(dataset, camera)))
    if dataset.num_episodes > 1:
        last = list(range(1, dataset.num_episodes))
        first = delete_episodes(dataset, last, output_dir=out / "first", repo_id="offcam/first")
        assert len(first) == dataset.meta.episodes[0]["length"]


def told(dataset: LeRobotDataset, camera: str) -> dict[str, object]:
    batch = next(iter(torch.utils.data.DataLoader(dataset, batch_size=min(4, len(dataset)))))
    after = LeRobotDataset("offcam/read", root=dataset.root, video_backend="pyav", delta_timestamps=delta(dataset))
    return {
        "version": version("lerobot"),
        "fps": dataset.fps,
        "episodes": dataset.num_episodes,
        "lengths": list(dataset.meta.episodes["length"]),
        "camera": camera,
        "stats": {name: {key: np.shape(each) for key, each in its.items()} for name, its in dataset.meta.stats.items()},
        "means": {name: np.asarray(its["mean"]).tolist() for name, its in dataset.meta.stats.items()},
        "batch": {name: list(batch[name].shape) for name in actions(dataset)},
        "chunk": {name: list(after[0][name].shape) for name in actions(dataset)},
    }


def actions(dataset: LeRobotDataset) -> list[str]:
    return [name for name in dataset.features if name.partition(".")[0] == "action"]


def delta(dataset: LeRobotDataset) -> dict[str, list[float]]:
    return {name: [0, 1 / dataset.fps, 2 / dataset.fps] for name in actions(dataset)}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
