"""What runs are called: by their folders alone, whatever others there are."""

from __future__ import annotations

from pathlib import Path

import pytest

import made
from offcamd.web.source import FolderSource


@pytest.mark.parametrize(
    ("roots", "names"),
    [
        (["/x"], {"/x/ppo": "ppo", "/x/ppo/1": "ppo/1", "/x": "x", "/other/exp/1": "exp/1", "/solo": "solo", "/": "/"}),
        (["/x/a", "/y/a"], {"/x/a": "x/a", "/y/a/1": "y/a/1"}),
        (["/x/ppo", "/x/dqn"], {"/x/ppo": "ppo", "/x/dqn/3": "dqn/3", "/x/a2c": "x/a2c"}),
        (["/x", "/x"], {"/x/1": "/x/1"}),
        ([], {"/deep/below/exp/1": "exp/1"}),
    ],
)
def test_by_the_path_below_where_was_looked(roots, names):
    source = FolderSource(map(Path, roots))
    assert {folder: source.title(Path(folder)) for folder in names} == names


def test_no_run_is_renamed_because_another_comes(look, tmp_path):
    made.make_run(tmp_path / "ppo" / "1", 3, 0)
    client = look(tmp_path)

    def names():
        return {run["folder"]: run["title"] for run in client.get("/api/runs").json()["runs"]}

    before = names()
    made.make_run(tmp_path / "dqn" / "1", 3, 0, stream=b"q" * 16)
    later = look(tmp_path).get("/api/runs").json()["runs"]
    assert {run["folder"]: run["title"] for run in later} == {
        **before,
        str(tmp_path / "dqn" / "1"): "dqn/1",
    }
    assert list(before.values()) == ["ppo/1"]
