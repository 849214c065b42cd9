"""`offcam keys`, and the files that it makes."""

from __future__ import annotations

import json
import os
import stat

import pytest
from curve_scenes import add_client, dealer, hello, read, say

from offcam_proto import keys
from offcam_proto.errors import ConfigError
from offcam_proto.keys import KeyFile
from offcam_proto.messages import Welcome
from offcamd.security.keys import new_pair


def test_keys_are_made_for_their_owner_alone_whatever_the_umask(cli, runtime):
    before = os.umask(0)
    try:
        done = cli("keys", "new", "alice")
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    folder = runtime / "config" / "offcam" / "keys"
    modes = {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    assert modes == {
        "server.key": 0o600,
        "server.pub": 0o600,
        "alice.key": 0o600,
        "clients": 0o700,
        "clients/alice.pub": 0o600,
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secrets = {read(folder / name).secret.hex() for name in ("server.key", "alice.key")}
    assert len(secrets) == 2
    assert not any(secret in done.stdout for secret in secrets)
    assert "secret" not in (folder / "server.pub").read_text() + (folder / "clients" / "alice.pub").read_text()
    again = cli("keys", "new", "alice")
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
    assert {read(folder / "alice.key").secret.hex()} < secrets


def test_keys_are_listed_with_fingerprints(cli, store, runtime):
    add_client(store, "bob").unlink()
    listed = json.loads(cli("keys", "list", "--json").stdout)
    assert listed["problems"] == []
    found = {(key["role"], key["name"], key["authorised"]) for key in listed["keys"]}
    assert found == {("client", "alice", "alice"), ("server", "server", None), ("client", "bob", "bob")}
    for key in listed["keys"]:
        assert len(key["fingerprint"]) == 32
        assert "secret" not in key
    assert read(store.directory / "alice.key").fingerprint in cli("keys", "list").stdout
    (store.directory / "alice.key").chmod(0o644)
    loose = cli("keys", "list")
    assert loose.returncode == 1
    assert "chmod 600" in loose.stderr
    paths = json.loads(cli("keys", "path", "--json").stdout)
    assert paths["server"] == str(store.server_file)


def test_a_key_made_elsewhere_is_authorised_by_its_public_half(cli, service, store, url, runtime):
    away = runtime / "away"
    made = cli("keys", "new", "carol", "--server", str(store.server_public_file), "--keys", str(away))
    assert made.returncode == 0, made.stderr
    assert not (away / "server.key").exists()
    key = read(away / "carol.key")
    with dealer(url, key) as bare:
        assert say(bare, hello(), wait=300) is None
    assert cli("keys", "authorize", str(away / "carol.pub")).returncode == 0
    with dealer(url, key) as bare:
        assert isinstance(say(bare, hello()), Welcome)
    assert cli("keys", "revoke", "carol").returncode == 0
    assert cli("keys", "revoke", "carol").returncode == 2


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "-x", "x" * 65, "é", "a b", "server"])
def test_a_name_that_is_no_file_name_is_refused(cli, name, runtime):
    assert cli("keys", "new", "--", name).returncode == 2
    assert not list(runtime.rglob("*x*.key"))


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", 'name = "a"\npublic = "00"', 'name = "../a"\npublic = "' + "00" * 32 + '"',
        'name = "a"\nserver = "' + "00" * 32 + '"', 'public = "' + "00" * 32 + '"',
        'name = "a"\npublic = "' + "zz" * 32 + '"',
        'name = "a"\nname = "b"\npublic = "' + "00" * 32 + '"',
    ],
)  # fmt: skip
def test_a_damaged_key_file_is_refused(text):
    with pytest.raises(ConfigError, match="is no key file"):
        keys.parse(text, "some.key")


def test_a_key_file_reads_as_it_was_written():
    key = KeyFile("alice", *new_pair(), server=new_pair()[0])
    assert keys.parse(keys.render(key), "file") == key
    assert key.secret.hex() not in repr(key)
