"""``offcam view``: the page for run folders, without a daemon."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from offcam_proto.errors import NotARunFolder
from offcamd.cli.options import JsonOption  # noqa: TC001 - typer evaluates the verbs' annotations
from offcamd.cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "127.0.0.1"

FoldersArgument = Annotated[
    list[Path],
    typer.Argument(help="Run folders, or folders with runs in them.", show_default=False, metavar="FOLDER"),
]


def view(
    folders: FoldersArgument,
    port: Annotated[int, typer.Option(help="Port on this host; 0 for any free one.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Show recordings in a browser: curves, videos, side by side. Needs no daemon; Ctrl-C ends it.

    New runs in the folders, and new episodes of runs that are being recorded, appear by themselves.
    """
    from offcamd.values import HttpAddress  # noqa: PLC0415 - verbs import when they run
    from offcamd.web.server import bind, bound_address, serving  # noqa: PLC0415 - as above
    from offcamd.web.source import FolderSource  # noqa: PLC0415 - as above

    for folder in folders:
        if not folder.is_dir():
            raise NotARunFolder(f"there is no folder {printable(str(folder))}: give one that offcam recorded into.")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    source = FolderSource(folders)
    listener = bind(HttpAddress(HOST, port))
    url = bound_address(listener, HOST).url
    with serving(listener, HOST, source):
        _say(url, len(source.folders()), as_json=as_json)
        if browser and not as_json and can_show(os.environ):
            _open(url)
        ended.wait()


def can_show(environment: Mapping[str, str]) -> bool:
    """Whether a browser opened here would be seen: not over SSH, and on Linux only with a display."""
    if "SSH_CONNECTION" in environment:
        return False
    return sys.platform == "darwin" or any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _say(url: str, runs: int, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"url": url, "pid": os.getpid(), "runs": runs}))
    else:
        typer.echo(f"{runs:,} run{'s' if runs != 1 else ''} at {url} (Ctrl-C ends it)")
        if not runs:
            typer.echo("No recording is there yet; it will appear when there is one.")
        if "SSH_CONNECTION" in os.environ:
            port = url.rpartition(":")[2]
            tunnel = f"ssh -L {port}:{HOST}:{port} {os.uname().nodename}"
            typer.echo(f"From your own machine: {tunnel}, then open {url} there.")
    sys.stdout.flush()


def _open(url: str) -> None:
    import webbrowser  # noqa: PLC0415 - as above

    # on a thread: some browsers are started in the foreground
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
