"""A process that has imported what the command line and the daemon are made of, and forks one that runs for each asked.

Starting an interpreter and importing everything takes most of the time of most command lines; see `commandline`, which
starts this and asks it. A child is the asking process's own, to be waited for and signalled like any other: its parent
here has left, and the asker is the subreaper of those that its descendants leave behind.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import socket
import sys
import threading
import warnings

MODULES = (
    "offcamd.cli", "offcamd.cli.topview", "offcam_runs.run", "offcamd.cli.query", "offcamd.cli.checks",
    "offcamd.reports.export", "offcamd.video.hardware", "offcamd.process.logs", "offcamd.reports.plot",
    "offcamd.store.recovery", "offcamd.encode.self_test", "offcamd.daemon.service", "offcamd.reports.verify",
    "offcamd.web.app", "offcamd.web.server", "offcamd.web.source",
    "av.subtitles.stream", "faulthandler", "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg", "matplotlib.font_manager", "matplotlib.patheffects",
    "platformdirs.unix", "rich._emoji_codes", "rich.progress", "typer._adapters", "typer._click.decorators",
    "typer.rich_utils", "uvicorn.lifespan.off", "uvicorn.loops.asyncio", "uvicorn.protocols.http.auto",
)  # fmt: skip
"""Also what they import only when it is needed; not pyarrow, which takes as long as all of these."""
MOST_BYTES = 2**17
STANDARD = 3
"""Descriptors of the standard streams; the working directory is a fourth, as it may have no name any more."""


def main(connection: socket.socket) -> str:
    """Answer until the asker is gone. Returns in the children alone, with the script that is to be run, if any."""
    for module in MODULES:
        with contextlib.suppress(ImportError):  # an extra that is not installed, and its verb says so
            importlib.import_module(module)
    gc.freeze()  # or each child's first collection would copy all of it
    while True:
        message, descriptors, *_ = socket.recv_fds(connection, MOST_BYTES, STANDARD + 1)
        if not message:
            os._exit(0)
        between = _fork()
        if not between:
            if child := _fork():
                connection.send(str(child).encode())
                os._exit(0)
            connection.close()
            asked = json.loads(message)
            script = asked.pop("script")
            become(descriptors, **asked)
            return script
        for descriptor in descriptors:
            os.close(descriptor)
        os.waitpid(between, 0)
        connection.send(b"the child is yours")


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries' threads, which no child needs: they do nothing yet
        return os.fork()


def become(descriptors: list[int], words: list[str], environment: dict[str, str], umask: int) -> None:
    """Make this process what an interpreter just started would be; words and variables are bytes in latin-1."""
    os.fchdir(descriptors[STANDARD])
    for number in range(STANDARD):
        os.dup2(descriptors[number], number)
    for descriptor in descriptors:
        os.close(descriptor)
    os.umask(umask)
    os.environ.clear()
    os.environb.update({name.encode("latin-1"): value.encode("latin-1") for name, value in environment.items()})
    sys.argv[1:] = [os.fsdecode(word.encode("latin-1")) for word in words]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _like(getattr(sys, name), number)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _like(given: io.TextIOWrapper, number: int) -> io.TextIOWrapper:
    raw = io.FileIO(number, "w" if number else "r", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw) if number else io.BufferedReader(raw),
        encoding=given.encoding,
        errors=given.errors,
        newline="\n" if number else None,
        line_buffering=number == 2 or raw.isatty(),
    )


def leave(code: int) -> None:
    """Do all that an interpreter does at its end but free what the system frees anyway, which takes longest."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


if __name__ == "__main__":
    del sys.path[0]  # the tests' own modules
    script = main(socket.socket(fileno=int(sys.argv.pop())))
    try:
        if script:
            sys.path.insert(0, os.path.dirname(script))  # noqa: PTH120 - as an interpreter does
            runpy.run_path(script, run_name="__main__")
        else:
            runpy.run_module("offcamd", run_name="__main__", alter_sys=True)
    except SystemExit as leaving:
        leave(leaving.code)
