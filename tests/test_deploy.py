from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from offcamd.cli import app
from offcamd.config import SPECS, load

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
EXAMPLE = DEPLOY / "offcam.example.toml"
UNITS = sorted(DEPLOY.glob("systemd/*/*.service"))
SETTING = re.compile(r"^# (\w+) = ", re.MULTILINE)


def uncommented() -> str:
    return SETTING.sub(r"\1 = ", EXAMPLE.read_text())


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No configuration but what the test gives."""
    for variable in (
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
        "XDG_CACHE_HOME",
        "OFFCAM_ADDR",
        "OFFCAM_LOG",
        "OFFCAM_HTTP",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("alone")
def test_the_example_configuration_changes_nothing_as_it_is():
    assert load(config=EXAMPLE) == load()


@pytest.mark.usefixtures("alone")
def test_the_example_configuration_has_every_setting_with_its_default(tmp_path):
    given = tomllib.loads(uncommented())
    assert list(given) == [spec.key for spec in SPECS]
    (tmp_path / "all.toml").write_text(uncommented())
    all_given, default = load(config=tmp_path / "all.toml"), load()
    for spec in SPECS:
        # those left out are the host's, or none by default
        if spec.field not in ("endpoint", "tcp", "encoders", "log_file", "http", "http_token"):
            assert getattr(all_given, spec.field) == getattr(default, spec.field), spec.key
    assert all_given.http.netloc == default.http.netloc


def test_the_example_configuration_names_every_flag_and_variable():
    text = EXAMPLE.read_text()
    for spec in SPECS:
        assert spec.flag in text
        assert re.search(rf"\b{spec.variable}\b", text)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units(unit, tmp_path, monkeypatch):
    text = unit.read_text()
    assert "RuntimeDirectoryMode=0700" in text
    assert "AF_UNIX" in text
    assert "Type=exec" in text
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not here")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    copy = tmp_path / unit.name.replace("@", "@root")
    copy.write_text(text)
    done = subprocess.run(
        [analyze, "verify", *(["--user"] if unit.parent.name == "user" else []), str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if copy.name in line]
    assert complaints == []
    assert done.returncode == 0, done.stderr


def test_compose():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    service = compose["services"]["offcam"]
    assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    known = {spec.variable for spec in SPECS}
    assert set(service["environment"]) <= known


def test_dockerfile():
    text = (DEPLOY / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        *sources, _target = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
    known = {spec.variable for spec in SPECS}
    assert set(re.findall(r"OFFCAM_\w+", text)) <= known
    assert re.search(r"^USER 1000", text, re.MULTILINE)


def test_the_runbook_names_only_verbs_that_exist():
    text = (DEPLOY / "RUNBOOK.md").read_text()
    verbs = {command.name or command.callback.__name__ for command in app.registered_commands}
    verbs |= {group.typer_instance.info.name for group in app.registered_groups}
    named = set(re.findall(r"`(?:\w+=\w+ )*offcam ([a-z]+)", text))
    assert named
    assert named <= verbs
