"""What is uploaded and installed: wheel and sdist, built as a packager builds them, and a recording with the wheel."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # what is built and installed comes over the network

ROOT = Path(__file__).parents[2]
PACKAGES = ("offcam", "offcam_proto", "offcam_runs", "offcamd")
LINK = re.compile(r"\]\(([^)]+)\)")

TRAINING = """
import gymnasium as gym, offcam

env = offcam.record(gym.make("CartPole-v1", render_mode="rgb_array"), "run", every=1, overflow="block")
for episode in range(2):
    env.reset(seed=episode)
    over = False
    while not over:
        *_, terminated, truncated, info = env.step(env.action_space.sample())
        over = terminated or truncated
env.close()
print(offcam.__file__)
"""


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel that is built from it: what is missing in the one is missing in the other."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def metadata(built):
    with zipfile.ZipFile(built[1]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_string(wheel.read(name).decode())


def test_the_index_would_take_them(built):
    pytest.importorskip("twine")
    assert run(sys.executable, "-m", "twine", "check", "--strict", *built).count("PASSED") == 2


def test_the_indexs_page_leads_somewhere(metadata):
    links = LINK.findall(metadata.get_payload())
    assert len(links) > 5
    assert [link for link in links if not link.startswith("https://")] == []
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL"))
    assert {"Homepage", "Source", "Issues", "Changelog"} <= set(urls)
    home = urls["Source"]
    assert all(url.startswith(home) for url in urls.values())
    ours = [link.partition("#")[0].removeprefix(f"{home}/blob/main/") for link in links if link.startswith(home)]
    assert ours
    assert [path for path in ours if not (ROOT / path).exists()] == []


def test_classifiers_are_what_was_tested(metadata):
    classifiers = metadata.get_all("Classifier")
    assert [name for name in classifiers if name.startswith("Operating System")] == [
        "Operating System :: POSIX :: Linux"
    ]
    versions = [name.rpartition(" ")[2] for name in classifiers if re.search(r":: 3\.\d+$", name)]
    assert versions
    assert metadata["Requires-Python"] == f">={versions[0]}"
    workflows = [file.read_text() for file in ROOT.glob(".github/workflows/*.yml")]
    if not workflows:
        pytest.skip("there is no workflow here that says which versions are tested")
    assert [version for version in versions if not any(version in text for text in workflows)] == []


def test_the_wheel_has_what_is_no_python(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    for folder, inside in (("deploy", "offcamd/deploy"), ("server/offcamd/web/static", "offcamd/web/static")):
        files = [path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*") if path.is_file()]
        assert [path for path in files if f"{inside}/{path.as_posix()}" not in names] == []
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_sdist_has_all_that_is_tracked(built):
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    tracked = run("git", "-C", ROOT, "ls-files").splitlines()
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert [path for path in tracked if path not in names] == []


def test_the_wheel_records_in_a_fresh_environment(built, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "fresh")
    programs = tmp_path / "fresh" / "bin"
    run(programs / "python", "-m", "pip", "install", "--quiet", f"{built[1]}[server]", "gymnasium[classic-control]")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("OFFCAM", "PYTHON", "XDG"))}
    with tempfile.TemporaryDirectory(prefix="oc") as short:  # a socket's path may not be long
        here = {
            "cwd": tmp_path,
            "env": {**variables, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": short, "PATH": f"{programs}:/usr/bin:/bin"},
        }
        try:
            assert str(tmp_path / "fresh") in run(programs / "python", "-c", TRAINING, **here)
            verdict = json.loads(run(programs / "offcam", "verify", "run", "--json", **here))
            assert (verdict["clips_checked"], verdict["problems"]) == (2, [])
            unit = run(programs / "offcam", "files", "systemd", **here)
            assert unit == (ROOT / "deploy/systemd/user/offcam.service").read_text()
        finally:
            run(programs / "offcam", "stop", **here)
