"""``offcam view``: the page for run folders, without a daemon."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from offcam_proto.errors import ConfigError, NotARunFolder, RunFolderError
from offcamd.cli.folders import RunsArgument, folders_of
from offcamd.cli.options import JsonOption
from offcamd.cli.text import counted, printable, say_json
from offcamd.process.signals import wait_for

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"


def view(
    named: RunsArgument,
    port: Annotated[
        int,
        typer.Option(
            help=f"Port of {HOST}, where this host alone reaches it; 0 for any free one.",
            min=0,
            max=65535,
            metavar="<int>",
        ),
    ] = 0,
    http: Annotated[Optional[str], typer.Option(hidden=True)] = None,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Show recordings in a browser: curves, videos, side by side. Needs no daemon; Ctrl-C ends it.

    New runs in the folders, and new episodes of runs that are being recorded, appear by themselves.
    """
    from offcam_runs.objects.copies import follow
    from offcamd.config.values import HttpAddress
    from offcamd.web.server import bind, bound_address, serving
    from offcamd.web.source import FolderSource

    if http is not None:
        raise ConfigError(
            f"--http is for `offcam serve`; `offcam view` is on {HOST} alone: give --port, "
            "and reach it from elsewhere with `ssh -L`."
        )
    folders = folders_of(named)
    for folder in folders:
        check(folder)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=follow, args=(folders, ended), daemon=True).start()
    source = FolderSource(folders)
    listener = bind(HttpAddress(HOST, port), fix="Choose another --port; 0 is any free one.")
    url = bound_address(listener, HOST).url
    with serving(listener, HOST, source):
        _say(url, len(source.folders()), as_json=as_json)
        if browser and not as_json and can_show(os.environ):
            _open(url)
        wait_for(ended)


def check(folder: Path) -> None:
    """Raise NotARunFolder or RunFolderError if a given folder does not exist or cannot be read."""
    name = printable(str(folder))
    try:
        os.scandir(folder).close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotARunFolder(f"there is no folder {name}: give one that offcam recorded into.") from error
    except OSError as error:
        raise RunFolderError(f"{name} cannot be read ({error.strerror}): check its permissions") from error


def can_show(environment: Mapping[str, str]) -> bool:
    """Whether a browser opened here would be seen: not over SSH, and on Linux only with a display."""
    if "SSH_CONNECTION" in environment:
        return False
    return sys.platform == "darwin" or any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _say(url: str, runs: int, *, as_json: bool) -> None:
    if as_json:
        say_json({"url": url, "pid": os.getpid(), "runs": runs}, indent=None)
    else:
        typer.echo(f"{counted(runs, 'run')} at {url} (Ctrl-C ends it)")
        if not runs:
            typer.echo("No recording is there yet; it will appear when there is one.")
        if "SSH_CONNECTION" in os.environ:
            port = url.rpartition(":")[2]
            tunnel = f"ssh -L {port}:{HOST}:{port} {os.uname().nodename}"
            typer.echo(f"From your own machine: {tunnel}, then open {url} there.")
    sys.stdout.flush()


def _open(url: str) -> None:
    import webbrowser

    # On a thread, as some browsers run in the foreground.
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
