"""The command line. Verbs import what they need when they run, so that each starts quickly."""

from __future__ import annotations

import os
import sys
import traceback

import typer

from offcam_proto.errors import OffcamError
from offcamd.cli import daemon, demo, doctor, export, files, folders, keys, plot, recover, show, status, top, view

app = typer.Typer(
    name="offcam",
    help="Record reinforcement-learning agents off camera.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(daemon.serve)
app.command()(daemon.start)
app.command()(daemon.stop)
app.command()(status.status)
app.command()(top.top)
app.command("ls")(folders.list_folder)
app.command()(folders.verify)
app.command()(show.show)
app.command()(view.view)
app.command()(plot.plot)
app.command()(export.export)
app.command()(recover.recover)
app.command()(doctor.doctor)
app.command()(files.files)
app.command()(demo.demo)
app.add_typer(keys.app)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),  # noqa: FBT003 - typer's way
) -> None:
    if version:
        from offcamd import __version__  # noqa: PLC0415 - only here

        typer.echo(f"offcam {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit(2)


def run() -> int:
    """Run the command line on ``sys.argv``. Returns or exits with 0 fine, 1 found a problem, 2 usage or cannot."""
    try:
        app()
    except OffcamError as error:
        if os.environ.get("OFFCAM_LOG", "").lower() == "debug":
            traceback.print_exc()
        sys.stderr.write(f"offcam: {error}\n")
        return 2
    return 0
