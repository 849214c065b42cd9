"""``offcam files``: systemd units, monitoring and containers, from an installation as from a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from offcam_proto.errors import ConfigError
from offcamd.cli.deployed import FILES, named, write
from offcamd.cli.options import JsonOption
from offcamd.cli.text import say_json


def files(
    names: Annotated[
        Optional[list[str]],
        typer.Argument(
            metavar="[NAME]...",
            help=f"{', '.join(FILES)}; without a name they are listed.",
            show_default=False,
            autocompletion=lambda incomplete: [name for name in FILES if name.startswith(incomplete)],
        ),
    ] = None,
    output: Annotated[
        Optional[Path],
        typer.Option("-o", "--output", help="Write into this folder; without a NAME all of them.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List or print what runs the daemon as a service and watches it: systemd, containers, Prometheus, Grafana."""
    facts: dict[str, Any]
    chosen = named(names or [])
    if output is not None:
        written = [str(path) for path in write(chosen, output, force=force)]
        facts, text = {"written": written}, "\n".join([*written, ""])
    elif not names:
        facts = {"files": [{"name": file.name, "file": file.file, "about": file.about} for file in chosen]}
        text = "".join(f"{file.name:13} {file.file:31} {file.about}\n" for file in chosen)
    elif len(chosen) > 1:
        raise ConfigError("one file at a time is printed: name one, or give a folder to write them to with -o")
    else:
        text = chosen[0].text()
        facts = {"name": chosen[0].name, "file": chosen[0].file, "text": text}
    if as_json:
        say_json(facts)
    else:
        typer.echo(text, nl=False)
