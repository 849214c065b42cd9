"""The layers: who may import what. The contracts are in ``pyproject.toml``; here they are held, and shown to bite."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import runs
from waiting import HANG_SECONDS

ROOT = Path(__file__).parents[2]
ROOTS = ("client", "proto", "server")
PROTO_MAY_USE = {
    "__future__", "collections", "contextlib", "dataclasses", "difflib", "enum", "hashlib", "itertools", "math",
    "msgspec", "offcam_proto", "posixpath", "re", "reprlib", "stat", "struct", "typing",
}  # fmt: skip
HOST_MAY_USE = {"errno", "fcntl", "mmap", "os", "secrets", "shutil", "socket", "sys", "time"}
SERVER_EXTRA = ("av", "cv2", "typer", "pydantic", "rich", "starlette", "uvicorn")


# --- the contracts ----------------------------------------------------------------------------------------


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("importlinter")
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(tree / root) for root in ROOTS)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_contracts_are_kept():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for root in ROOTS:
        shutil.copytree(ROOT / root, tmp_path / root, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("client/offcam/recorder/frames.py", "import offcamd.video.pixels", "never on each other"),
        ("server/offcamd/video/pixels.py", "import offcam.recorder.frames", "never on each other"),
        ("proto/offcam_proto/codec.py", "import offcam.recorder.frames", "never on each other"),
        ("proto/offcam_proto/codec.py", "import offcam_runs.format", "never on each other"),
        ("proto/offcam_runs/format.py", "import offcamd.store.sql", "never on each other"),
        ("client/offcam/recorder/env_stream.py", "import offcam.wrappers.video", "wrappers on the recorder"),
        ("client/offcam/recorder/frames.py", "import offcam.replay.tape", "wrappers on the recorder"),
        ("client/offcam/replay/plans.py", "import offcam.connection.launch", "happens again without the connection"),
        ("client/offcam/connection/launch.py", "import offcam_runs.run", "the connection knows the wire"),
        ("client/offcam/wrappers/video.py", "import offcam.connection.launch", "by the recorder only"),
        ("server/offcamd/store/store.py", "import offcamd.daemon.state", "the server's rooms"),
        ("server/offcamd/store/store.py", "import offcamd.encode.pool", "the server's rooms"),
        ("server/offcamd/web/app.py", "import offcamd.store.store", "the page reads run folders"),
        ("server/offcamd/encode/pool.py", "import offcamd.config.settings", "knowing nothing of settings"),
        ("server/offcamd/video/mp4.py", "import offcam_runs.format", "the wire's words alone"),
        ("server/offcamd/stories/film.py", "import offcamd.process.logs", "stories are made of run folders"),
        ("server/offcamd/stories/film.py", "import offcamd.store.sql", "the server's rooms"),
        ("proto/offcam_runs/analysis/curves.py", "import offcam_runs.database", "computed from arrays"),
        ("proto/offcam_proto/codec.py", "from threading import Lock", "proto does no I/O"),
        ("proto/offcam_proto/layout.py", "import numpy as np", "proto does no I/O"),
        ("client/offcam/vector/video.py", "def late():\n    import av", "the client is thin"),
        ("client/offcam/record.py", "from rich.progress import Progress", "the client is thin"),
        ("client/offcam/record.py", "import offcam.integrations.recorded", "wrappers on the recorder"),
        ("client/offcam/vector/video.py", "def late():\n    import torch", "by its adapter alone"),
        ("client/offcam/recorder/env_stream.py", "import zmq.asyncio", "zmq in one file of the client"),
        ("server/offcamd/daemon/dispatcher.py", "import zmq", "of the server"),
        ("server/offcamd/cli/checks.py", "import av.codec", "av only where"),
        (
            "server/offcamd/daemon/service.py",
            "def late():\n    import starlette.requests",
            "the HTTP server's libraries",
        ),
        ("server/offcamd/reports/verify.py", "import cv2", "cv2 only where"),
        ("server/offcamd/reports/export.py", "import matplotlib", "matplotlib only where"),
        ("server/offcamd/reports/plot.py", "import pyarrow", "pyarrow only where"),
        ("proto/offcam_runs/analysis/statistics.py", "import scipy", "numpy is enough"),
    ],
)
def test_a_contract_bites(copied, file, line, broken):
    with (copied / file).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    done = lint(copied)
    assert done.returncode == 1, done.stdout + done.stderr
    assert [row for row in done.stdout.splitlines() if broken in row and "BROKEN" in row], done.stdout
    culprit = ".".join(Path(file).with_suffix("").parts[1:])
    assert f"{culprit} -> {line.split()[-1 if line.startswith('def') else 1].split('.')[0]}" in done.stdout


def imported(file: Path) -> set[str]:
    """Top-level names of all modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            found.add(str(node.module).split(".")[0])
    return found


def test_proto_uses_msgspec_and_a_pure_part_of_the_standard_library():
    files = sorted((ROOT / "proto" / "offcam_proto").glob("**/*.py"))
    assert len(files) > 5
    used = {file.name: imported(file) - PROTO_MAY_USE for file in files}
    assert used.pop("host.py") == HOST_MAY_USE  # looks at the file system: see there why
    assert {name: extra for name, extra in used.items() if extra} == {}


