"""``offcam serve``, ``start`` and ``stop``: the daemon's life."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from offcam_proto import variables
from offcam_proto.errors import ConfigError, DaemonAlreadyRunning, DaemonError, DaemonNotReady, OffcamError
from offcam_runs.file_lock import FileLock
from offcamd.cli.options import ConfigOption, EndpointOption, JsonOption, with_settings
from offcamd.cli.progress import waiting
from offcamd.cli.text import say
from offcamd.config.settings import Settings, default_endpoint, load_endpoint, passed_over
from offcamd.process import exit_codes
from offcamd.process.instance_lock import DaemonInfo, daemon_paths, last_words, read_lock, ready_line
from offcamd.process.launch import DEFAULT_TIMEOUT_SECONDS, FAILED, start_detached

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from offcamd.daemon.service import Service
    from offcamd.process.logs import BoundedLog

STOP_TIMEOUT_SECONDS = 120.0
SWITCH_SECONDS = 0.001
"""How soon a thread gives way to another: the one that answers clients must not wait for the encoders' Python."""

MOST_NAMED = 5
"""Most things that a daemon which has left is said not to have finished."""

_POLL_SECONDS = 0.05


@with_settings
def serve(
    settings: Settings,
    as_json: JsonOption = False,
    launch_lock: Annotated[int, typer.Option(help="Descriptor to close when it listens.", hidden=True)] = -1,
) -> None:
    """Run the recorder daemon in the foreground until SIGTERM or Ctrl-C, then finalise every video, or exit with 1.

    It prints a line when it is ready. SIGHUP has it open its log file anew.
    """
    import faulthandler  # noqa: PLC0415 - verbs import when they run

    import structlog  # noqa: PLC0415 - as above

    from offcamd.daemon.run_source import DaemonSource  # noqa: PLC0415 - as above
    from offcamd.daemon.service import Service  # noqa: PLC0415 - as above
    from offcamd.process import logs  # noqa: PLC0415 - as above
    from offcamd.video.hardware import writer_factory  # noqa: PLC0415 - as above
    from offcamd.web import server  # noqa: PLC0415 - as above

    try:
        log_file = logs.configure(settings.log_level, settings.log_file)
    except OSError as error:
        raise ConfigError(
            f"cannot write the log {settings.log_file} ({error.strerror}): choose another with --log-file."
        ) from error
    if note := passed_over(settings.endpoint):
        logging.getLogger(__name__).warning(note)
    for name, near in variables.misspelt(os.environ).items():
        structlog.get_logger().warning("a variable means nothing", variable=name, did_you_mean=near)
    faulthandler.enable()
    sys.setswitchinterval(SWITCH_SECONDS)
    _give_way()
    if info := read_lock(settings.endpoint):
        text = (
            f"an offcam daemon (pid {info.pid}) is listening at {info.endpoint} already. Use that one "
            "(`offcam status`), or give this one another --endpoint."
        )
        raise DaemonAlreadyRunning(text, info.pid)
    with ExitStack() as stack:
        if launch_lock >= 0:
            stack.enter_context(_failure_told())
        listener = None
        if settings.http:
            listener = stack.enter_context(server.bind(settings.http))
            settings = dataclasses.replace(settings, http=server.bound_address(listener, settings.http.host))
        service = Service(settings, writer_factory(settings.encoder))
        threading.excepthook = service.health.thread_ended
        _heed_signals(service, log_file)
        service.start()
        if launch_lock >= 0:
            # others may look now whether there is a daemon: see `launch`
            FileLock.end_inherited(daemon_paths(settings.endpoint).launch_lock, launch_lock)
        if listener and settings.http:
            stack.enter_context(
                server.serving(
                    *(listener, settings.http.host, DaemonSource(service)),
                    token=settings.http_token,
                    health=service.health,
                )
            )
        _say_ready(settings, as_json=as_json)
        service.test_itself()
        service.wait()
    if service.unfinished:
        typer.echo(f"offcam: {_left(service.unfinished)}", err=True)
        raise typer.Exit(1)


@contextmanager
def _failure_told() -> Iterator[None]:
    """Tell whoever launched this daemon why it cannot start."""
    try:
        yield
    except OffcamError as error:
        with suppress(OSError):  # nobody waits any more
            os.write(sys.stdout.fileno(), f"{FAILED}{error}\n".encode(errors="backslashreplace"))
        raise


@with_settings
def start(
    settings: Settings,
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait until it listens.", min=0.1, metavar="<seconds>")
    ] = DEFAULT_TIMEOUT_SECONDS,
    as_json: JsonOption = False,
) -> None:
    """Start the recorder daemon in the background, unless one is running; return when it listens."""
    try:
        info = start_detached(settings, timeout)
    except DaemonNotReady as error:
        raise typer.Exit(exit_codes.say(error, exit_codes.PROBLEM, as_json=as_json)) from error
    say(info.ready_line, _where(info.pid, info.endpoint, info.http, info.tcp), as_json=as_json)


