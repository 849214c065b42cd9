"""``offcam status``: what the running daemon does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from offcam_proto.errors import DaemonUnavailable
from offcamd.cli.options import ConfigOption, EndpointOption, JsonOption
from offcamd.cli.text import TextColumn, number, numbers, print_facts, print_table, say_json, size, span, styled
from offcamd.config.settings import load_endpoint, passed_over
from offcamd.process import exit_codes

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_RUNS = 10
"""Most rows in the table of runs."""


def status(
    endpoint: EndpointOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for its answer.", min=0.1, metavar="<seconds>")] = 5.0,
) -> None:
    """Show what the daemon does: clients, queues, frames, clips, runs.

    Exits with 1 if no daemon answers, or a part of it is down.

    Frames, clips and episodes are counted since it started, of all runs together; a run is shown by its newest session.
    """
    from offcam_runs.sync.state import of_runs
    from offcamd.cli.query import ask_stats

    asked = load_endpoint(endpoint, config=config)
    try:
        stats = ask_stats(asked, timeout)
    except DaemonUnavailable as error:
        code = exit_codes.say(error, exit_codes.PROBLEM, as_json=as_json)
        if not as_json and (note := passed_over(asked)):
            typer.echo(f"offcam: {note}", err=True)
        raise typer.Exit(code) from error
    stats["sync"] = of_runs(run["folder"] for run in stats.get("runs", ()))  # here, as no daemon is to wait for a disk
    problems: dict[str, str] = stats.get("problems", {})
    if as_json:
        say_json(stats)
    else:
        print_facts(_summary(stats))
        if note := passed_over(asked):
            typer.echo(note)
        if stats.get("runs"):
            _print_runs(stats["runs"])
        if stats["sync"]:
            _print_sync(stats["sync"])
        for part, reason in problems.items():
            typer.echo(f"offcam: {part} is down: {reason}", err=True)
    if problems:
        raise typer.Exit(exit_codes.PROBLEM)


def _summary(stats: dict[str, Any]) -> Iterator[tuple[str, str]]:
    frames: dict[str, Any] = stats["frames"]
    dropped: dict[str, int] = frames["dropped"]
    lost = f", dropped {sum(dropped.values()):,} ({_counts(dropped)})" if any(dropped.values()) else ""
    yield "daemon", f"pid {stats['pid']}, offcam {stats['version']}, up {span(stats['uptime_seconds'])}"
    yield "endpoint", " and ".join(filter(None, (stats["endpoint"], stats.get("tcp"))))
    yield "http", stats["http"] or "off"
    yield "clients", f"{stats['clients']} with {stats['streams']} streams"
    yield "memory", memory_of(stats)
    full = f"{size(stats['queue_bytes'])} of {size(stats['queue_limit_bytes'])}"
    yield "queue", f"{full}, {behind(stats)}"
    yield "frames", f"{frames['offered']:,} offered, {frames['encoded']:,} encoded{lost}"
    yield "clips", _counts(stats["clips"])
    yield "episodes", f"{stats['episodes']:,}"
    if steps := stats.get("steps", {}).get("dropped"):
        yield "steps", f"rows dropped: {_counts(steps)}"
    yield "counted", "since it started, all runs together"
    yield "lost", _counts({what: count for what, count in stats.get("lost", {}).items() if count})
    yield "problems", "; ".join(f"{part} is down" for part in stats.get("problems", ())) or "none"


def behind(stats: dict[str, Any]) -> str:
    """How far the encoders are behind, and whether they mean to be."""
    lag = stats["encode_lag_seconds"]
    gives_way = lag > 1 and stats.get("encoders", {}).get("give_way")
    return f"{span(lag)} behind{', giving way to other programs' if gives_way else ''}"


def memory_of(stats: dict[str, Any]) -> str:
    """The RAM of the daemon and of its clients' processes as text, as far as it is known."""
    memory = stats.get("memory") or {}
    known = [client["rss_bytes"] for client in memory.get("clients", ()) if client["rss_bytes"] is not None]
    clients = f", clients {size(sum(known))}" if known else ""
    return f"{size(memory.get('daemon_rss_bytes'))}{clients}"


def _print_runs(runs: list[dict[str, Any]]) -> None:
    shown = runs[-MOST_RUNS:]
    title = (
        "Runs, the newest session of each"
        if len(shown) == len(runs)
        else f"The last {MOST_RUNS} of {len(runs)} runs, the newest session of each (--json has all)"
    )
    typer.echo(styled(title, bold=True))
    print_table(
        [TextColumn("folder", "name"), *numbers("session", "episodes", "return", "last 100", "length", "steps/s")],
        (
            (
                run["folder"],
                number(run.get("session")),
                f"{run['episodes']:,}",
                f"{number(run['return']['mean'])} ± {number(run['return']['std'])}" if run["episodes"] else "-",
                number(run["return"]["last100_mean"]),
                number(run["length"]["mean"]),
                number(run["steps_per_second"]),
            )
            for run in shown
        ),
    )


def _print_sync(found: list[dict[str, Any]]) -> None:
    typer.echo(styled("Sent to trackers", bold=True))
    print_table(
        [
            TextColumn("folder", "name"),
            TextColumn("to"),
            *numbers("episodes", "videos", "behind", "failures"),
            TextColumn("state"),
        ],
        (
            (
                each["folder"],
                each["tracker"],
                f"{each['sent_episodes']:,}",
                f"{each['sent_clips']:,}",
                span(each["lag_seconds"]) if each["lag_seconds"] else "0",
                f"{each['failures']:,}",
                each["error"] or ("sending" if each["working"] else "all sent" if each["over"] else "nobody sends it"),
            )
            for each in found[-MOST_RUNS:]
        ),
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"
