from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from offcam_proto.errors import DaemonUnavailable
from offcamd import __version__
from offcamd.cli import checks as doctor
from offcamd.cli import query
from offcamd.process import instance_lock

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def by_name(done):
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_all_is_well_and_the_daemon_is_found(offcam, serve):
    process, _line = serve()
    done = offcam("doctor", "--json", MUJOCO_GL="egl")
    checks = by_name(done)
    assert done.returncode == 0, done.stdout
    assert {"python", "gymnasium", "numpy", "zmq", "cv2", "av", "libx264", "settings", "render_mode"} <= set(checks)
    assert all(check["outcome"] in ("ok", "warn") for check in checks.values())
    assert "H.264" in checks["libx264"]["detail"]
    assert checks["daemon"]["detail"].startswith(f"pid {process.pid}, offcam {__version__}, http http://")


def test_every_finding_that_needs_something_says_what(offcam, runtime):
    directory = runtime / "open"
    directory.mkdir()
    directory.chmod(0o755)
    address = f"ipc://{directory}/a.sock"
    done = offcam("doctor", OFFCAM_ADDR=address, OFFCAM="off", OFFCAM_ENCODRES="1", OFFCAM_SPOOL_LIMIT="9000TiB")
    assert done.returncode == 1
    for text in (
        "FAIL  socket directory",
        f"chmod 700 {directory}",
        "warn  environment: OFFCAM_ENCODRES is set",
        "Did you mean OFFCAM_ENCODERS?",
        "the wrappers record nothing",
        "warn  spool",
        "--spool-limit",
    ):
        assert text in done.stdout


def test_wrong_settings_fail(offcam):
    Path("offcam.toml").write_text("crf = 99\n")
    done = offcam("doctor", "--json")
    assert done.returncode == 1
    assert not json.loads(done.stdout)["ok"]
    assert "crf in" in by_name(done)["settings"]["detail"]


def test_a_library_that_does_not_load_is_named(runtime, monkeypatch):
    monkeypatch.setattr(doctor, "_PROBES", {"av": "raise ImportError('libavcodec.so.99: cannot open')"})
    (check,) = doctor._libraries()
    assert (check.name, check.outcome) == ("av", "fail")
    assert "libavcodec.so.99" in check.detail
    assert "offcam[server]" in check.fix


def test_a_daemon_that_does_not_answer_fails(endpoint, monkeypatch):
    def silent(_endpoint):
        raise DaemonUnavailable("no answer")

    held = instance_lock.DaemonLock(endpoint)
    held.acquire(instance_lock.DaemonInfo(1, endpoint.url, None, "0", None, 0.0, instance_lock.pid_namespace()))
    monkeypatch.setattr(query, "ask_stats", silent)
    check = doctor._daemon(endpoint)
    held.release()
    assert (check.outcome, check.detail) == ("fail", "no answer")


def test_headless_mujoco_gets_its_hint(monkeypatch):
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(doctor, "version", lambda _name: "3.0")
    hint = list(doctor._rendering())[-1]
    assert (hint.name, hint.outcome) == ("MUJOCO_GL", "warn")
    assert "MUJOCO_GL=egl" in hint.fix
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert list(doctor._rendering())[-1].outcome == "ok"


def test_what_only_some_verbs_need_is_information(monkeypatch):
    def version(name):
        if name == "matplotlib":
            return "3.9.0"
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", version)
    found = {check.name: check for check in doctor._extras()}
    assert set(found) == {"matplotlib", "pyarrow", "obstore", "pandas", "polars"}
    assert {(check.outcome, check.fix) for check in found.values()} == {("ok", "")}
    assert found["matplotlib"].detail == "3.9.0, for offcam plot"
    assert "not installed; if you want offcam export --to parquet: " in found["pyarrow"].detail
    assert found["pyarrow"].detail.endswith('-m pip install "offcam[parquet]"')
    assert found["pandas"].detail.endswith('-m pip install "pandas"')


def test_extras_are_named_as_they_are_in_the_distribution():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    provided = project["project"]["optional-dependencies"]
    extras = {package[7:-1] for _use, package in doctor.EXTRAS.values() if package.startswith("offcam[")}
    assert extras
    assert extras <= set(provided)


def test_encoders_are_told_in_a_line(monkeypatch):
    monkeypatch.setattr(doctor.h264, "failure_of", lambda name: None if name == "h264_vaapi" else "no driver")
    there = "in hardware, what works here: h264_vaapi"
    for asked, used in (("x264", "x264"), ("auto", "h264_vaapi"), ("h264_vaapi", "h264_vaapi")):
        assert doctor._encoders(asked).detail == f"{used} is used; {there}"
    refused = doctor._encoders("h264_nvenc")
    assert (refused.outcome, refused.detail) == ("warn", "h264_nvenc does not work here, so x264 is used: no driver")
