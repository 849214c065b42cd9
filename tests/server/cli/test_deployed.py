"""``offcam files``: what is in deploy/, from a checkout here and from an installation in tests/package."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from offcam_proto.errors import ConfigError
from offcamd.cli.deployed import FILES, named, write

DEPLOY = Path(__file__).parents[3] / "deploy"


def test_each_file_of_deploy_has_one_name():
    there = [path.relative_to(DEPLOY).as_posix() for path in DEPLOY.rglob("*") if path.is_file()]
    assert sorted(file.file for file in FILES.values()) == sorted(there)
    assert len({Path(path).name for path in there}) == len(there)  # they are written into one folder


def test_the_list_a_file_and_a_folder_of_them(offcam, tmp_path):
    listed = offcam("files")
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(FILES)
    assert [row["name"] for row in json.loads(offcam("files", "--json").stdout)["files"]] == list(FILES)
    assert offcam("files", "systemd").stdout == (DEPLOY / "systemd/user/offcam.service").read_text()
    as_json = json.loads(offcam("files", "grafana", "--json").stdout)
    assert as_json == {
        "name": "grafana",
        "file": "grafana-dashboard.json",
        "text": (DEPLOY / "grafana-dashboard.json").read_text(),
    }
    folder = tmp_path / "made" / "here"
    done = offcam("files", "prometheus", "alerts", "-o", str(folder), "--json")
    assert json.loads(done.stdout) == {"written": [str(folder / "prometheus.yml"), str(folder / "alerts.yml")]}
    assert (folder / "alerts.yml").read_text() == (DEPLOY / "alerts.yml").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"), [(["promethus"], "Did you mean 'prometheus'"), (["systemd", "grafana"], "with -o")]
)
def test_what_cannot_be_printed(offcam, arguments, said):
    done = offcam("files", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_replaced_unasked_and_then_all_or_none(tmp_path):
    (tmp_path / "alerts.yml").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        write(named(["prometheus", "alerts"]), tmp_path, force=False)
    assert [path.name for path in tmp_path.iterdir()] == ["alerts.yml"]
    assert (tmp_path / "alerts.yml").read_text() == "mine"
    write(named(["alerts"]), tmp_path, force=True)
    assert (tmp_path / "alerts.yml").read_text() == FILES["alerts"].text()


def test_a_link_is_followed_and_what_is_no_file_stays(tmp_path):
    (tmp_path / "kept").write_text("old")
    (tmp_path / "alerts.yml").symlink_to(tmp_path / "kept")
    write(named(["alerts"]), tmp_path, force=True)
    assert (tmp_path / "alerts.yml").is_symlink()
    assert (tmp_path / "kept").read_text() == FILES["alerts"].text()
    os.mkfifo(tmp_path / "prometheus.yml")
    with pytest.raises(ConfigError, match="no regular file"):
        write(named(["prometheus"]), tmp_path, force=True)
    assert (tmp_path / "prometheus.yml").is_fifo()


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write(named(["alerts"]), tmp_path / "file", force=False)
