"""The two scripts of Gymnasium's guide "Recording Agents", with only their import lines changed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import films
from waiting import HANG_SECONDS

EXAMPLES = Path(__file__).parents[2] / "client" / "examples"
EVALUATION, TRAINING = ((EXAMPLES / name).read_text("utf-8") for name in ("evaluate_agent.py", "train_agent.py"))

PATIENT = """
import offcam.connection.timeouts
offcam.connection.timeouts.PATIENCE_SECONDS, offcam.connection.timeouts.WAIT_BUDGET_SECONDS = 20.0, 1e6
"""
"""On a busy machine frames are dropped, and counted, where the daemon is far behind; here it is waited for instead."""


def run(script: str, daemon, folder) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", PATIENT + script],
        env={**daemon.environment, "OFFCAM": "require"},  # however long the daemon takes on a busy machine
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "WARN" not in done.stderr, done.stderr
    return done


def check_videos(folder, prefix: str, lengths: dict[int, int]) -> None:
    """Each video holds exactly its episode: steps + 1 frames, all accounted for."""
    films.check(folder)
    assert films.videos(folder) == sorted(f"{prefix}-episode-{episode}.mp4" for episode in lengths)
    clips = films.clips(folder)
    for episode, length in lengths.items():
        clip = clips[f"{prefix}-episode-{episode}.mp4"]
        assert (clip.frames, clip.dropped, clip.length) == (length + 1, {}, length)
        assert sum(1 for _ in films.shots(folder / str(clip.file))) == length + 1


def test_evaluation(tmp_path, daemon):
    done = run(EVALUATION, daemon, tmp_path)
    lengths = [int(text) for text in re.findall(r"Episode \d: (\d+) steps", done.stdout)]
    assert len(lengths) == 4
    assert f"Episode lengths: {lengths}" in done.stdout
    check_videos(tmp_path / "cartpole-agent", "eval", dict(enumerate(lengths)))
    assert [episode.length for episode in films.episodes(tmp_path / "cartpole-agent")] == lengths


def check_training(tmp_path, daemon, episodes: int, period: int) -> None:
    script = TRAINING.replace("10_000", str(episodes)).replace("training_period = 250", f"training_period = {period}")
    done = run(script, daemon, tmp_path)
    lengths = [int(text) for text in re.findall(r"length=(\d+)", done.stderr)]
    assert len(lengths) == episodes
    rows = films.episodes(tmp_path / "cartpole-training")
    assert [(row.episode, row.length, row.return_) for row in rows] == [
        (episode, length, float(length)) for episode, length in enumerate(lengths)
    ]
    check_videos(
        tmp_path / "cartpole-training", "training", {number: lengths[number] for number in range(0, episodes, period)}
    )


@pytest.mark.parametrize("episodes", [1001, pytest.param(10_000, marks=pytest.mark.slow)])
def test_training(tmp_path, daemon, episodes):
    check_training(tmp_path, daemon, episodes, 250)
