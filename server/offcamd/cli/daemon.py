"""``offcam serve``, ``start`` and ``stop``: run, start and stop the daemon."""

from __future__ import annotations

import os
import signal
import time
from typing import Annotated

import typer

from offcam_proto.errors import DaemonError, DaemonNotReady
from offcamd.cli.options import ConfigOption, EndpointOption, JsonOption, with_settings
from offcamd.cli.progress import waiting
from offcamd.cli.text import say
from offcamd.config.settings import Settings, default_endpoint, load_endpoint
from offcamd.process import exit_codes
from offcamd.process.instance_lock import DaemonInfo, last_words, not_finished, read_lock
from offcamd.process.launch import DEFAULT_TIMEOUT_SECONDS, start_detached

STOP_TIMEOUT_SECONDS = 120.0
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
    from offcamd import serving

    if code := serving.serve(settings, as_json=as_json, launch_lock=launch_lock):
        raise typer.Exit(code)


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
    say(info.ready_line, info.whereabouts, as_json=as_json)


def stop(
    endpoint: EndpointOption = None,
    config: ConfigOption = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait until every video is final.", min=0.1, metavar="<seconds>")
    ] = STOP_TIMEOUT_SECONDS,
    as_json: JsonOption = False,
) -> None:
    """Stop the daemon: it finalises every video and leaves. Run `offcam stop` again to hurry it.

    Exits with 1 if not everything is final.
    """
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
        left = DaemonError(f"pid {info.pid} has left, but {not_finished(words)}")
        raise typer.Exit(exit_codes.say(left, exit_codes.PROBLEM, as_json=as_json))
    stopped = {"stopped": True, "pid": info.pid, "endpoint": info.endpoint}
    say(f"Stopped the offcam daemon (pid {info.pid}).", stopped, as_json=as_json)


def _signal(info: DaemonInfo) -> None:
    if not info.here:
        raise DaemonError(
            f"the daemon at {info.endpoint} runs in another container, where its pid {info.pid} counts: stop it "
            "there (for example `docker compose stop`)."
        )
    try:
        os.kill(info.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # the daemon has just ended by itself
    except PermissionError as error:
        raise DaemonError(f"pid {info.pid} is another user's daemon: have that user run `offcam stop`.") from error
