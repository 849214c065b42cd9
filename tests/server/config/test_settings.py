from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from offcam_proto import host, variables
from offcam_proto.errors import ConfigError
from offcamd.config.settings import MOST_ENCODERS, SPECS, Settings, load, load_endpoint
from offcamd.config.values import HttpAddress
from offcamd.video import h264

pytestmark = pytest.mark.usefixtures("runtime")


def test_the_table_describes_every_setting():
    assert [spec.field for spec in SPECS] == [field.name for field in fields(Settings)]
    assert len({spec.key for spec in SPECS}) == len({spec.variable for spec in SPECS}) == len(SPECS)


def test_defaults(runtime, monkeypatch):
    monkeypatch.delenv("OFFCAM_HTTP")
    settings = load()
    assert settings.endpoint == host.find(os.environ, os.getuid()).endpoint
    assert settings.http == HttpAddress("127.0.0.1", 8720, asked=False)
    assert (settings.tcp, settings.http_token) == (None, None)
    assert settings.keys == runtime / "config" / "offcam" / "keys"
    assert settings.root == runtime / "home" / "offcam-runs"
    assert settings.idle_seconds == 0
    assert settings.encoders == min(len(os.sched_getaffinity(0)), MOST_ENCODERS)
    assert settings.memory_limit_bytes == 512 * 2**20
    assert settings.spool_limit_bytes == 4 * 2**30
    assert settings.spool_dir == runtime / "cache" / "offcam" / "spool"
    assert (settings.crf, settings.preset) == (h264.DEFAULT_CRF, h264.DEFAULT_PRESET)
    assert (settings.log_level, settings.log_file) == ("info", None)


