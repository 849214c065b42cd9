"""``offcam render``: videos of episodes that were recorded without pictures."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from offcam_proto.errors import ConfigError
from offcam_proto.limits import MAX_FRAME_SIDE
from offcamd.cli.folders import FoldersArgument, over_runs
from offcamd.cli.options import JsonOption, SessionOption
from offcamd.cli.text import counted, printable
from offcamd.process import exit_codes

if TYPE_CHECKING:
    from pathlib import Path

    from offcamd.reports.render import Rendered


def render(
    folders: FoldersArgument,
    episode: Annotated[
        Optional[list[int]],
        typer.Option("--episode", help="The number of an episode; may be given several times.", show_default=False),
    ] = None,
    where: Annotated[
        str, typer.Option(help="A condition: 'return < -100', 'truncated and length > 200'.", show_default=False)
    ] = "",
    best: Annotated[
        Optional[int], typer.Option(min=1, help="So many with the highest return.", show_default=False)
    ] = None,
    worst: Annotated[
        Optional[int], typer.Option(min=1, help="So many with the lowest return.", show_default=False)
    ] = None,
    keep: Annotated[
        str,
        typer.Option(help="Those that a rule of offcam.keep keeps: 'best(3) | failures()'.", show_default=False),
    ] = "",
    kept: Annotated[
        bool, typer.Option("--kept", help="What the recording's own keep= keeps and is not rendered yet.")
    ] = False,
    env_index: Annotated[int, typer.Option(min=0, help="The sub-environment of a vector env.")] = 0,
    stream: Annotated[
        str, typer.Option(help="Only those of a stream, by its id in `offcam ls --json`.", show_default=False)
    ] = "",
    setting: Annotated[
        Optional[list[str]],
        typer.Option(
            "--set",
            help="Make the env with another argument, as width=1280 or camera_name=track; may be given several times.",
            metavar="NAME=VALUE",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            help="Render in this size, where the env takes width and height (MuJoCo); others fit in it, not enlarged.",
            metavar="WxH",
            show_default=False,
        ),
    ] = "",
    camera: Annotated[
        str,
        typer.Option(
            help="See it by this camera, where the env takes camera_name or camera_id (MuJoCo).", show_default=False
        ),
    ] = "",
    trust: Annotated[
        bool, typer.Option("--trust", help="Run code that a folder names which you have not recorded.")
    ] = False,
    progress: Annotated[
        int, typer.Option(help="Descriptor to write to how far each is: percent, a line each.", hidden=True)
    ] = -1,
    as_json: JsonOption = False,
    session: SessionOption = "",
) -> None:
    """Make videos of episodes recorded with source="replay": they happen again, and each step is checked.

    Exits with 1 where an episode did not happen again as it was; there is no video of it then.
    """
    from offcam_runs.keep.names import read
    from offcam_runs.sessions import session_of
    from offcamd.reports.render import EpisodeChoice, VideoStyle
    from offcamd.reports.render import render as render_episodes

    choice = EpisodeChoice(
        *(tuple(episode or ()), where, best, worst, env_index, stream), keep=read(keep) if keep else None, kept=kept
    )
    if kept == (bool(choice.episodes) or choice.by_result):
        raise ConfigError(
            "say which episodes: --episode N, --where 'return < -100', --best K, --worst K, "
            "--keep 'best(3) | failures()', or --kept by itself"
        )
    look = VideoStyle(dict(map(_argument, setting or ())), _size(size) if size else None, camera)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # SystemExit also ends what was started
    wanted = session_of(session)

    def tell(percent: int) -> None:
        with suppress(OSError):  # who asked for that is gone
            os.write(progress, b"%d\n" % percent)

    told = tell if progress >= 0 else None

    def of_run(folder: Path) -> tuple[Path, list[Rendered]]:
        done = []
        for rendered in render_episodes(folder, choice, session=wanted, look=look, trusts=trust, progress=told):
            done.append(rendered)
            if not as_json:  # printed one by one, as each may take a while
                _show(rendered)
        return folder, done

    found = over_runs(folders, of_run, show=_show_sum, to_json=_to_json, as_json=as_json)
    if None in found:
        raise typer.Exit(exit_codes.CANNOT)
    if not all(answer.file for _, done in filter(None, found) for _, answer in done):
        raise typer.Exit(exit_codes.PROBLEM)


def _argument(text: str) -> tuple[str, Any]:
    """Parse ``NAME=VALUE``: an argument's name and its value, which is JSON or else text as it is."""
    name, equals, value = text.partition("=")
    if not name.isidentifier() or not equals:
        raise ConfigError(f"--set takes NAME=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _size(text: str) -> list[int]:
    """Parse ``WIDTHxHEIGHT``, both in pixels."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 2):
        raise ConfigError(f"--size takes WIDTHxHEIGHT in pixels, as 1280x720, got {text!r}")
    if max(int(width), int(height)) > MAX_FRAME_SIDE:
        raise ConfigError(f"--size takes at most {MAX_FRAME_SIDE} pixels a side, got {text!r}")
    return [int(width), int(height)]


def _to_json(of_run: tuple[Path, list[Rendered]]) -> dict[str, Any]:
    folder, done = of_run
    return {"folder": str(folder), "videos": [{"episode": number, **answer._asdict()} for number, answer in done]}


def _show_sum(of_run: tuple[Path, list[Rendered]]) -> None:
    _, done = of_run
    typer.echo(f"{counted(sum(bool(answer.file) for _, answer in done), 'video')} of {counted(len(done), 'episode')}.")


def _show(rendered: Rendered) -> None:
    number, answer = rendered
    if answer.file:
        typer.echo(printable(f"{answer.file}: episode {number}, each step as it was ({answer.plan})"))
    else:
        where = "" if answer.diverged_at is None else f", at step {answer.diverged_at} ({answer.plan})"
        typer.echo(printable(f"episode {number}: no video: {answer.why}{where}"))
    for change in answer.changes:
        typer.echo(printable(f"  since it was recorded, {change}"))
