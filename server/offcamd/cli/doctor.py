"""``offcam doctor``."""

from __future__ import annotations

import typer

from offcamd.cli.options import ConfigOption, EndpointOption, JsonOption  # noqa: TC001 - typer evaluates the verbs' annotations

_MARKS = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}


def doctor(
    endpoint: EndpointOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check what recording needs: versions, encoder, socket directory, daemon, rendering. 1 if a check fails."""
    from offcamd import doctor as examination  # noqa: PLC0415 - verbs import when they run

    checks = []
    for check in examination.examine(endpoint, config):
        checks.append(check)
        if not as_json:
            mark, colour = _MARKS[check.outcome]
            typer.echo(f"{typer.style(f'{mark:4}', fg=colour)}  {check.name}: {check.detail}")
            if check.fix:
                typer.echo(f"      {check.fix}")
    if as_json:
        typer.echo(examination.as_json(checks))
    if any(check.outcome == "fail" for check in checks):
        raise typer.Exit(1)