def test_each_layer_beats_the_next(runtime, monkeypatch):
    user = runtime / "config" / "offcam" / "offcam.toml"
    user.parent.mkdir()
    user.write_text("crf = 1\nencoders = 9\n")
    assert load().crf == 1
    Path("offcam.toml").write_text("crf = 2\n")
    assert load().crf == 2
    assert load().encoders == 9
    other = runtime / "other.toml"
    other.write_text("crf = 3\n")
    assert load(config=other).crf == 3
    monkeypatch.setenv("OFFCAM_CRF", "4")
    assert load(config=other).crf == 4
    assert load({"crf": "5"}, config=other).crf == 5
    monkeypatch.setenv("OFFCAM_CRF", " ")
    assert load().crf == 2


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("512MiB", 512 * 2**20), ("2 GiB", 2**31), ("1.5GiB", 3 * 2**29), ("7GB", 7 * 10**9), ("64m", 64 * 10**6),
        ("3000000", 3_000_000), (2**21, 2**21), ("2000kB", 2 * 10**6), ("1TiB", 2**40), ("1048576B", 2**20),
    ],
)  # fmt: skip
def test_sizes(text, nbytes):
    assert load({"memory_limit": text}).memory_limit_bytes == nbytes


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("memory_limit", "lots"), ("memory_limit", "-1"), ("memory_limit", "10iB"), ("memory_limit", "1KiB"),
        ("memory_limit", True), ("memory_limit", "99999999TiB"), ("spool_limit", "4 XiB"),
        ("crf", "52"), ("crf", "2.5"), ("crf", "good"), ("crf", True), ("crf", [23]),
        ("encoders", "0"), ("idle_seconds", "-1"), ("idle_seconds", "nan"), ("idle_seconds", "soon"),
        ("preset", "fastest"), ("log_level", "loud"), ("spool_dir", 5), ("spool_dir", "~nobody-of-this-name/x"),
        ("http", "8720"), ("http", "localhost"), ("http", "localhost:70000"), ("http", "http://localhost:1"),
        ("tcp", "ipc:///a/b"), ("tcp", "127.0.0.1:5555"), ("http_token", "short"),
        ("endpoint", "nonsense"), ("endpoint", "ipc://relative"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_source(key: str, value: Any):
    flag = next(spec.flag for spec in SPECS if spec.key == key)
    with pytest.raises(ConfigError) as caught:
        load({key: value})
    assert flag in str(caught.value)
    assert key == "http_token" or (value if isinstance(value, str) else repr(value)) in str(caught.value)


def test_a_wrong_value_in_a_file_names_the_file_and_in_a_variable_the_variable(monkeypatch):
    Path("offcam.toml").write_text('preset = "superfst"\n')
    with pytest.raises(ConfigError, match=r"preset in .*/offcam\.toml must be .*did you mean superfast\?"):
        load()
    monkeypatch.setenv("OFFCAM_PRESET", "slowest")
    with pytest.raises(ConfigError, match=r"OFFCAM_PRESET must be .*'slowest'"):
        load()


def test_tcp_is_beside_the_socket_however_it_is_said(endpoint, monkeypatch):
    assert load().tcp is None
    told = load({"tcp": "tcp://0.0.0.0:8721"})
    assert (told.endpoint, told.tcp.url) == (endpoint, "tcp://0.0.0.0:8721")
    monkeypatch.setenv("OFFCAM_ADDR", "tcp://gpu7:5555")
    assert (load().endpoint, load().tcp.url) == (endpoint, "tcp://gpu7:5555")
    assert load({"tcp": "tcp://[::1]:9"}).tcp.url == "tcp://[::1]:9"
    assert load_endpoint(None).url == "tcp://gpu7:5555"
    assert (load(embedded=True).endpoint, load(embedded=True).tcp) == (endpoint, None)


def test_http_that_others_reach_needs_a_token(monkeypatch):
    with pytest.raises(ConfigError, match=r"--http is 0\.0\.0\.0:8720.*OFFCAM_HTTP_TOKEN"):
        load({"http": "0.0.0.0:8720"})
    monkeypatch.setenv("OFFCAM_HTTP_TOKEN", "a-token-that-is-long")
    settings = load({"http": "0.0.0.0:8720"})
    assert settings.http_token == "a-token-that-is-long"  # noqa: S105 - a test's
    assert "a-token-that-is-long" not in repr(settings)
    assert "a-token-that-is-long" not in settings.as_flags()
    assert settings.secrets() == {"OFFCAM_HTTP_TOKEN": "a-token-that-is-long"}


def test_a_wrong_token_is_not_shown(monkeypatch):
    monkeypatch.setenv("OFFCAM_HTTP_TOKEN", "sesame")
    with pytest.raises(ConfigError, match="OFFCAM_HTTP_TOKEN must be 16 to 512") as caught:
        load()
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("encodres = 3", "unknown setting 'encodres'. Did you mean encoders?"),
        ("zzz = 3", "unknown setting 'zzz'. There are: endpoint, tcp"),
        ("crf = ", "is no TOML"),
        ("crf = 1\n\x80", "is no TOML"),
    ],
)
def test_a_bad_file(text, message):
    Path("offcam.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        load()
    assert message in str(caught.value)


def test_a_config_file_that_was_asked_for_must_be_there():
    with pytest.raises(ConfigError, match=r"--config names '/.*/nowhere\.toml'"):
        load(config=Path("nowhere.toml"))


def test_paths_start_where_they_were_written(runtime, monkeypatch):
    folder = runtime / "elsewhere"
    folder.mkdir()
    (folder / "my.toml").write_text('spool_dir = "spool"\nlog_file = "~/log"\n')
    settings = load(config=folder / "my.toml")
    assert settings.spool_dir == folder / "spool"
    assert settings.log_file == runtime / "home" / "log"
    assert load({"spool_dir": "spool"}).spool_dir == Path.cwd() / "spool"


def test_http(monkeypatch):
    assert load({"http": "off"}).http is None
    asked = load({"http": "[::1]:99"}).http
    assert asked == HttpAddress("::1", 99, asked=True)
    assert asked.url == "http://[::1]:99"


def test_an_embedded_daemon_leaves_when_idle_and_listens_where_wrappers_look(monkeypatch):
    Path("offcam.toml").write_text('endpoint = "ipc:///tmp/from/the/file.sock"\n')
    assert load().endpoint.path == "/tmp/from/the/file.sock"  # noqa: S108 - never opened
    assert load(embedded=True).endpoint == host.find(os.environ, os.getuid()).endpoint
    assert load(embedded=True).idle_seconds == 60
    assert load({"idle_seconds": "5"}, embedded=True).idle_seconds == 5
    monkeypatch.setenv("OFFCAM_ADDR", "ipc:///tmp/from/the/variable.sock")
    assert load(embedded=True).endpoint.path == "/tmp/from/the/variable.sock"  # noqa: S108 - never opened


def test_as_flags_says_it_all_again(runtime, monkeypatch):
    flags = {"http": "localhost:99", "idle_seconds": "2.5", "crf": "7", "spool_dir": "here", "log_file": "log"}
    for settings in (load(), load(flags), load({"http": "off"}), load(embedded=True)):
        words = settings.as_flags()
        again = {key[2:].replace("-", "_"): value for key, value in zip(words[::2], words[1::2], strict=True)}
        with monkeypatch.context() as elsewhere:
            elsewhere.chdir("/")
            assert load(again) == settings


def test_the_endpoint_alone_is_found_though_another_setting_is_wrong(endpoint):
    Path("offcam.toml").write_text("crf = 1000\n")
    assert load_endpoint(None) == endpoint
    assert load_endpoint("ipc:///a/b.sock").path == "/a/b.sock"


def test_a_working_directory_that_is_gone_is_no_obstacle(runtime, monkeypatch):
    (runtime / "gone").mkdir()
    monkeypatch.chdir(runtime / "gone")
    (runtime / "gone").rmdir()
    assert load().crf == 23
    monkeypatch.chdir(runtime)  # what monkeypatch returns to must be there


@pytest.mark.parametrize("home", ["~", "~nobody-of-that-name", ""])
def test_a_home_that_is_none_is_no_error_unless_it_is_named(home, monkeypatch):
    monkeypatch.setenv("HOME", home)
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    settings = load()
    assert all(path.is_absolute() for path in (settings.keys, settings.root, settings.spool_dir))
    monkeypatch.setenv("OFFCAM_KEYS", "~nobody-of-that-name/keys")
    with pytest.raises(ConfigError, match="OFFCAM_KEYS must be a path"):
        load()


def test_unknown_variables():
    environ = {"OFFCAM_ENCODRES": "1", "OFFCAM_QQ": "", "OFFCAM_DIR": "x", "OFFCAM_ADDR": "y", "HOME": ""}
    assert variables.unknown(environ) == {"OFFCAM_ENCODRES": "OFFCAM_ENCODERS", "OFFCAM_QQ": ""}
    assert variables.misspelt(environ) == {"OFFCAM_ENCODRES": "OFFCAM_ENCODERS"}


def test_each_setting_s_variable_is_known_to_both_sides():
    assert {spec.variable for spec in SPECS} == set(variables.DAEMON)
