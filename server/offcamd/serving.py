"""A daemon's process, from its settings to its exit code: it puts the daemon and its HTTP server together.

It listens and takes records before it has loaded what makes videos and pages, as a training waits for it.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from offcam_proto import variables
from offcam_proto.errors import ConfigError, OffcamError
from offcam_runs.file_lock import FileLock
from offcamd.config.settings import Settings, load, passed_over
from offcamd.daemon.service import Service
from offcamd.daemon.shown_file import ShownFile
from offcamd.process import exit_codes, logs
from offcamd.process.instance_lock import DaemonInfo, already_running, daemon_paths, not_finished, read_lock
from offcamd.process.launch import FAILED
from offcamd.video.late_writers import LateWriters
from offcamd.web import server

if TYPE_CHECKING:
    from offcamd.process.logs import BoundedLog
    from offcamd.video.writer import WriterFactory

ALONE_SECONDS = 0.25
"""How long a launched daemon only takes records, for the training that waits for it, before it loads everything else.
What is needed earlier, such as an encoder, is loaded then."""

SWITCH_SECONDS = 0.001
"""Switch interval of Python's threads, in seconds: the thread that answers clients must not wait for the encoders'."""


def launched(flags: Sequence[str], launch_lock: int) -> int:
    """Do what ``offcam serve`` does, for `offcamd.process.launch`, without the command line's libraries.

    Args:
        flags: each setting's flag and its value, as `Settings.as_flags` returns them.
        launch_lock: descriptor to close when the daemon listens.
    """
    keys = [flag.removeprefix("--").replace("-", "_") for flag in flags[::2]]
    return serve(load(dict(zip(keys, flags[1::2], strict=True))), launch_lock=launch_lock)


def serve(settings: Settings, *, as_json: bool = False, launch_lock: int = -1, beside: Path | None = None) -> int:
    """Run the daemon until a signal or a long idle time ends it. Returns the exit code.

    Args:
        settings: the daemon's settings.
        as_json: whether the line that says that it is ready is JSON.
        launch_lock: descriptor to close when the daemon listens, -1 for none.
        beside: folder of runs that its page shows after its own; by default the one that ``OFFCAM_DIR`` names.

    Raises:
        ConfigError, DaemonAlreadyRunning, DaemonError: the daemon cannot start.
    """
    log_file = _set_up(settings)
    if info := read_lock(settings.endpoint):
        raise already_running(info.endpoint, info.pid)
    with ExitStack() as stack:
        if launch_lock >= 0:
            stack.enter_context(_failure_told())
        listener = None
        if settings.http:
            before = ShownFile(daemon_paths(settings.endpoint).shown).port
            listener = stack.enter_context(server.bind(settings.http, before=before))
            settings = dataclasses.replace(settings, http=server.bound_address(listener, settings.http.host))
        service = Service(settings, LateWriters(lambda: _writers(settings.encoder)), apart=True)
        threading.excepthook = service.health.thread_ended
        _heed_signals(service, log_file)
        service.start()
        if launch_lock >= 0:
            # The daemon listens: others that want to start one may look now, and will find it. See `launch`.
            FileLock.end_inherited(daemon_paths(settings.endpoint).launch_lock, launch_lock)
        _say_ready(service.info, as_json=as_json)
        if launch_lock >= 0:
            service.finished.wait(ALONE_SECONDS)
        service.tell()
        service.test_itself()
        service.take_in_what_was_left()
        if listener and settings.http:
            from offcamd.daemon.run_source import DaemonSource  # noqa: PLC0415 - once records are taken
            from offcamd.web.source import FolderSource  # noqa: PLC0415 - as above

            shown = beside or os.environ.get("OFFCAM_DIR")
            others = FolderSource([Path(shown)] if shown else [])
            stack.enter_context(
                server.serving(
                    *(listener, settings.http.host, DaemonSource(service, others.folders, others.title)),
                    token=settings.http_token,
                    health=service.health,
                )
            )
        service.wait()
    if service.unfinished:
        with suppress(OSError):
            sys.stderr.write(f"offcam: {not_finished(service.unfinished)}\n")
        return exit_codes.PROBLEM
    return exit_codes.FINE


def _set_up(settings: Settings) -> BoundedLog | None:
    """Prepare this process: its log, which is returned if it has a file, and its share of the cores."""
    try:
        log_file = logs.configure(settings.log_level, settings.log_file)
    except OSError as error:
        raise ConfigError(
            f"cannot write the log {settings.log_file} ({error.strerror}): choose another with --log-file."
        ) from error
    if note := passed_over(settings.endpoint):
        logging.getLogger(__name__).warning(note)
    for name, near in variables.misspelt(os.environ).items():
        logs.Logger(__name__).warning("a variable means nothing", variable=name, did_you_mean=near)
    faulthandler.enable()
    sys.setswitchinterval(SWITCH_SECONDS)
    _give_way()
    return log_file


def _writers(encoder: str) -> WriterFactory:
    from offcamd.video.hardware import writer_factory  # noqa: PLC0415 - loads the video library

    return writer_factory(encoder)


@contextmanager
def _failure_told() -> Iterator[None]:
    """Tell the process that launched this daemon, by stdout, why it cannot start."""
    try:
        yield
    except OffcamError as error:
        with suppress(OSError):  # the launching process has ended
            os.write(sys.stdout.fileno(), f"{FAILED}{error}\n".encode(errors="backslashreplace"))
        raise


def _heed_signals(service: Service, log_file: BoundedLog | None) -> None:
    """SIGTERM and SIGINT stop the daemon; SIGHUP reopens its log, or stops it without a log file or its terminal."""
    on_terminal = _terminal_is_there()

    def stop(number: int, _frame: object) -> None:
        service.stop(signal.Signals(number).name)

    def hang_up(number: int, frame: object) -> None:
        if log_file is None or (on_terminal and not _terminal_is_there()):
            stop(number, frame)
            return
        with suppress(OSError):  # it goes on writing to the file that it has
            log_file.reopen()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores SIGHUP
        signal.signal(signal.SIGHUP, hang_up)


def _terminal_is_there() -> bool:
    """Whether this process belongs to a terminal that is still open."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _say_ready(info: DaemonInfo, *, as_json: bool) -> None:
    line = json.dumps(info.whereabouts) if as_json else info.ready_line
    with suppress(OSError):  # whoever started it has gone, or its disk is full: no reason to stop
        os.write(sys.stdout.fileno(), f"{line}\n".encode(errors="backslashreplace"))


def _give_way() -> None:
    """Never interrupt a training's thread by waking up, yet have a fair share of the cores: Linux's batch policy."""
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):  # a sandbox may not allow it
            for task in Path("/proc/self/task").iterdir():  # also threads of libraries; later ones inherit the policy
                os.sched_setscheduler(int(task.name), os.SCHED_BATCH, os.sched_param(0))
