"""The command line. Verbs import what they need when they run, so that each starts quickly."""

from __future__ import annotations

import os
from collections.abc import Sequence

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
from offcamd.process import exit_codes

app = typer.Typer(
    name="offcam",
    help="Record reinforcement-learning agents off camera.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(daemon.serve)
app.command()(hub.hub)
app.command()(daemon.start)
app.command()(daemon.stop)
app.command()(status.status)
app.command()(top.top)
app.command("ls")(folders.list_folders)
app.command()(verify.verify)
app.command()(show.show)
app.command()(view.view)
app.command()(plot.plot)
app.command()(compare.compare)
app.command()(export.export)
app.command()(render.render)
app.command()(stories.clip)
app.command()(stories.gif)
app.command()(stories.grid)
app.command()(stories.timelapse)
app.command()(sync.sync)
app.command()(recover.recover)
app.command()(doctor.doctor)
app.command()(files.files)
app.command()(demo.demo)
app.add_typer(keys.app)

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
