"""``offcam ls``, and what all verbs share that take runs or folders of runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import typer

from offcam_proto.errors import OffcamError
from offcam_runs.format import PENDING_NAME, VIDEO_EXTENSION
from offcamd.cli.options import JsonOption, SessionOption
from offcamd.cli.text import TextColumn, counted, number, numbers, print_table, printable, say_json, size, span, styled
from offcamd.process import exit_codes

if TYPE_CHECKING:
    from offcam_runs.clips import Clip
    from offcam_runs.episodes import Episode
    from offcam_runs.pins import Pin
    from offcam_runs.run import Run
    from offcam_runs.sessions import Session
    from offcam_runs.steps.places import StepTotals

Result = TypeVar("Result")

FoldersArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="FOLDER",
        help="Run folders, or folders that hold run folders.",
        readable=False,  # typer must not check that: whoever reads the folder says more about what is wrong
        show_default=False,
    ),
]
LAST = 20


def folders_of(given: Sequence[str]) -> list[Path]:
    """The folders to read for what the user gave; see `offcam_runs.objects.copies.local`, whose errors it raises."""
    from offcam_runs.objects.layout import is_url

    if not any(map(is_url, given)):
        return list(map(Path, given))
    from offcam_runs.objects.copies import local

    return [Path(local(each)) for each in given]


RunsArgument = Annotated[
    list[str],  # of a path, two slashes would be one
    typer.Argument(
        metavar="FOLDER",
        help="Run folders, folders that hold run folders, or where runs were sent to, as s3://bucket/run.",
        show_default=False,
    ),
]
"""To be given to `folders_of`."""


def ls(
    named: RunsArgument,
    as_json: JsonOption = False,
    everything: Annotated[bool, typer.Option("--all", help=f"Every row, not only the last {LAST}.")] = False,
    pinned: Annotated[bool, typer.Option("--pinned", help="Only the videos that were pinned, and why.")] = False,
    session: SessionOption = "",
) -> None:
    """List the videos and episodes of runs. Needs no daemon."""
    from offcam_runs.run import read_run
    from offcam_runs.sessions import session_of

    wanted = session_of(session)

    def look(folder: Path) -> Listing:
        if pinned:
            return of_pins(folder, wanted)
        if not (everything or as_json):
            return latest(folder, wanted)
        run = read_run(folder, wanted)
        return Listing(run, len(run.clips), len(run.episodes))

    folders = folders_of(named)
    found = over_runs(folders, look, show=show_listing, to_json=listing_as_dict, as_json=as_json)
    if None in found:
        raise typer.Exit(exit_codes.CANNOT)


def over_runs(
    folders: Sequence[Path],
    look: Callable[[Path], Result],
    *,
    show: Callable[[Result], None],
    to_json: Callable[[Result], dict[str, Any]],
    as_json: bool,
    unfinished: bool = False,
) -> list[Result | None]:
    """Do the same for each run that the folders mean, and print each result.

    With ``--json`` one object is printed: the run's own for a single run folder, else ``{"runs": [...]}``.

    Args:
        folders: as the user gave them.
        look: what to do with a run.
        show: prints a result for people.
        to_json: turns a result into a JSON object.
        as_json: whether to print JSON.
        unfinished: see `run_folders`.

    Returns:
        The results; None for a run that cannot be used, which is reported. If it is the only one given, its error is
        raised.
    """
    from offcam_runs.discover import run_folders

    runs = [run for given in run_folders(folders, unfinished=unfinished) for run in given]
    if runs == list(folders) and len(runs) == 1:
        result = look(runs[0])
        if as_json:
            say_json(to_json(result))
        else:
            show(result)
        return [result]
    results: list[Result | None] = []
    objects = []
    for run in runs:
        if not as_json:
            typer.echo(styled(f"{printable(str(run))}:", bold=True))
        try:
            result = look(run)
        except (OffcamError, OSError) as error:
            results.append(None)
            objects.append({"folder": str(run), **exit_codes.as_dict(error, exit_codes.CANNOT)})
            if not as_json:
                exit_codes.say(error, exit_codes.CANNOT, as_json=False)
        else:
            results.append(result)
            objects.append({"folder": str(run), **to_json(result)})
            if not as_json:
                show(result)
    if as_json:
        say_json({"runs": objects})
    return results


class Listing(NamedTuple):
    """A run, possibly with some rows only, and how many episodes and clips it has in all.

    Attributes:
        pins: the pins by the keys of their clips, where only these are listed.
    """

    run: Run
    clips: int
    episodes: int
    pins: Mapping[str, Pin] | None = None


def of_pins(folder: Path, session: Session = None) -> Listing:
    """The clips of a run that are pinned, and no episodes. Raises what `read_run` raises."""
    from offcam_runs.pins import read_pins
    from offcam_runs.run import read_run

    run, pins = read_run(folder, session), read_pins(folder)
    clips = tuple(clip for clip in run.clips if _key(clip) in pins)
    return Listing(dataclasses.replace(run, clips=clips), len(clips), 0, pins)


def _key(clip: Clip) -> str:
    return f"{clip.stream_id}-{clip.clip}"


def listing_as_dict(listing: Listing) -> dict[str, Any]:
    """A listing, ready for JSON: the run; of pinned clips alone, each with its ``pin``."""
    found, pins = listing.run.as_dict(), listing.pins
    if pins is None:
        return found
    clips = zip(listing.run.clips, found["clips"], strict=True)
    return {**found, "episodes": [], "clips": [{**row, "pin": pins[_key(clip)]._asdict()} for clip, row in clips]}


def latest(folder: Path, session: Session = None) -> Listing:
    """The last `LAST` clips and episodes of a run, without reading the others. Raises what `read_run` raises."""
    from offcam_runs.database import open_to_read
    from offcam_runs.run import run_of

    with open_to_read(folder, session=session) as database:
        run = run_of(database, folder, last=LAST)
        (clips,) = database.execute("SELECT count(*) FROM clips WHERE state NOT IN ('replaced', 'evicted')").fetchone()
        (episodes,) = database.execute("SELECT count(*) FROM episodes").fetchone()
    return Listing(run, clips, episodes)


def show_listing(listing: Listing) -> None:
    """Print the tables of a run."""
    from offcam_runs.objects.copies import original

    if said := which_session(listing.run.session, listing.run.sessions):
        typer.echo(said)
    if url := original(listing.run.folder):
        fetched = sum(1 for _ in Path(listing.run.folder).glob(f"*{VIDEO_EXTENSION}"))
        of = f"{fetched:,} of {counted(listing.clips, 'video')} {'is' if fetched == 1 else 'are'} fetched"
        typer.echo(printable(f"a copy of {url}: {of}, others are when they are looked at"))
    if evicted := [clip for clip in listing.run.clips if clip.evicted]:
        which = "1 of these videos is" if len(evicted) == 1 else f"{len(evicted):,} of these videos are"
        typer.echo(printable(f"{which} evicted, and in {evicted[0].evicted}: fetched when looked at"))
    _say_rows("video" if listing.pins is None else "pinned video", listing.clips, len(listing.run.clips))
    if listing.run.clips:
        _show_clips(listing.run, listing.pins)
    if listing.pins is not None:
        return
    _say_rows("episode", listing.episodes, len(listing.run.episodes))
    if listing.run.episodes:
        _show_episodes(listing.run)
    if said := steps_of(listing.run.step_totals):
        typer.echo(said)
    if pending := listing.run.pending:
        typer.echo(
            f"{counted(pending, 'episode')} wait in {PENDING_NAME} for the next daemon there, or `offcam recover`"
        )


def steps_of(steps: StepTotals) -> str:
    """How many rows of steps there are, and what was dropped of them; empty if none were recorded."""
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in steps.dropped.items())
    if not (steps.rows or dropped):
        return ""
    return f"steps: {counted(steps.rows, 'row')} in {size(steps.bytes)}" + (f", dropped: {dropped}" if dropped else "")


def which_session(session: int | None, there: Sequence[int]) -> str:
    """Which of a run's sessions is shown; empty if there is only one."""
    if len(there) < 2:
        return ""
    if session is None:
        return f"all {len(there)} sessions (--session N for one of them)"
    return f"session {session} of {max(there)} (--session N for another, or all)"


