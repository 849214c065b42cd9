"""Hosts whose directories are not what one would wish for. Each of them records, with at most one warning."""

from __future__ import annotations

import json

import pytest
from strangehosts import HERE, OUT, SOCKET, UID

OWN, TMP = f"/run/user/{UID}", f"/tmp/offcam-{UID}"


def slow(*values):
    """Of many hosts that are alike the default suite tries one."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow) for value in values
    ]


LOGIN = [f"mkdir -p {OWN}", f"chown {UID} {OWN}", f"chmod 700 {OWN}"]


@pytest.mark.parametrize("home", [None, *slow("/", "/nowhere", "/root", "~")])
def test_a_user_without_passwd_entry(host, home):
    """As with `docker run -u 12345`: HOME is unset, the root, missing, somebody else's, or not a path at all."""
    host.environment = {} if home is None else {"HOME": home}
    host.records(f"{TMP}/")
    assert "frames wait in memory alone" in host.log()


@pytest.mark.slow
def test_a_home_that_is_read_only(host):
    host.environment["HOME"] = "/mnt/home"
    host.made = ["mkdir -m 777 /mnt/home", "mount --bind -r /mnt/home /mnt/home", "mount -o remount,bind,ro /mnt/home"]
    host.records(f"{TMP}/")
    assert "frames wait in memory alone" in host.log()


@pytest.mark.slow
def test_the_system_s_runtime_directory_is_found_without_the_variable(host):
    """As in cron, where XDG_RUNTIME_DIR is not set: the daemon is the one of the login session."""
    host.made = LOGIN
    host.records(f"{OWN}/offcam/")


@pytest.mark.parametrize(
    ("value", "made", "reason"),
    [
        ("/run/user/999", [], "there is no /run/user/999"),
        *slow(
            (
                "/run/user/0",
                ["mkdir -p /run/user/0", "chmod 700 /run/user/0", "chown 7 /run/user/0"],
                "belongs to uid 7",
            ),
            ("/run/x", ["mkdir -m 777 /run/x"], "/run/x is open to others (mode 0777)"),
            ("/run/x", ["mkdir -m 755 /run/x"], "cannot be made (Permission denied)"),
            (f"/mnt/{'x' * 90}", [f"mkdir -m 777 /mnt/{'x' * 90}"], "longer than 107 bytes"),
            ("run/user/7", [], "is not absolute"),
            ("/run/x", ["touch /run/x"], "/run/x is no directory"),
            ("/run/x", ["mkdir /run/x", "mount -t tmpfs -o size=4k,mode=1777 none /run/x"], "its file system is full"),
            ("/run/x", ["mkdir /run/x", "mount -t tmpfs -o ro,mode=1777 none /run/x"], "Read-only file system"),
        ),
    ],
    ids=["stale", "another's", "open", "not ours", "too long", "relative", "a file", "full", "read-only"],
)
def test_a_runtime_directory_that_cannot_be_used(host, value, made, reason):
    host.environment["XDG_RUNTIME_DIR"] = value
    host.made = made
    host.records(f"{TMP}/", value, reason)


def test_a_runtime_directory_that_goes_with_its_login_session(host):
    """A training that goes on after a logout has its next daemon in the next place."""
    host.environment["XDG_RUNTIME_DIR"] = "/mnt/session/run"
    host.made = ["mkdir -m 777 /mnt/session", f"install -d -o {UID} -m 700 /mnt/session/run"]
    done = host.run(str(HERE / "logout.py"), f"{OUT}/run")
    assert done.returncode == 0, done.stdout + done.stderr + host.log()
    said = json.loads(done.stdout)
    assert said["before"].startswith("ipc:///mnt/session/run/")
    assert said["after"].startswith(f"ipc://{TMP}/")
    assert said["played"] == said["episodes"] >= 2
    assert said["last"] == "final"


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (f"install -d -o 7 -m 700 {TMP}", "belongs to uid 7"),
        *slow(
            (f"ln -s /mnt/out {TMP}", "is no directory"),
            (f"touch {TMP}", "is no directory"),
            (f"install -d -o {UID} -m 777 {TMP}", "is open to others (mode 0777)"),
        ),
    ],
    ids=["another's", "a link", "a file", "open"],
)
def test_a_directory_below_tmp_that_somebody_else_made_first(host, made, reason):
    """Without a home there is a directory with a random name; all of the user's processes find it."""
    host.made = [made]
    said = host.records(f"{TMP}-", TMP, reason)
    assert said["address"].count("/") == len(f"ipc://{TMP}-/{SOCKET}".split("/")) - 1


