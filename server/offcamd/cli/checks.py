"""The checks of ``offcam doctor``: whether all that recording needs is there, and what to do where it is not."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

from offcam_proto import host, variables
from offcam_proto.endpoints import MAX_SOCKET_PATH, Endpoint
from offcam_proto.errors import OffcamError
from offcamd import __version__
from offcamd.config import settings as config
from offcamd.process import file_descriptors, instance_lock
from offcamd.video import h264

if TYPE_CHECKING:
    from pathlib import Path


Outcome = Literal["ok", "warn", "fail"]
INSTALL = 'Run: pip install --upgrade "offcam[server]"'
_PROBE_SECONDS = 60

EXTRAS = {
    "matplotlib": ("offcam plot", "offcam[plot]"),
    "pyarrow": ("offcam export --to parquet", "offcam[parquet]"),
    "obstore": ("runs in object storage", "offcam[objects]"),
    "pandas": ("offcam.load(...).to_pandas()", "pandas"),
    "polars": ("offcam.load(...).to_polars()", "polars"),
}
"""What offcam can do with optional libraries, and their names for pip."""

# Each probe runs in a process of its own, so that a library that crashes when it is loaded does not end `doctor`.
_PROBES = {
    "gymnasium": "import gymnasium; print(gymnasium.__version__)",
    "numpy": "import numpy; print(numpy.__version__)",
    "zmq": "import zmq; print(f'{zmq.__version__} (libzmq {zmq.zmq_version()})')",
    "cv2": "import cv2; print(cv2.__version__)",
    "av": (
        "import av; libs = ('libavcodec', 'libavformat', 'libavutil');"
        "print(av.__version__, '(ffmpeg ' + ', '.join("
        "name + ' ' + '.'.join(map(str, av.library_versions[name])) for name in libs) + ')')"
    ),
    "libx264": "import av.codec; print(av.codec.Codec('libx264', 'w').long_name)",
}
_FIXES = {
    "gymnasium": "Run: pip install --upgrade offcam",
    "libx264": "This build of PyAV has no H.264 encoder. Run: pip install --force-reinstall --only-binary av av",
}


_SELF_TEST: dict[int, Outcome] = {0: "ok", 1: "fail", 2: "warn"}  # by the exit code of `offcamd.encode.self_test`


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes:
        name: what was checked.
        outcome: ``ok``, ``warn`` (recording works, but not as expected) or ``fail``.
        detail: what was found.
        fix: what to do; empty where nothing needs doing.
    """

    name: str
    outcome: Outcome
    detail: str
    fix: str = ""


def _ok(name: str, detail: str) -> Check:
    return Check(name=name, outcome="ok", detail=detail)


def _warn(name: str, detail: str, *, fix: str) -> Check:
    return Check(name=name, outcome="warn", detail=detail, fix=fix)


def _fail(name: str, detail: str, *, fix: str) -> Check:
    return Check(name=name, outcome="fail", detail=detail, fix=fix)


def examine(endpoint_flag: str | None = None, config_file: Path | None = None) -> Iterator[Check]:
    """Make all checks, one after the other."""
    yield _ok("python", f"{platform.python_version()} at {sys.executable}")
    yield _ok("offcam", __version__)
    yield from _libraries()
    yield from _extras()
    try:
        settings = config.load({"endpoint": endpoint_flag}, config=config_file)
    except OffcamError as error:
        yield _fail("settings", str(error), fix="As it says.")
        return
    found = config.config_files(config_file, os.environ, config.working_directory())
    yield _ok("settings", ", ".join(map(str, found)) or "defaults and environment")
    yield from _environment()
    yield _socket_directory(settings.endpoint)
    yield _daemon(settings.endpoint)
    asked = config.load_endpoint(endpoint_flag, config=config_file)
    if asked.path is None:
        yield _remote_daemon(asked)
    yield _encoders(settings.encoder)
    yield _self_test()
    yield _spool(settings)
    yield _file_descriptors()
    yield from _rendering()