def stop(
    endpoint: EndpointOption = None,
    config: ConfigOption = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait until every video is final.", min=0.1, metavar="<seconds>")
    ] = STOP_TIMEOUT_SECONDS,
    as_json: JsonOption = False,
) -> None:
    """Stop the daemon: it finalises every video and leaves. Run it again to hurry it. 1 if not everything is final."""
    asked = load_endpoint(endpoint, config=config)
    where = asked if asked.path is not None else default_endpoint(os.environ)
    info = read_lock(where)
    if asked.path is None and (info is None or info.tcp != asked.url):
        raise DaemonError(f"the daemon of {asked.url} is none that runs here: run `offcam stop` on its own host.")
    if info is None:
        none = {"stopped": False, "pid": None, "endpoint": where.url}
        say(f"No offcam daemon is running at {where.url}.", none, as_json=as_json)
        return
    _signal(info)
    began = time.monotonic()
    with waiting(f"Waiting until pid {info.pid} has finalised every video"):
        while (now := read_lock(where)) and now.pid == info.pid:
            if time.monotonic() - began > timeout:
                late = DaemonError(
                    f"pid {info.pid} is still finalising its videos after {timeout:g} s. Wait for it with "
                    "`offcam stop --timeout SECONDS`; each `offcam stop` asks it to hurry."
                    + (f" Its log is {info.log_file}." if info.log_file else "")
                )
                raise typer.Exit(exit_codes.say(late, exit_codes.PROBLEM, as_json=as_json))
            time.sleep(_POLL_SECONDS)
    if words := last_words(where, info.pid):
        left = DaemonError(f"pid {info.pid} has left, but {_left(words)}")
        raise typer.Exit(exit_codes.say(left, exit_codes.PROBLEM, as_json=as_json))
    stopped = {"stopped": True, "pid": info.pid, "endpoint": info.endpoint}
    say(f"Stopped the offcam daemon (pid {info.pid}).", stopped, as_json=as_json)


def _heed_signals(service: Service, log_file: BoundedLog | None) -> None:
    """SIGTERM and SIGINT end it; SIGHUP where its terminal has closed or it has no log file, else it is opened anew."""
    on_terminal = _terminal_is_there()

    def stop(number: int, _frame: object) -> None:
        service.stop(signal.Signals(number).name)

    def hang_up(number: int, frame: object) -> None:
        if log_file is None or (on_terminal and not _terminal_is_there()):
            stop(number, frame)
            return
        with suppress(OSError):  # then it goes on where it is
            log_file.reopen()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup means it
        signal.signal(signal.SIGHUP, hang_up)


def _terminal_is_there() -> bool:
    """Whether this process belongs to a terminal that is open."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _say_ready(settings: Settings, *, as_json: bool) -> None:
    url = settings.http.url if settings.http else None
    tcp = settings.tcp.url if settings.tcp else None
    facts = os.getpid(), settings.endpoint.url, url, tcp
    line = json.dumps(_where(*facts)) if as_json else ready_line(*facts)
    with suppress(OSError):  # whoever started it has gone, or its disk is full; that is no reason to go too
        os.write(sys.stdout.fileno(), f"{line}\n".encode(errors="backslashreplace"))


def _where(pid: int, endpoint: str, http: str | None, tcp: str | None) -> dict[str, Any]:
    """A daemon that is ready, for programs."""
    return {"pid": pid, "endpoint": endpoint, "http": http, "tcp": tcp}


def _left(unfinished: Sequence[str]) -> str:
    more = f" (and {len(unfinished) - MOST_NAMED} more)" if len(unfinished) > MOST_NAMED else ""
    return f"not everything was finished: {'; '.join(unfinished[:MOST_NAMED])}{more}."


def _signal(info: DaemonInfo) -> None:
    if not info.here:
        raise DaemonError(
            f"the daemon at {info.endpoint} runs in another container, where its pid {info.pid} counts: stop it "
            "there (for example `docker compose stop`)."
        )
    try:
        os.kill(info.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it has just left by itself
    except PermissionError as error:
        raise DaemonError(f"pid {info.pid} is another user's daemon: have that user run `offcam stop`.") from error


def _give_way() -> None:
    """Take no core from a training's thread by waking up, while having the same share of them: Linux's batch policy."""
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):  # in a sandbox that does not allow it
            for task in Path("/proc/self/task").iterdir():  # libraries have started some; later ones inherit it
                os.sched_setscheduler(int(task.name), os.SCHED_BATCH, os.sched_param(0))
