"""``offcam status``: what the running daemon does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from offcam_proto.errors import DaemonUnavailable
from offcamd.cli.options import ConfigOption, EndpointOption, JsonOption, endpoint_of
from offcamd.cli.text import number, plain_console, short_path, size, span
from offcamd.config import passed_over

if TYPE_CHECKING:
    from rich.table import Table

MOST_RUNS = 10
"""Rows in the table of runs."""


def status(
    endpoint: EndpointOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for its answer.", min=0.1)] = 5.0,
) -> None:
    """Show what the daemon does: clients, queues, frames, clips, runs. 1 if there is none, or a part of it is down."""
    from offcamd.control import ask_stats  # noqa: PLC0415 - verbs import when they run
    from offcamd.jsontext import dumps  # noqa: PLC0415 - as above

    asked = endpoint_of(endpoint, config)
    try:
        stats = ask_stats(asked, timeout)
    except DaemonUnavailable as error:
        if as_json:
            typer.echo(dumps({"error": str(error)}))
        else:
            typer.echo(f"offcam: {error}", err=True)
            if note := passed_over(asked):
                typer.echo(f"offcam: {note}", err=True)
        raise typer.Exit(1) from error
    problems: dict[str, str] = stats.get("problems", {})
    if as_json:
        typer.echo(dumps(stats, indent=2))
    else:
        console = plain_console()
        console.print(_summary(stats))
        if note := passed_over(asked):
            console.print(note)
        if stats.get("runs"):
            console.print(_runs(stats["runs"]))
        for part, reason in problems.items():
            typer.echo(f"offcam: {part} is down: {reason}", err=True)
    if problems:
        raise typer.Exit(1)


def _summary(stats: dict[str, Any]) -> Table:
    from rich.table import Table  # noqa: PLC0415 - as above

    frames: dict[str, Any] = stats["frames"]
    dropped: dict[str, int] = frames["dropped"]
    lost = f", dropped {sum(dropped.values()):,} ({_counts(dropped)})" if any(dropped.values()) else ""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in (
        ("daemon", f"pid {stats['pid']}, offcam {stats['version']}, up {span(stats['uptime_seconds'])}"),
        ("endpoint", " and ".join(filter(None, (stats["endpoint"], stats.get("tcp"))))),
        ("http", stats["http"] or "off"),
        ("clients", f"{stats['clients']} with {stats['streams']} streams"),
        ("memory", memory_of(stats)),
        ("queue", _queue(stats)),
        ("frames", f"{frames['offered']:,} offered, {frames['encoded']:,} encoded{lost}"),
        ("clips", _counts(stats["clips"])),
        ("episodes", f"{stats['episodes']:,}"),
        ("problems", "; ".join(f"{part} is down" for part in stats.get("problems", ())) or "none"),
    ):
        table.add_row(name, str(value))
    return table


def memory_of(stats: dict[str, Any]) -> str:
    """What the daemon and its clients' processes have in RAM, as far as it can be seen."""
    memory = stats.get("memory") or {}
    known = [client["rss_bytes"] for client in memory.get("clients", ()) if client["rss_bytes"] is not None]
    clients = f", clients {size(sum(known))}" if known else ""
    return f"{size(memory.get('daemon_rss_bytes'))}{clients}"


def _queue(stats: dict[str, Any]) -> str:
    full = f"{size(stats['queue_bytes'])} of {size(stats['queue_limit_bytes'])}"
    return f"{full}, {span(stats['encode_lag_seconds'])} behind"


def _runs(runs: list[dict[str, Any]]) -> Table:
    from rich.table import Table  # noqa: PLC0415 - as above

    shown = runs[-MOST_RUNS:]
    table = Table(
        title="Runs" if len(shown) == len(runs) else f"The last {MOST_RUNS} of {len(runs)} runs (--json has all)",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
    )
    table.add_column("folder", no_wrap=True)
    for heading in ("episodes", "return", "last 100", "length", "steps/s"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    for run in shown:
        returns = run["return"]
        table.add_row(
            short_path(run["folder"]),
            f"{run['episodes']:,}",
            f"{number(returns['mean'])} ± {number(returns['std'])}" if run["episodes"] else "-",
            number(returns["last100_mean"]),
            number(run["length"]["mean"]),
            number(run["steps_per_second"]),
        )
    return table


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"
