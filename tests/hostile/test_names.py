"""Names that lead elsewhere, from raw peers: nothing is written outside the run folder, whatever a clip is called.

A local peer chooses its folder as freely as its own process could. In it, its names are plain ones. (Where a remote
one's folders go, `tests/security/test_remote.py` shows.)
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from pathlib import Path

import msgpack
import pytest
import zmq

from offcam_proto import codec
from offcam_proto import messages as msg
from offcam_runs.format import INDEX_NAME, LOCK_NAME
from offcamd.security.remote_folders import make_run_folder
from offcamd.video.probe import probe
from rawpeer import RawPeer, hello, picture
from waiting import wait_until
from witnesses import a_daemon

REFUSED = [
    "", ".", "..", "../x", "/etc/passwd", "/x", "a/b", "a/../../x", "..\\x", "C:\\x", "\\\\server\\share", "a\0b",
    "\0", "x" * 300, "é" * 150, "http://127.0.0.1:1/x", "tee:/tmp/x|/tmp/y", "md5:/tmp/x", "file:/tmp/x", "/dev/stdout",
]  # fmt: skip
ACCEPTED = [
    "CON", "NUL", "con.txt", "tee:x", "md5:", "md5:x", "http:", "pipe:1", "fd:", "data:x", "concat:a|b", "-", "-rf",
    "--", "a\nb", "a\rb", "\x1b[2Jx", "\x7f", "...", "..a", " ", "~", "~root", "$(id)", "`id`", "*", "?", "%2e%2e",
    "%d", "x%03d", "offcam.db", "x" * 200, "é" * 100, "\u202egnp", "a|b", "a&b", "a;b", "a'b", 'a"b', "a#b?c",
    ".hidden", "x.mp4", "x.part",
]  # fmt: skip
FOLDERS = [
    "tee:x",
    "md5:",
    "http:",
    "a\nb",
    "-",
    "%2e%2e",
    "?mode=memory",
    "a#b",
    "CON",
    "x" * 200,
    "\x1b[2J",
    " ",
    "file:x",
]


@pytest.fixture(scope="module")
def area(session_root):
    """A daemon for this module, a place to record into, and what lies around it."""
    base = Path(tempfile.mkdtemp(dir=session_root, prefix="names"))
    with a_daemon(base) as (endpoint, _, log), zmq.Context() as context:
        yield base / "area", endpoint.url, context
    words = log.read_text()
    assert "Traceback" not in words, words[max(0, words.index("Traceback") - 1000) :][:5000]


@pytest.fixture
def around(area):
    """What must be as before: everything but the run folder."""
    place, _, _ = area
    place = place / secrets.token_hex(4)
    (place / "outside").mkdir(parents=True)
    (place / "outside" / "precious").write_bytes(b"precious")
    yield place
    assert sorted(path.name for path in place.iterdir()) in (["outside"], ["outside", "run"])
    assert [path.name for path in (place / "outside").iterdir()] == ["precious"]
    assert (place / "outside" / "precious").read_bytes() == b"precious"


@pytest.fixture
def peer(area):
    _, address, context = area
    with RawPeer(address, context) as connected:
        connected.greet()
        yield connected


def record(peer, clip, name):
    """Record a clip of two frames and return what the daemon says became of it."""
    peer.open_clip(1, clip, name)
    peer.say(picture(1, clip, 0), picture(1, clip, 1), msg.EndClip(1, clip, True))
    return peer.await_(msg.ClipDone)


def raw(message, **values):
    """A message with values that could not be constructed."""
    fields = [values.get(name, getattr(message, name)) for name in type(message).__struct_fields__]
    return [msgpack.packb([message.TYPE, *fields], unicode_errors="surrogatepass")]


@pytest.mark.parametrize("name", [*REFUSED, "\ud800", "a\udc80"], ids=ascii)
@pytest.mark.parametrize("field", ["prefix", "name"])
def test_a_name_with_a_way_in_it_is_refused(peer, around, name, field):
    if field == "prefix":
        stream = msg.OpenStream(1, bytes(16), f"{around}/run", "v", 0, True, "E", 1, False, time.time())
        peer.send(raw(stream, prefix=name))
        if name == "":  # a stream without video
            peer.await_(msg.StreamOpened)
            return
    else:
        peer.open_stream(1, around / "run", "v")
        peer.send(raw(msg.OpenClip(1, 0, "v", 1, 30.0, 1, 1, 0, 0, time.time(), 256), name=name))
    assert peer.await_(msg.Refused).code in ("malformed", "limit")
    assert not list(around.rglob("*.mp4*"))


def test_odd_names_are_names_of_files_in_the_folder(peer, around):
    peer.open_stream(1, around / "run", "v")
    for clip, name in enumerate(ACCEPTED):
        done = record(peer, clip, name)
        assert (done.encoded, done.error) == (2, ""), name
        assert done.file == f"{name}.mp4"
        assert probe(around / "run" / done.file).frames == 2
    expected = {f"{name}.mp4" for name in ACCEPTED}
    assert {path.name for path in (around / "run").glob("*.mp4*")} | {
        f"{n}.mp4" for n in ACCEPTED if n[0] == "."
    } == expected


@pytest.mark.parametrize("name", FOLDERS, ids=ascii)
def test_odd_folders_are_folders(peer, around, name):
    answer = peer.open_stream(1, around / "run" / name, "v")
    assert isinstance(answer, msg.StreamOpened), answer
    assert record(peer, 0, "v").encoded == 2
    assert [path.name for path in (around / "run").iterdir()] == [name]
    assert {INDEX_NAME, "v.mp4"} <= {path.name for path in (around / "run" / name).iterdir()}


@pytest.mark.parametrize(
    "folder",
    [
        "",
        "run",
        "./run",
        "{}/../run",
        "{}/./run",
        "{}//run",
        "//{}/run",
        "{}/run/",
        "{}/a\0b",
        "{}/" + "x" * 5000,
        "~/run",
    ],
    ids=lambda folder: ascii(folder[:20]),
)
def test_a_folder_is_an_absolute_normal_path_or_refused(peer, around, folder):
    stream = msg.OpenStream(1, bytes(16), "/run", "v", 0, True, "E", 1, False, time.time())
    peer.send(raw(stream, folder=folder.replace("{}", str(around))))
    assert peer.await_(msg.Refused).code in ("malformed", "limit")


@pytest.mark.parametrize("folder", ["{}/outside/precious", "{}/outside/precious/run", "/proc/x", "{}/" + "x" * 300])
def test_a_folder_that_cannot_be_is_refused_alone(peer, around, folder):
    refused = peer.open_stream(1, folder.replace("{}", str(around)), "v")
    assert isinstance(refused, msg.StreamRefused)
    assert isinstance(peer.open_stream(2, around / "run", "v"), msg.StreamOpened)


# --- links ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["precious", "new"])
@pytest.mark.parametrize("end", ["", ".part", ".part.plain"])
def test_no_link_is_written_through(peer, around, end, to):
    run = around / "run"
    run.mkdir()
    (run / f"v.mp4{end}").symlink_to(around / "outside" / to)
    peer.open_stream(1, run, "v")
    done = record(peer, 0, "v")
    assert (done.encoded, done.file) == (2, "v.mp4")
    assert not (run / "v.mp4").is_symlink()
    assert probe(run / "v.mp4").frames == 2


@pytest.mark.parametrize("to", ["precious", "new"])
@pytest.mark.parametrize("name", [INDEX_NAME, LOCK_NAME])
def test_an_index_or_a_lock_that_is_a_link_is_refused(peer, around, name, to):
    run = around / "run"
    run.mkdir()
    (run / name).symlink_to(around / "outside" / to)
    assert isinstance(peer.open_stream(1, run, "v"), msg.StreamRefused)
    (run / name).unlink()
    assert isinstance(peer.open_stream(2, run, "v"), msg.StreamOpened)


@pytest.mark.parametrize("companion", ["-wal", "-journal", "-shm"])
def test_an_index_whose_journal_is_a_link_writes_nothing_elsewhere(peer, around, companion):
    run = around / "run"
    run.mkdir()
    (run / f"{INDEX_NAME}{companion}").symlink_to(around / "outside" / "precious")
    peer.open_stream(1, run, "v")


@pytest.mark.parametrize("known", [True, False])
def test_recovery_changes_no_file_that_a_link_leads_to(area, around, known):
    """A whole fragmented video elsewhere, with half a frame behind it, is what recovery would cut."""
    _, address, context = area
    run, target = around / "run", around / "outside" / "precious"
    with RawPeer(address, context) as peer:
        peer.greet()
        peer.open_stream(1, run, "v")
        peer.open_clip(1, 0, "v")
        peer.say(*(picture(1, 0, index) for index in range(40)))
        part = run / "v.mp4.part"
        wait_until(lambda: part.exists() and part.stat().st_size >= 1500, "frames are written")
        bait = part.read_bytes() + b"\0\0\1\0moof"
        peer.say(msg.Goodbye(""))
        wait_until(lambda: not (run / LOCK_NAME).exists() and not part.exists(), "the folder is let go")
    target.write_bytes(bait)
    (run / ("v.mp4.part" if known else "stray.mp4.part")).symlink_to(target)
    try:
        with RawPeer(address, context) as peer:
            peer.greet()
            peer.open_stream(1, run, "w")
        assert target.read_bytes() == bait
    finally:
        target.write_bytes(b"precious")


# --- a remote client's folder -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*REFUSED, *ACCEPTED], ids=ascii)
def test_a_remote_folder_lies_below_the_root(around, name):
    root = around / "run"
    made = Path(make_run_folder(root, "alice 0123456789abcdef", f"/{name}"))
    assert made.parent == root / "alice"
    assert os.path.realpath(made) == os.path.join(os.path.realpath(root), "alice", made.name)  # noqa: PTH118 - as text


def test_a_session_is_greeted_again_after_all_that(peer):
    peer.say(hello())
    assert peer.await_(msg.Welcome)
    assert codec.PROTOCOL_VERSION == 1