@pytest.mark.slow
def test_the_home_comes_before_a_random_name(host):
    host.made = [f"touch {TMP}", f"install -d -o {UID} -m 755 /mnt/home"]
    host.environment["HOME"] = "/mnt/home"
    host.records("/mnt/home/.local/state/offcam/", TMP, "is no directory")


def test_a_read_only_container_has_shared_memory_left(host):
    """As with `docker run --read-only -u 12345`."""
    host.made = ["mount -o remount,ro /tmp", "mount -o remount,ro /var/tmp"]
    host.records(f"/dev/shm/offcam-{UID}-", TMP, "Read-only file system")


@pytest.mark.slow
def test_a_full_file_system_that_is_the_only_one_names_itself(host):
    host.environment["XDG_RUNTIME_DIR"] = "/run/x"
    host.made = ["mkdir /run/x", "mount -t tmpfs -o size=4k,mode=1777 none /run/x"]
    host.made += [f"mount -o remount,ro {path}" for path in ("/tmp", "/var/tmp", "/dev/shm")]
    said = host.train()
    assert said["episodes"] == 0
    first = said["warnings"][0]
    assert "nothing is recorded yet" in first
    assert "/run/x/offcam" in first
    assert "full" in first or "No space left" in first


def test_a_working_directory_that_was_removed(host):
    host.records(f"{TMP}/", removed="/mnt/gone")


def test_a_relative_folder_below_a_working_directory_that_was_removed(host):
    """Nothing relative can be meant there: that is the caller's to put right, and so an error."""
    done = host.run("-c", "import offcam, envs; offcam.record(envs.Barcode(4), 'run', every=1)", removed="/mnt/gone")
    assert done.returncode == 1
    assert (
        "ConfigError: the folder 'run' is relative to a working directory that does not exist any more" in done.stderr
    )


@pytest.mark.slow
def test_the_command_line_says_where_it_looked_and_why_not_there(host):
    host.environment["XDG_RUNTIME_DIR"] = "/run/user/999"
    for verb in ("doctor", "status"):
        done = host.run("-m", "offcamd", verb)
        text = " ".join((done.stdout + done.stderr).split())
        assert "there is no /run/user/999" in text, text
        assert f"{TMP}/" in text, text


@pytest.mark.slow
def test_a_daemon_that_listens_in_a_later_directory_is_found(host):
    """One that cron started before anybody had logged in serves those who have."""
    host.made = LOGIN
    code = f"""
import os, subprocess, sys
from offcam_proto import host
offcam = [sys.executable, "-m", "offcamd"]
subprocess.run([*offcam, "start", "--endpoint", "ipc://{TMP}/{SOCKET}"], check=True)
found = host.find(os.environ, os.getuid())
print(found.endpoint.path, found.warning, flush=True)
subprocess.run([*offcam, "stop"], check=True)
print(host.find(os.environ, os.getuid()).endpoint.path)
"""
    done = host.run("-c", code)
    lines = done.stdout.splitlines()
    assert lines[1] == f"{TMP}/{SOCKET} ", done.stdout + done.stderr
    assert lines[-1] == f"{OWN}/offcam/{SOCKET}", done.stdout + done.stderr


def test_what_is_written_there_is_for_its_owner_alone(host):
    code = f"""
import os
from offcam_proto import host
host.find(os.environ, os.getuid())
print(oct(os.stat("{TMP}").st_mode), os.listdir("{TMP}"))
"""
    done = host.run("-c", code)
    assert done.stdout == "0o40700 []\n", done.stdout + done.stderr
