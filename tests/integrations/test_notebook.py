"""`offcam.show` in Jupyter: a notebook is run by a real kernel, and its outputs are looked at."""

from __future__ import annotations

import base64
import os
import re
import sys

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = [pytest.mark.integrations, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

CELLS = [
    """
import sys
from pathlib import Path
loaded = [name for name in sys.modules if name.partition(".")[0] in ("matplotlib", "pandas")]
import offcam
from envs import Barcode, play
env = offcam.record(Barcode(length=5), "run", every=1)
play(env, 3)
env.close()
""",
    "offcam.show(env, videos=1)\nprint('and goes on')",
]


def outputs(daemon, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    return notebook.cells[1].outputs


def test_a_cell_has_the_curve_and_the_video(daemon, tmp_path, monkeypatch):
    shown, printed = outputs(daemon, tmp_path, monkeypatch)
    assert printed.text == "and goes on\n"
    assert shown.output_type == "display_data"
    html = shown.data["text/html"]
    videos = [base64.b64decode(data) for data in re.findall(r'src="data:video/mp4;base64,([^"]+)"', html)]
    # The newest one, then those of the run's parts.
    assert videos == [(tmp_path / "run" / f"rl-video-episode-{number}.mp4").read_bytes() for number in (2, 0, 1, 2)]
    assert "<polyline" in html
    assert "return ▁▁▁" in shown.data["text/plain"]
