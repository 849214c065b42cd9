"""``offcam top``: what the daemon does, shown live."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from offcam_proto.errors import ConfigError, DaemonUnavailable
from offcamd.cli.options import ConfigOption, EndpointOption
from offcamd.cli.text import plain_console, say_json
from offcamd.config.settings import load_endpoint
from offcamd.process import exit_codes
from offcamd.process.signals import SIGNAL_SECONDS

if TYPE_CHECKING:
    from rich.console import Console

    from offcamd.cli.query import Asker
    from offcamd.cli.topview import View

ANSWER_SECONDS = 1.0
"""How long, in seconds, a daemon may take to answer before it is shown as silent."""

ONCE_SECONDS = 5.0
"""The same for ``--once``, which shows nothing if there is no answer."""

_QUIT = b"qQ\x03\x04\x1b"  # also what Ctrl-C, Ctrl-D and Escape type
_SORT, _TURN = b"sS", b"rR"


def top(
    endpoint: EndpointOption = None,
    config: ConfigOption = None,
    interval: Annotated[
        float, typer.Option(help="Seconds between two looks.", min=0.1, max=3600, metavar="<seconds>")
    ] = 1.0,
    sort: Annotated[
        str, typer.Option(help="Sort streams by this column: return, lag, dropped, ...", show_default=False)
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="Look once and print that, as when piped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Look once and print JSON, as `offcam status` does.")] = False,
) -> None:
    """Watch the daemon: each stream's speed, returns, lag, queue and drops. q or Ctrl-C leaves."""
    from offcamd.cli.query import Asker
    from offcamd.cli.topview import SORTS, View

    if sort and sort not in SORTS:
        raise ConfigError(f"--sort takes a column, got {sort!r}: one of {', '.join(map(repr, SORTS))}")
    view = View(sort)
    console = plain_console()
    with Asker(load_endpoint(endpoint, config=config)) as asker:
        if once or as_json or not console.is_terminal:
            _print_once(asker, console, view, as_json=as_json)
        else:
            _watch(asker, console, view, interval)


def _print_once(asker: Asker, console: Console, view: View, *, as_json: bool) -> None:
    try:
        stats = asker.ask(ONCE_SECONDS)
    except DaemonUnavailable as error:
        raise typer.Exit(exit_codes.say(error, exit_codes.PROBLEM, as_json=as_json)) from error
    if as_json:
        say_json(stats)
        return
    view.take(stats, time.monotonic())
    console.print(view.show(console.width, None))


def _watch(asker: Asker, console: Console, view: View, interval: float) -> None:
    """Ask again and again until the user leaves; a daemon that is gone may come back."""
    from rich.live import Live

    with (
        contextlib.suppress(KeyboardInterrupt),
        _leaves_in_good_order(),
        _keys() as keys,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            begun = time.monotonic()
            try:
                view.take(asker.ask(ANSWER_SECONDS), time.monotonic())
            except DaemonUnavailable as error:
                view.miss(str(error))
            live.update(view.show(console.width, console.height), refresh=True)
            for typed in _typed(keys, begun + interval - time.monotonic()):
                if not typed or any(key in _QUIT for key in typed):
                    return
                for key in typed:
                    if key in _SORT:
                        view.sort_next()
                    elif key in _TURN:
                        view.turn_round()
                live.update(view.show(console.width, console.height), refresh=True)


def _typed(keys: int | None, seconds: float) -> Iterator[bytes]:
    """What the user types within so long, at least a moment; ends at the end of the input."""
    deadline = time.monotonic() + max(seconds, 0.05)
    while (left := deadline - time.monotonic()) > 0:
        if keys is None:
            time.sleep(min(left, SIGNAL_SECONDS))
        elif select.select([keys], [], [], min(left, SIGNAL_SECONDS))[0]:
            yield os.read(keys, 64)


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """The terminal's keys as they are typed, not echoed; None if stdin is not a terminal."""
    import termios
    import tty

    if sys.stdin is None or not sys.stdin.isatty():
        yield None
        return
    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    try:
        tty.setcbreak(keys)
        yield keys
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _leaves_in_good_order() -> Iterator[None]:
    """Restore the terminal on SIGTERM, too."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
