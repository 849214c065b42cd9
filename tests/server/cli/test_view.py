"""`offcam view`: folders are shown without a daemon."""

import json
import os
import signal
import subprocess

import pytest

from commandline import COMMAND, WAIT_SECONDS
from fetching import fetch
from offcamd.cli.view import can_show


@pytest.fixture
def view(tmp_path):
    with subprocess.Popen(
        [*COMMAND, "view", str(tmp_path), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process, json.loads(process.stdout.readline())
        process.kill()


def test_it_serves_the_page_and_its_files_on_loopback(view):
    process, said = view
    assert said == {"url": said["url"], "pid": process.pid, "runs": 0}
    assert said["url"].startswith("http://127.0.0.1:")
    page = fetch(said["url"])
    assert "text/html" in page.headers["content-type"]
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "<style" not in page.text
    assert "<script>" not in page.text
    script = fetch(f"{said['url']}/static/app.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert fetch(f"{said['url']}/api/runs").json() == {"daemon": False, "total": 0, "offset": 0, "runs": []}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_it_is_asked_to(view, number):
    process, _ = view
    os.kill(process.pid, number)
    assert process.wait(WAIT_SECONDS) == 0
    assert process.stderr.read() == ""


def test_a_folder_that_is_not_there_is_refused():
    done = subprocess.run(
        [*COMMAND, "view", "/no/such/folder", "--no-browser"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "/no/such/folder" in done.stderr


def test_a_browser_is_opened_only_where_it_would_be_seen():
    assert can_show({"DISPLAY": ":0"})
    assert not can_show({"DISPLAY": ":0", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"})
    assert not can_show({"DISPLAY": "", "WAYLAND_DISPLAY": ""})
