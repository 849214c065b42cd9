"""Recording, end to end, in whatever environment this is: what is done with offcam most, and nothing twice.

`matrix.py` runs it with each Python and at the oldest and newest versions of what offcam needs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from place import HERE, OFFCAM, Place, place, until

import offcam

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow  # all of it together is; the default suite looks at each part by itself

av = pytest.importorskip("av", reason="this environment has no daemon")

KEEP = os.environ.get("OFFCAM_SMOKE_KEEP")
"""Where `matrix.py` collects what each environment has recorded."""


@pytest.fixture(scope="module")
def home() -> Iterator[Place]:
    with place() as here:
        yield here


@pytest.fixture(scope="module")
def run(home: Place) -> Path:
    """A run of a single env."""
    return kept(home.agent("single", "single"))


@pytest.fixture(scope="module")
def vector_run(home: Place) -> Path:
    """A run of a vector env."""
    return kept(home.agent("vector", "vector"))


def kept(folder: Path) -> Path:
    if KEEP:
        shutil.copytree(
            folder, Path(KEEP) / f"{sys.version_info[0]}.{sys.version_info[1]}-av{av.__version__}-{folder.name}"
        )
    return folder


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(f"file:{path}") as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def check_pictures(folder: Path) -> None:
    """Each picture that was rendered is in the videos, once and in order, and nothing else is."""
    rendered = np.load(f"{folder}.npz")["pictures"]
    shown = [picture for path in sorted(folder.glob("*.mp4")) for picture in pictures(path)]
    assert len(shown) == len(rendered) > 0
    height, width = rendered.shape[2:4]
    for picture, tiles in zip(shown, rendered, strict=True):
        rows, columns = picture.shape[0] // height, picture.shape[1] // width
        assert picture.shape == (rows * height, columns * width, 3)
        assert rows * columns >= len(tiles)
        for place_of, tile in enumerate(tiles):
            top, left = place_of // columns * height, place_of % columns * width
            part = picture[top : top + height, left : left + width]
            assert np.abs(part.astype(int) - tile).mean() < 2, f"not what was rendered: {folder}"


def check_index(home: Place, folder: Path) -> None:
    """The index has the returns that the agent saw, and the command line lists and verifies what there is."""
    recorded = offcam.load(str(folder), session="all")
    assert sorted(recorded.episodes.return_) == sorted(np.load(f"{folder}.npz")["returns"])
    assert [clip.name for clip in recorded.clips] == ["rl-video-episode-0", "rl-video-episode-1"]
    assert all(clip.state == "final" and clip.complete and not clip.dropped for clip in recorded.clips)
    assert len(json.loads(home.run(OFFCAM, "ls", str(folder), "--json"))["clips"]) == 2
    verdict = json.loads(home.run(OFFCAM, "verify", str(folder), "--json"))
    assert verdict["clips_checked"] == 2
    assert verdict["frames_checked"] == sum(clip.frames for clip in recorded.clips)


def test_a_single_env_is_recorded(home, run):
    check_pictures(run)
    check_index(home, run)


def test_a_vector_env_is_recorded(home, vector_run):
    check_pictures(vector_run)
    check_index(home, vector_run)


def test_an_env_of_box2d_is_recorded(home):
    pytest.importorskip("Box2D", reason="there are no wheels of it for this Python")
    folder = home.agent("box2d", "box2d")
    check_pictures(folder)
    home.run(OFFCAM, "verify", str(folder))


def test_a_run_is_exported(home, run):
    returns = np.load(f"{run}.npz")["returns"].tolist()
    home.run(OFFCAM, "export", str(run), "--to", "csv", "-o", "all.csv")
    head, *rows = [line.split(",") for line in (home.root / "all.csv").read_text().splitlines()]
    assert [float(row[head.index("return")]) for row in rows] == returns
    parquet = pytest.importorskip("pyarrow.parquet", reason="the parquet extra is not installed")
    home.run(OFFCAM, "export", str(run), "--to", "parquet", "-o", "all.parquet")
    assert parquet.read_table(home.root / "all.parquet")["return"].to_pylist() == returns


def test_curves_are_plotted(home, run):
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    home.run(OFFCAM, "plot", str(run), "-o", "curves.png")
    assert (home.root / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_is_viewed(home, run):
    command = [OFFCAM, "view", str(run), "--json", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=home.environment, cwd=home.root) as view:
        assert view.stdout is not None
        base = json.loads(view.stdout.readline())["url"].rstrip("/")
        assert b"<html" in fetch(f"{base}/")
        (known,) = json.loads(fetch(f"{base}/api/runs"))["runs"]
        clips = json.loads(fetch(f"{base}/api/runs/{known['id']}/clips"))["clips"]
        assert len(clips) == 2
        sent = sorted(fetch(f"{base}/api/runs/{known['id']}/clips/{clip['key']}/video") for clip in clips)
        assert sent == sorted(path.read_bytes() for path in run.glob("*.mp4"))
        assert fetch(f"{base}/api/runs/{known['id']}/clips/{clips[0]['key']}/poster").startswith(b"\xff\xd8")  # JPEG
        view.send_signal(signal.SIGTERM)
    assert view.returncode == 0


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as reply:  # noqa: S310 - an http URL of our own server
        return bytes(reply.read())


def test_what_a_killed_daemon_left_is_recovered():
    with place() as home:
        folder = home.root / "killed"
        command = [sys.executable, str(HERE / "agents.py"), "endless", str(folder)]
        with subprocess.Popen(command, env=home.environment, cwd=home.root, stderr=subprocess.PIPE) as agent:
            until(lambda: agent.poll() is not None or fragments(folder) > 0, "video")
            pid = json.loads(home.run(OFFCAM, "status", "--json"))["pid"]
            until(lambda: agent.poll() is not None or fragments(folder) > 10, "video with ten pictures")
            agent.send_signal(signal.SIGSTOP)  # or it would have another daemon started
            os.waitpid(agent.pid, os.WUNTRACED)
            os.kill(pid, signal.SIGKILL)
            agent.kill()
        report: dict[str, Any] = json.loads(home.run(OFFCAM, "recover", str(folder), "--json", codes=(0, 3)))
        clips = offcam.load(str(folder), session="all").clips  # what the daemon had in a file, and what lay in memory
        assert [clip.state for clip in clips] == ["recovered"] * len(report["clips"])
        assert clips[0].frames > 9
        shown = [picture for clip in clips for picture in pictures(folder / str(clip.file))]
        assert len(shown) == sum(clip.frames for clip in clips)
        assert {picture.shape for picture in shown} == {(500, 500, 3)}
        assert all(picture[:40].min() > 245 for picture in shown), "Pendulum's upper edge is white"
        assert len({picture.tobytes() for picture in shown}) > 5
        home.run(OFFCAM, "verify", str(folder))


def fragments(folder: Path) -> int:
    """Pictures in the videos that are not finished."""
    return sum(path.read_bytes().count(b"moof") for path in folder.glob("*.part"))
