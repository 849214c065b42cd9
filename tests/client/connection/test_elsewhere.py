"""A base install records with the full ``offcam`` of another installation on PATH, once that is the right one."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import films
from offcam.connection import elsewhere
from offcam_proto import __version__

BASE = ("numpy", "numpy.libs", "gymnasium", "farama_notifications", "cloudpickle", "typing_extensions.py", "msgspec",
        "zmq", "pyzmq.libs")  # fmt: skip
"""What `pip install offcam` brings, by its names in site-packages."""

ROOT = Path(__file__).parents[3]
RECORD = """
import sys, offcam
from envs import Barcode, play
{before}
env = {make}
play(env, 2)
env.close()
"""
VIDEO = "offcam.record(Barcode(5), sys.argv[1], every=1, strict=True)"
STATISTICS = "offcam.RecordEpisodeStatistics(Barcode(5), strict={strict})"


@pytest.fixture(scope="module")
def thin(tmp_path_factory) -> Path:
    """The interpreter of an installation without the ``server`` extra: a venv with links to the libraries here."""
    venv = tmp_path_factory.mktemp("base")
    here = Path(sysconfig.get_path("platlib"))
    site = venv / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    site.mkdir(parents=True)
    for name in BASE:
        if (here / name).exists():
            (site / name).symlink_to(here / name)
    (site / "offcam.pth").write_text("".join(f"{ROOT / part}\n" for part in ("client", "proto", "server", "tests")))
    (venv / "bin").mkdir()
    python = venv / "bin" / "python"
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    python.symlink_to(base)
    (venv / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    return python


def put(folder: Path, text: str) -> Path:
    """An ``offcam`` command in a folder."""
    folder.mkdir(exist_ok=True)
    command = folder / "offcam"
    command.write_text(text)
    command.chmod(0o755)
    return command


@pytest.fixture
def full(tmp_path) -> Path:
    """The folder of this installation's command, as pipx would put it on PATH."""
    script = f"#!{sys.executable}\nimport sys\nfrom offcamd.__main__ import main\nsys.exit(main())\n"
    return put(tmp_path / "full", script).parent


@pytest.fixture
def run(thin, embedded, tmp_path):
    """Run a script in the base installation, with a PATH."""

    def run(make: str, *path: Path, before: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [thin, "-c", RECORD.format(make=make, before=before), tmp_path / "run"],
            env={**os.environ, "PATH": os.pathsep.join(map(str, path)), "OFFCAM_DIR": str(tmp_path / "runs")},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    return run


# --- recording ------------------------------------------------------------------------------------------------


def test_it_records_with_the_one_on_path(run, full, tmp_path):
    done = run(VIDEO, put(tmp_path / "broken", "#!/bin/sh\nexit 3\n").parent, full)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    folder = tmp_path / "run"
    assert [row.length for row in films.episodes(folder)] == [5, 5]
    assert [films.numbers(folder / name) for name in films.videos(folder)] == [list(range(6))] * 2


def test_one_of_another_version_is_named_with_the_fix(run, tmp_path):
    other = put(tmp_path / "other", "#!/bin/sh\necho offcam 99.0.0\n")
    done = run(VIDEO, other.parent)
    assert "DaemonNotInstalled" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert 'pip install "offcam[server]"' in last
    assert f"{other} on PATH is offcam 99.0.0, and this client is {__version__}" in last
    assert f'pipx install "offcam[server]=={__version__}"' in last


@pytest.mark.parametrize("strict", [True, False])
def test_statistics_alone(run, tmp_path, strict):
    done = run(STATISTICS.format(strict=strict), tmp_path)
    assert done.returncode == (1 if strict else 0), done.stderr
    expected = "DaemonNotInstalled" if strict else f"episode statistics are kept in {tmp_path}"
    assert expected in done.stderr


SLOW = """#!/bin/sh
while [ ! -e {mark} ]; do /bin/sleep 0.01; done
[ "$1" = --version ] && echo offcam {version} && exit
exec {full}/offcam "$@"
"""
IMPATIENT = """
from pathlib import Path
from offcam.connection import elsewhere
elsewhere.VERSION_SECONDS = 0.5

def once_made(env):
    Path({mark!r}).touch()  # by now it was asked in vain
    return env
"""


def test_one_that_is_slow_to_say_its_version_is_asked_again(run, full, tmp_path):
    mark = str(tmp_path / "mark")
    slow = put(tmp_path / "slow", SLOW.format(mark=mark, full=full, version=__version__))
    make = "once_made(offcam.record(Barcode(5), sys.argv[1], every=1))"
    done = run(make, slow.parent, before=IMPATIENT.format(mark=mark))
    assert done.returncode == 0, done.stderr
    assert f"{slow} on PATH has not said its version in 0.5 s" in done.stderr
    assert [row.length for row in films.episodes(tmp_path / "run")] == [5, 5]


# --- which one ------------------------------------------------------------------------------------------------


def test_nothing_in_the_working_directory_is_run(tmp_path, monkeypatch):
    here, good = (put(tmp_path / name, "#!/bin/sh\n") for name in ("here", "good"))
    (tmp_path / "link").symlink_to(here.parent)
    (tmp_path / "none" / "offcam").mkdir(parents=True)
    put(tmp_path / "unrunnable", "").chmod(0o644)
    monkeypatch.chdir(here.parent)
    path = ["", ".", "../good", str(here.parent), f"{tmp_path}/link", f"{tmp_path}/none", f"{tmp_path}/unrunnable"]
    assert list(elsewhere.commands(os.pathsep.join([*path, str(good.parent), str(good.parent)]))) == [str(good)]


def test_the_version_is_asked_once(tmp_path):
    command = put(tmp_path / "bin", f"#!/bin/sh\necho asked >> {tmp_path}/log\necho offcam {__version__}\n")
    assert [elsewhere.problem(str(command)) for _ in range(3)] == [""] * 3
    assert (tmp_path / "log").read_text() == "asked\n"
    put(tmp_path / "bin", "#!/bin/sh\nexit 1\n")
    os.utime(command, ns=(1, 1))
    assert "of no known version" in elsewhere.problem(str(command))
    assert "does not say its version" in elsewhere.problem(str(tmp_path / "gone"))
    put(tmp_path / "bin", f"#!/bin/sh\necho offcam {__version__}\nsleep 5 &\n")  # which holds the pipe open
    assert elsewhere.problem(str(command)) == ""


def test_it_is_not_told_where_this_ones_libraries_are():
    environment = elsewhere.environment({"PYTHONPATH": "/x", "PYTHONHOME": "/y", "OFFCAM_CRF": "20", "PATH": "/bin"})
    assert environment == {"OFFCAM_CRF": "20", "PATH": "/bin"}
