"""``offcam ls`` and ``offcam verify``: what a run folder holds, and whether it is all there."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from offcamd.cli.options import JsonOption  # noqa: TC001 - typer evaluates the verbs' annotations
from offcamd.cli.text import number, plain_console, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.table import Table

    from offcamd.listing import ClipItem, EpisodeItem
    from offcamd.verify import Verdict

FolderArgument = Annotated[Path, typer.Argument(help="The run folder.", show_default=False)]
FoldersArgument = Annotated[
    list[Path],
    typer.Argument(metavar="FOLDER", help="Run folders, or folders that hold run folders.", show_default=False),
]
LAST = 20

PATIENCE_SECONDS = 1.0
"""What takes longer gets a progress bar."""


def list_folder(
    folder: FolderArgument,
    as_json: JsonOption = False,
    everything: Annotated[bool, typer.Option("--all", help=f"Every row, not only the last {LAST}.")] = False,
) -> None:
    """List a run folder's videos and episodes. Needs no daemon."""
    from offcamd.jsontext import dumps  # noqa: PLC0415 - verbs import when they run
    from offcamd.listing import list_run  # noqa: PLC0415 - as above

    if as_json:
        typer.echo(dumps(list_run(folder).as_dict(), indent=2))
    else:
        show_folder(folder, everything=everything)


def show_folder(folder: Path, *, everything: bool = False) -> None:
    """Print the tables of a run folder."""
    from offcamd.listing import list_run  # noqa: PLC0415 - as above

    run = list_run(folder)
    console = plain_console()
    for title, rows, table in (
        ("videos", len(run.clips), _clips(run.clips if everything else run.clips[-LAST:])),
        ("episodes", len(run.episodes), _episodes(run.episodes if everything else run.episodes[-LAST:])),
    ):
        shown = "" if everything or rows <= LAST else f", the last {LAST} (--all shows every one)"
        console.print(f"{rows:,} {title}{shown}", style="bold")
        if rows:
            console.print(table)


def verify(
    folder: FolderArgument,
    as_json: JsonOption = False,
) -> None:
    """Decode every video of a run folder and check it against the index. 1 if anything is wrong or unchecked."""
    from offcamd.jsontext import dumps  # noqa: PLC0415 - as above
    from offcamd.verify import verify as verify_folder  # noqa: PLC0415 - as above

    with progress_bar("Decoding") as progress:
        verdict = verify_folder(folder, progress=progress)
    if as_json:
        typer.echo(dumps(verdict.as_dict(), indent=2))
    else:
        for note in verdict.notes:
            typer.echo(f"note: {note.file}: {note.text}")
        for problem in verdict.problems:
            typer.echo(f"{problem.kind}: {problem.file}: {problem.text}")
        typer.echo(f"{verdict.clips_checked} videos, {verdict.frames_checked:,} frames checked: {_found(verdict)}.")
    if verdict.problems:
        raise typer.Exit(1)


def _found(verdict: Verdict) -> str:
    if verdict.ok:
        return "all is well"
    problems = "1 problem" if len(verdict.problems) == 1 else f"{len(verdict.problems)} problems"
    return problems if verdict.clips_checked else f"nothing could be checked, {problems}"


def _clips(clips: list[ClipItem]) -> Table:
    table = _table("file", "state", *_right("frames", "duration", "return", "length", "dropped"))
    for clip in clips:
        table.add_row(
            clip.file or f"({clip.name})",
            f"{clip.state}, partial" if clip.partial else clip.state,
            f"{clip.frames:,}",
            span(clip.duration_seconds),
            number(clip.return_),
            number(clip.length),
            ", ".join(f"{count:,} {reason}" for reason, count in clip.dropped.items()) or "0",
        )
    return table


def _episodes(episodes: list[EpisodeItem]) -> Table:
    table = _table(*_right("episode", "env", "return", "length", "duration"), "end", "seed")
    for episode in episodes:
        ends = {"terminated": episode.terminated, "truncated": episode.truncated}
        table.add_row(
            str(episode.episode),
            str(episode.env_index),
            number(episode.return_),
            f"{episode.length:,}",
            span(episode.duration_seconds),
            "+".join(name for name, yes in ends.items() if yes) or "-",
            "-" if episode.seed is None else str(episode.seed),
        )
    return table


def _right(*headings: str) -> list[tuple[str, bool]]:
    return [(heading, True) for heading in headings]


def _table(*columns: str | tuple[str, bool]) -> Table:
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False)
    for column in columns:
        heading, right = (column, False) if isinstance(column, str) else column
        # names are cut where the terminal is narrow, numbers never
        table.add_column(heading, justify="right" if right else "left", no_wrap=True, min_width=len(heading) * right)
    return table


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar where a person watches, once a second has passed; to be called with what is done and how much there is.

    It comes by itself, also where the first step takes longer than that.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.progress import Progress  # noqa: PLC0415 - as above

    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=None)
    later = threading.Timer(PATIENCE_SECONDS, bar.start)
    later.daemon = True
    later.start()
    try:
        yield lambda done, total: bar.update(task, completed=done, total=total)
    finally:
        later.cancel()
        later.join()  # or it would start a bar that nobody stops
        if bar.live.is_started:  # to stop one that was not would wipe the line above
            bar.stop()