def _say_rows(thing: str, there: int, shown: int) -> None:
    more = "" if shown == there else f", the last {shown} (--all shows every one)"
    typer.echo(styled(f"{counted(there, thing)}{more}", bold=True))


def _show_clips(run: Run, pins: Mapping[str, Pin] | None) -> None:
    session = ["session"] if run.session is None else []
    counts = numbers("frames", "duration", "return", "length", "dropped", *session)
    reason = [TextColumn("kept as")] if any(clip.keep_reason for clip in run.clips) else []
    checked = [TextColumn("steps")] if any(clip.said_of_steps for clip in run.clips) else []
    note = [] if pins is None else [TextColumn("note")]
    print_table(
        [TextColumn("file", "name"), TextColumn("state"), *counts, *reason, *checked, *note],
        (
            (
                clip.file or f"({clip.name})",
                ", ".join(filter(None, (clip.said_state, "partial" if clip.partial else "", printable(clip.unended)))),
                f"{clip.frames:,}",
                span(clip.duration),
                number(clip.return_),
                number(clip.length),
                ", ".join(f"{count:,} {reason}" for reason, count in clip.dropped.items()) or "0",
                *(str(run.streams[clip.stream].session) for _ in session),
                *(clip.keep_reason or "" for _ in reason),
                *(clip.said_of_steps for _ in checked),
                *(pins[_key(clip)].note for _ in note if pins),
            )
            for clip in run.clips
        ),
    )


def _show_episodes(run: Run) -> None:
    session, episodes = ["session"] if run.session is None else [], run.episodes
    columns = [*numbers("episode", "env", "return", "length", "duration"), TextColumn("end"), TextColumn("seed")]
    columns += numbers(*map(printable, episodes.info), *session)
    print_table(
        columns,
        (
            (
                str(episode.episode),
                str(episode.env_index),
                number(episode.return_),
                f"{episode.length:,}",
                span(episode.duration),
                _end(episode),
                "-" if episode.seed is None else str(episode.seed),
                *(number(episode.info.get(name)) for name in episodes.info),
                *(str(run.streams[episode.stream].session) for _ in session),
            )
            for episode in episodes
        ),
    )


def _end(episode: Episode) -> str:
    ends = {"terminated": episode.terminated, "truncated": episode.truncated}
    return "+".join(name for name, yes in ends.items() if yes) or "-"
