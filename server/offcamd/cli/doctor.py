"""``offcam doctor``."""

from __future__ import annotations

from dataclasses import asdict

import typer

from offcamd.cli.options import ConfigOption, EndpointOption, JsonOption
from offcamd.cli.text import say_json, styled
from offcamd.process import exit_codes

_MARKS = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}


def doctor(endpoint: EndpointOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check what recording needs: versions, encoder, socket directory, daemon, rendering.

    Exits with 1 if a check fails.
    """
    from offcamd.cli import checks as examination

    checks = []
    for check in examination.examine(endpoint, config):
        checks.append(check)
        if not as_json:
            mark, colour = _MARKS[check.outcome]
            typer.echo(f"{styled(f'{mark:4}', colour=colour)}  {check.name}: {check.detail}")
            if check.fix:
                typer.echo(f"      {check.fix}")
    ok = all(check.outcome != "fail" for check in checks)
    if as_json:
        say_json({"ok": ok, "checks": [asdict(check) for check in checks]})
    if not ok:
        raise typer.Exit(exit_codes.PROBLEM)
