"""The command line. Verbs import what they need when they run, so that each starts quickly."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import typer

from offcam_proto.variables import misspelt
from offcamd.cli import (
    compare,
    daemon,
    demo,
    doctor,
    export,
    files,
    folders,
    hub,
    keys,
    plot,
    recover,
    render,
    show,
    status,
    stories,
    sync,
    top,
    verify,
    view,
)
from offcamd.cli.text import unwrapped
from offcamd.process import exit_codes

app = typer.Typer(
    name="offcam",
    help="Record reinforcement-learning agents off camera.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_VERBS: dict[str, tuple[Callable[..., None], ...]] = {
    "To begin with": (demo.demo, doctor.doctor),
    "The recorder": (daemon.serve, daemon.start, daemon.stop, status.status, top.top, recover.recover),
    "Runs": (view.view, folders.ls, show.show, plot.plot, compare.compare, verify.verify, export.export),
    "Videos": (render.render, stories.clip, stories.gif, stories.grid, stories.timelapse),
    "Other places": (sync.sync, hub.hub, files.files),
}
for _panel, _verbs in _VERBS.items():
    for _verb in _verbs:
        app.command(rich_help_panel=_panel)(_verb)
app.add_typer(keys.app, rich_help_panel="Other places")
for _each in (*app.registered_commands, *keys.app.registered_commands):
    _each.help = unwrapped(getattr(_each.callback, "__doc__", None) or "")  # typer breaks lines where the source does

_COMPLETION = "_OFFCAM_COMPLETE"
"""Environment variables by which a shell asks for completions."""

_SAYS_IT_ITSELF = ("serve", "hub")
"""Verbs that report misspelt variables in their own output."""

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Click's class, which newer versions of typer carry under a name of their own."""


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", "-V", help="Print the version and exit."),  # noqa: FBT003 - typer's way
) -> None:
    if version:
        from offcamd import __version__

        typer.echo(f"offcam {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(exit_codes.CANNOT)
    if context.invoked_subcommand not in _SAYS_IT_ITSELF:
        for name, near in misspelt(os.environ).items():
            typer.echo(f"offcam: {name} is set and means nothing. Did you mean {near}?", err=True)


def run(words: Sequence[str]) -> int:
    """Run a command line. Returns its exit code, one of `offcamd.process.exit_codes`; errors of the verb are raised."""
    command = typer.main.get_command(app)
    if _COMPLETION in os.environ:
        command.main(list(words), prog_name="offcam")  # this exits
    try:
        # Not `main` for other command lines: it handles broken pipes in its own way, and frames errors.
        with command.make_context("offcam", list(words)) as context:
            command.invoke(context)
    except typer.Exit as leaving:
        return leaving.exit_code
    except _UsageError as error:
        return exit_codes.say(error, exit_codes.CANNOT, as_json=exit_codes.wants_json(words), text=_in_a_line(error))
    return exit_codes.FINE


def _in_a_line(error: Exception) -> str:
    """A usage error in one line, with the command whose --help says more."""
    text = " ".join(error.format_message().split())  # type: ignore[attr-defined]  # see _UsageError
    context = getattr(error, "ctx", None)
    end = "" if text.endswith(("?", ".")) else "."
    return f"{text}{end} See: {context.command_path if context else 'offcam'} -h"