def test_reading_runs_needs_numpy_and_the_standard_library():
    files = sorted((ROOT / "proto" / "offcam_runs").glob("**/*.py"))
    used = set().union(*map(imported, files)) - sys.stdlib_module_names
    assert used == {
        "numpy",
        "offcam_proto",
        "offcam_runs",
        "obstore",
        "pandas",
        "polars",
    }  # the last three for types, or if asked for


def test_the_source_roots_are_no_packages():
    for root in ROOTS:
        assert (ROOT / root).is_dir()
        assert not (ROOT / root / "__init__.py").exists()


# --- the client without the server extra ------------------------------------------------------------------

BLOCKER = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {(*SERVER_EXTRA, "offcamd")!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
"""

LOOP = """
import warnings
import gymnasium as gym
import numpy as np
import offcam, offcam.vector

class Env(gym.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}
    render_mode = "rgb_array"
    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)
    steps = 0
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return 0, {}
    def step(self, action):
        self.steps += 1
        return 0, 1.0, self.steps == 5, False, {}
    def render(self):
        return np.full((8, 6, 3), self.steps, np.uint8)

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    env = WRAPPED
    returns = []
    for episode in range(3):
        env.reset(seed=episode)
        done = False
        while not done:
            *_, reward, terminated, truncated, info = env.step(0)
            done = terminated or truncated
        returns.append(info.get("episode", {}).get("r"))
    env.close()
print(returns)
for warning in caught:
    print("warning:", " ".join(str(warning.message).split()))
"""


@pytest.fixture
def elsewhere(tmp_path: Path):
    """Runs code where nobody listens at ``OFFCAM_ADDR``."""
    with tempfile.TemporaryDirectory(prefix="oc") as short:  # a socket's path may not be long

        def run(code: str) -> list[str]:
            variables = {name: value for name, value in os.environ.items() if not name.startswith("OFFCAM")}
            done = subprocess.run(
                [sys.executable, "-c", BLOCKER + code],
                cwd=tmp_path,
                env={**variables, "OFFCAM_ADDR": f"ipc://{short}/nobody.sock", "OFFCAM_DIR": str(tmp_path / "runs")},
                capture_output=True,
                text=True,
                timeout=HANG_SECONDS,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout.splitlines()

        yield run


def test_the_blocker_blocks(elsewhere):
    for name in (*SERVER_EXTRA, "offcamd"):
        assert elsewhere(f"try:\n    import {name}\nexcept ModuleNotFoundError as e:\n    print(e)") == [
            f"{name} is blocked"
        ]


def test_importing_offcam_needs_nothing_of_the_server(elsewhere):
    code = "import offcam, offcam.vector, sys\nprint(*sorted({name.split('.')[0] for name in sys.modules}))"
    (loaded,) = elsewhere(code)
    assert "offcam_proto" in loaded.split()
    assert not set(loaded.split()) & {*SERVER_EXTRA, "offcamd"}


def test_importing_offcam_loads_nothing_that_only_reading_runs_needs(elsewhere):
    (loaded,) = elsewhere("import offcam, sys\nprint(*sorted(name for name in sys.modules))")
    assert not set(loaded.split()) & {"offcam_runs.run", "offcam_runs.notebook", "sqlite3", "pandas", "polars"}


def test_runs_are_loaded_without_the_server(elsewhere, tmp_path):
    folder = runs.write(tmp_path / "run", [1.0, 2.0, 6.0])
    code = f"import offcam\nrun = offcam.load({str(folder)!r})\nprint(run, run.episodes.summary().mean, run.clips)"
    assert elsewhere(code) == [f"<Run {str(folder)!r}: 3 episodes, 0 clips> 3.0 ()"]


@pytest.mark.parametrize(
    ("wrapped", "returns"),
    [
        ("offcam.RecordEpisodeStatistics(Env())", "[5.0, 5.0, 5.0]"),
        ("offcam.RecordVideo(Env(), 'videos', episode_trigger=lambda n: False)", "[None, None, None]"),
        ("offcam.RecordVideo(offcam.RecordEpisodeStatistics(Env()), 'videos', lambda n: False)", "[5.0, 5.0, 5.0]"),
    ],
)
def test_without_a_daemon_the_loop_runs_and_one_warning_says_what_to_do(elsewhere, wrapped, returns):
    printed, *warned = elsewhere(LOOP.replace("WRAPPED", wrapped))
    assert printed == returns
    if "Statistics" in wrapped:  # those are kept in the folder, and it is said where
        assert "3 episodes are kept in " in warned.pop()
    assert len(warned) == 1, warned
    assert "OFFCAM_ADDR" in warned[0]
    assert "offcam serve" in warned[0]


def test_frames_that_nobody_took_are_counted_in_one_more_warning(elsewhere):
    printed, first, *others = elsewhere(LOOP.replace("WRAPPED", "offcam.RecordVideo(Env(), 'videos', lambda n: True)"))
    assert printed == "[None, None, None]"
    assert "nothing is recorded yet" in first
    assert all("of 6 frames" in warning for warning in others), others
    assert len(others) <= 3
