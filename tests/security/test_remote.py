"""Where a remote client's run goes, whatever it calls its folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offcam_proto.errors import FolderNotWritable
from offcamd.security.remote_folders import make_run_folder, run_folder, safe_name

USER = "alice 0123456789abcdef"
CORPUS = [
    "/", "/..", "/../../etc", "../../etc/passwd", "/etc/cron.d", "C:\\Windows\\System32", "\\\\server\\share", "/a\0b",
    "/" + "x" * 300, "/" + "é" * 300, "/\udc80\ud800", "/CON", "/con.txt", "/Nul", "/COM1.mp4", "/lpt9", "/CONIN$",
    "/.hidden", "/-rf", "/~", "/~root", "/http://evil/x", "/tee:/tmp/x", "/md5:", "/$(reboot)", "/`id`", "/a b", "/.",
    "", "/a/.../", "/%2e%2e", "/\u202egnp", "/a\nb", "/file:x", "/|x", "/*", "/?", "/ ", "/..%c0%af", "/aux.", "/a.",
]  # fmt: skip
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*-[0-9a-f]{8}")
DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$)(\..*)?", re.IGNORECASE)


def check(folder):
    name = safe_name(folder)
    assert PLAIN.fullmatch(name), name
    assert len(name) <= 94
    assert not DEVICE.fullmatch(name)
    assert not DEVICE.fullmatch(name.partition(".")[0])
    root = Path("/srv/offcam")
    assert run_folder(root, USER, folder).parts == (*root.parts, "alice", name)


@pytest.mark.parametrize("folder", CORPUS, ids=ascii)
def test_names(folder):
    check(folder)


@given(st.text())
def test_any_text(folder):
    check(folder)


def test_a_path_has_one_name_and_two_paths_have_two():
    assert safe_name("/home/alice/a/videos") == safe_name("/home/alice/a/videos")
    assert safe_name("/home/alice/a/videos") != safe_name("/home/alice/b/videos")
    assert safe_name("/home/alice/cartpole").startswith("cartpole-")


@pytest.mark.parametrize("folder", CORPUS, ids=ascii)
def test_it_is_made_below_the_root_and_nowhere_else(tmp_path, folder):
    made = Path(make_run_folder(tmp_path / "root", USER, folder))
    assert made.parent == tmp_path / "root" / "alice"
    assert made.is_dir()
    assert set(tmp_path.rglob("*")) == {tmp_path / "root", made.parent, made}
    assert make_run_folder(tmp_path / "root", USER, folder) == str(made)


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("dangling", [True, False])
def test_no_link_leads_out(tmp_path, depth, dangling):
    target = tmp_path / "outside"
    if not dangling:
        target.mkdir()
    path = run_folder(tmp_path / "root", USER, "/run")
    link = (path.parent, path)[depth]
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    with pytest.raises(FolderNotWritable):
        make_run_folder(tmp_path / "root", USER, "/run")
    assert not target.exists() or not list(target.iterdir())


def test_a_root_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderNotWritable, match="`root` writable"):
        make_run_folder(tmp_path / "file" / "root", USER, "/run")
