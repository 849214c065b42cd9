"""A daemon whose predecessor died: its page is at the same address, and shows the same runs."""

import json
import shutil
import signal

import httpx
import pytest
from test_live import cartpole, play

import ports
from offcamd.config.values import HttpAddress
from offcamd.daemon.shown_file import MOST_FOLDERS, ShownFile
from offcamd.process.instance_lock import daemon_paths, prepare_directory
from offcamd.web.server import bind
from waiting import HANG_SECONDS


def address(ready):
    return dict(word.split("=", 1) for word in ready.split() if "=" in word)["http"]


def runs(url):
    return {run["folder"]: run for run in httpx.get(f"{url}/api/runs", timeout=HANG_SECONDS).json()["runs"]}


@pytest.fixture
def port(endpoint):
    """The port of a daemon that was here before all: one that nobody else is given meanwhile."""
    with ports.one() as number:
        shown = daemon_paths(endpoint).shown
        prepare_directory(shown.parent)
        ShownFile(shown).served_at(number)
        yield number


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_its_successor_shows_the_same_at_the_same_address(serve, endpoint, port, tmp_path, monkeypatch, how):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "runs"))
    first, ready = serve()
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        env = cartpole(folder)
        play(env, 2)
        env.close()
    first.send_signal(how)
    first.wait(HANG_SECONDS)
    shutil.rmtree(folders[1])
    shutil.copytree(folders[0], tmp_path / "runs" / "earlier")

    _second, again = serve()

    assert address(again) == address(ready) == f"http://127.0.0.1:{port}"
    shown = runs(address(again))
    assert list(shown) == [*map(str, folders), str(tmp_path / "runs" / "earlier")]
    assert [shown[str(folder)]["episodes"] for folder in folders] == [2, 0]
    assert "moved or removed" in shown[str(folders[1])]["problem"]
    assert not any(run["live"] for run in shown.values())


def test_a_port_that_somebody_else_has_gives_way(serve, port):
    with bind(HttpAddress("127.0.0.1", port)):
        _process, ready = serve()
    assert address(ready) != f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"port": 8, "folders": [1]}',
        "{",
        '{"port": "8", "folders": []}',
        '{"port": 8}',
        '{"port":1,"folders":3}',
    ],
)
def test_a_damaged_file_is_none(tmp_path, text):
    path = tmp_path / "daemon.sock.shown"
    path.write_text(text)
    found = ShownFile(path)
    assert (found.port, found.folders) == (0, ())
    found.wrote(["/a"])
    assert ShownFile(path).folders == ("/a",)


def test_what_is_remembered_is_bounded_and_each_folder_once(tmp_path):
    path = tmp_path / "daemon.sock.shown"
    found = ShownFile(path)
    found.served_at(8720)
    found.wrote([f"/{number}" for number in range(MOST_FOLDERS)])
    found.wrote(["/7", "/new"])
    again = ShownFile(path)
    assert again.port == 8720
    assert again.folders[0] == "/1"
    assert again.folders[-1] == "/new"
    assert len(set(again.folders)) == MOST_FOLDERS


def test_no_link_is_followed(tmp_path):
    other = tmp_path / "other"
    other.write_text(json.dumps({"port": 1, "folders": ["/secret"]}))
    path = tmp_path / "daemon.sock.shown"
    path.symlink_to(other)
    found = ShownFile(path)
    assert found.folders == ()
    found.wrote(["/a"])
    assert json.loads(other.read_text())["folders"] == ["/secret"]
    assert ShownFile(path).folders == ("/a",)