def _libraries() -> Iterator[Check]:
    probes = {
        name: subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/"
        )
        for name, code in _PROBES.items()
    }
    for name, process in probes.items():
        with process:
            try:
                out, err = process.communicate(timeout=_PROBE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = "", f"did not load within {_PROBE_SECONDS} s"
        if process.returncode == 0:
            yield _ok(name, out.strip())
        else:
            reason = err.strip().splitlines()[-1] if err.strip() else f"exit code {process.returncode}"
            yield _fail(name, reason, fix=_FIXES.get(name, INSTALL))


def _extras() -> Iterator[Check]:
    """Check the optional libraries. A missing one is no problem: nothing that records or watches needs it."""
    for name, (use, package) in EXTRAS.items():
        found = _version(name)
        install = f'not installed; if you want {use}: {sys.executable} -m pip install "{package}"'
        yield _ok(name, install if found is None else f"{found}, for {use}")


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _environment() -> Iterator[Check]:
    for name, near in variables.unknown(os.environ).items():
        hint = f"Did you mean {near}?" if near else f"Unset {name}."
        yield _warn("environment", f"{name} is set, and offcam knows no such variable", fix=hint)
    if os.environ.get("OFFCAM", "").strip().lower() in {"off", "0", "false", "no"}:
        detail = f"OFFCAM={os.environ['OFFCAM']}: the wrappers record nothing"
        yield _warn("environment", detail, fix="Unset OFFCAM to record.")


def _socket_directory(endpoint: Endpoint) -> Check:
    name = "socket directory"
    try:
        paths = instance_lock.daemon_paths(endpoint)
        instance_lock.prepare_directory(paths.directory)
    except OffcamError as error:
        return _fail(name, str(error), fix="As it says.")
    if problem := host.write_problem(str(paths.directory)):
        fix = "Make it writable, or set OFFCAM_ADDR=ipc:///your/own/directory/daemon.sock."
        return _fail(name, f"{paths.directory} {problem}", fix=fix)
    length = len(os.fsencode(paths.socket))
    detail = f"{paths.directory} (socket path {length} of {MAX_SOCKET_PATH} bytes)"
    if note := config.passed_over(endpoint):
        return _warn(name, f"{detail}: {note}", fix="As it says, if that place does not suit you.")
    return _ok(name, detail)


def _daemon(endpoint: Endpoint) -> Check:
    from offcamd.cli.query import ask_stats

    try:
        info = instance_lock.read_lock(endpoint)
        if info is None:
            return _ok("daemon", f"none at {endpoint.url}; a wrapper starts one when it needs it")
        stats = ask_stats(endpoint)
    except OffcamError as error:
        return _fail("daemon", str(error), fix="See its log; restart it once no training records with it.")
    running = str(stats["version"])
    if problems := stats.get("problems"):
        return _fail("daemon", "; ".join(problems.values()), fix="As it says.")
    detail = f"pid {info.pid}, offcam {running}, http {info.http or 'off'}"
    if running != __version__:
        fix = "It records all the same. To have this one, restart it once no training records (offcam status)."
        return _warn("daemon", f"{detail}; this is offcam {__version__}", fix=fix)
    return _ok("daemon", detail)


def _remote_daemon(endpoint: Endpoint) -> Check:
    from offcamd.cli.query import ask_stats

    try:
        running = str(ask_stats(endpoint)["version"])
    except OffcamError as error:
        return _fail("remote daemon", str(error), fix="As it says.")
    return _ok("remote daemon", f"offcam {running} at {endpoint.url}")


def _spool(settings: config.Settings) -> Check:
    folder = settings.spool_dir
    while not os.path.exists(folder):  # noqa: PTH110 - a folder that cannot be seen counts as missing
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    detail = f"{settings.spool_dir}, {free / 2**30:.1f} GiB free"
    if not os.access(folder, os.W_OK | os.X_OK):
        detail = f"{settings.spool_dir} cannot be written: frames wait in memory alone"
        return _warn("spool", detail, fix="Choose another with --spool-dir.")
    if free < settings.spool_limit_bytes:
        detail += f", less than its limit of {settings.spool_limit_bytes / 2**30:.1f} GiB"
        return _warn("spool", detail, fix="Lower it with --spool-limit, or choose another disk with --spool-dir.")
    return _ok("spool", detail)


def _encoders(asked: str) -> Check:
    """Check the encoders. Each hardware encoder is tried, though x264 serves if none works."""
    with ThreadPoolExecutor() as pool:
        failures = dict(zip(h264.HARDWARE, pool.map(h264.failure_of, h264.HARDWARE), strict=True))
    works = [name for name, why in failures.items() if not why]
    if failures.get(asked):
        return _warn(
            "encoders", f"{asked} does not work here, so x264 is used: {failures[asked]}", fix="Leave --encoder out."
        )
    used = next(iter(works), h264.X264) if asked == h264.AUTO else asked
    return _ok("encoders", f"{used} is used; in hardware, what works here: {', '.join(works) or 'nothing'}")


def _self_test() -> Check:
    """Record a video in a process of its own: a library that crashes takes that process down, not doctor."""
    command = [sys.executable, "-m", "offcamd.encode.self_test"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PROBE_SECONDS, check=False, cwd="/"
        )
    except subprocess.TimeoutExpired:
        return _fail("self-test", f"a tiny video was not made within {_PROBE_SECONDS} s", fix=INSTALL)
    said = done.stdout.splitlines()
    if len(said) != 2 or done.returncode not in _SELF_TEST:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return _fail("self-test", f"a tiny video could not be made: {last}", fix=INSTALL)
    return Check(
        name="self-test", outcome=_SELF_TEST[done.returncode], detail=f"{said[0]} ({float(said[1]) * 1000:.0f} ms)"
    )


def _file_descriptors() -> Check:
    limit = file_descriptors.attainable()
    if short := file_descriptors.shortage(limit):
        return _warn("file descriptors", short, fix=file_descriptors.FIX)
    return _ok("file descriptors", f"the daemon may have {limit}")


def _rendering() -> Iterator[Check]:
    yield _ok("render_mode", 'recording needs gym.make(..., render_mode="rgb_array")')
    mujoco = _version("mujoco")
    if mujoco is None:
        return
    backend = os.environ.get("MUJOCO_GL", "")
    if backend:
        yield _ok("MUJOCO_GL", f"{backend}, for mujoco {mujoco}")
    elif sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        detail = f"mujoco {mujoco} renders with a window system unless told otherwise, and there is no display"
        fix = "Run: export MUJOCO_GL=egl (with a GPU driver) or MUJOCO_GL=osmesa (software)"
        yield _warn("MUJOCO_GL", detail, fix=fix)
    else:
        yield _ok("MUJOCO_GL", f"not set: mujoco {mujoco} uses this display")
