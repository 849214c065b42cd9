"""``offcam clip``, ``gif``, ``grid`` and ``timelapse``: videos made of a run's videos."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Optional

import typer

from offcam_proto.errors import ConfigError
from offcamd.cli.folders import FoldersArgument
from offcamd.cli.options import JsonOption, SessionOption, file_to_write, say_written
from offcamd.cli.progress import progress_bar
from offcamd.cli.text import counted, span

if TYPE_CHECKING:
    from offcam_runs.filmed import Filmed, Shot
    from offcamd.process.atomic_file import Destination
    from offcamd.stories.film import Made, Progress
    from offcamd.stories.scene import Scene

VIDEO = (".mp4",)

FolderArgument = Annotated[
    Path, typer.Argument(help="A run folder, or one that holds a single run.", readable=False, show_default=False)
]
EpisodeOption = Annotated[
    Optional[int],
    typer.Option(
        "--episode", help="An episode that has a video, by its number. Default: see --pick.", show_default=False
    ),
]
EnvOption = Annotated[int, typer.Option("--env-index", min=0, help="The sub-environment of a vector env.")]
StreamOption = Annotated[
    str,
    typer.Option("--stream", help="Only of a stream, by its id in `offcam ls --json`.", show_default=False),
]
FromOption = Annotated[
    Optional[float], typer.Option("--from", help="Where it begins, in seconds of the video.", min=0, show_default=False)
]
ToOption = Annotated[
    Optional[float], typer.Option("--to", help="Where it ends, in seconds of the video.", min=0, show_default=False)
]
StepsOption = Annotated[
    str,
    typer.Option(
        "--steps",
        help="Which steps of the episode, as Python's slices: 10:20 ends with step 19, 0 is the reset.",
        metavar="A:B",
        show_default=False,
    ),
]
SpeedOption = Annotated[float, typer.Option("--speed", help="How much faster than it was recorded.", min=0.01, max=100)]
WidthOption = Annotated[
    Optional[int],
    typer.Option(
        "--width", help="Pixels of its width at most, to which it is made smaller.", min=2, show_default=False
    ),
]
OutputOption = Annotated[Path, typer.Option("-o", "--output", help="The file, .mp4; - is stdout.", show_default=False)]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]
Pick = Literal["best", "median", "worst", "last"]
PickOption = Annotated[Pick, typer.Option("--pick", help="Which of the episodes that have a video.")]


class _Output(NamedTuple):
    """A file that is being made, and what the user is told meanwhile."""

    to: Destination
    file: Path
    progress: Progress | None


def clip(
    folder: FolderArgument,
    output: OutputOption,
    episode: EpisodeOption = None,
    pick: PickOption = "last",
    begin: FromOption = None,
    end: ToOption = None,
    steps: StepsOption = "",
    env_index: EnvOption = 0,
    stream: StreamOption = "",
    speed: SpeedOption = 1.0,
    width: WidthOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    session: SessionOption = "",
) -> None:
    """Make a video of a part of an episode's video, with the very frames of that part.

    Its soft subtitles, which a player shows or not, say step, reward and return where steps were recorded.
    """
    from offcamd.stories.film import joined

    shown = _part(_scene(folder, session, episode, pick, env_index, stream), begin, end, steps)
    with _making(output, VIDEO, force=force, as_json=as_json) as out:
        made = joined([shown], out.file, speed=_exact(speed), width=width or 0, progress=out.progress)
    _say(out.to, made, [shown], as_json=as_json)


def gif(
    folder: FolderArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file, .gif or .webp; - is stdout, as GIF.", show_default=False)
    ],
    episode: EpisodeOption = None,
    pick: PickOption = "last",
    begin: FromOption = None,
    end: ToOption = None,
    steps: StepsOption = "",
    env_index: EnvOption = 0,
    stream: StreamOption = "",
    speed: SpeedOption = 1.0,
    width: Annotated[
        Optional[int],
        typer.Option("--width", help="Pixels of its width. Default: the video's.", min=2, show_default=False),
    ] = None,
    fps: Annotated[
        Optional[float],
        typer.Option(
            "--fps",
            help="Pictures a second at most. Default: the video's, of a GIF 50, as browsers show no more.",
            min=0.1,
            max=1000,
            show_default=False,
        ),
    ] = None,
    overlay: Annotated[
        bool,
        typer.Option("--overlay", help="Write step, reward and return over the pictures, where steps were recorded."),
    ] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
    session: SessionOption = "",
) -> None:
    """Make an animated picture, GIF or WebP, of an episode's video or a part of it."""
    from offcamd.stories.animated import animated
    from offcamd.video.animation import KINDS

    shown = _part(_scene(folder, session, episode, pick, env_index, stream), begin, end, steps)
    rate = None if fps is None else _exact(fps)
    with _making(output, KINDS, force=force, as_json=as_json) as out:
        made = animated(
            shown,
            out.file,
            speed=_exact(speed),
            width=width or 0,
            fps=rate,
            overlay=overlay,
            progress=out.progress,
        )
    _say(out.to, made, [shown], as_json=as_json)


def grid(
    folders: FoldersArgument,
    output: OutputOption,
    episode: Annotated[
        Optional[list[int]],
        typer.Option("--episode", help="These episodes of each run; may be given several times.", show_default=False),
    ] = None,
    pick: PickOption = "last",
    labels: Annotated[bool, typer.Option("--labels/--no-labels", help="Say above each what it is.")] = True,
    speed: SpeedOption = 1.0,
    width: WidthOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    session: SessionOption = "",
) -> None:
    """Show up to nine videos side by side, from their begin: of several runs, or of several episodes.

    A video that is over shows its last picture until the longest one has ended.
    """
    from offcam_runs.discover import labels as names
    from offcam_runs.discover import run_folders
    from offcamd.stories.film import side_by_side

    runs = [folder for given in run_folders(folders) for folder in given]
    filmed = [_filmed(folder, session) for folder in runs]
    chosen = [
        (run, name, shot)
        for run, name in zip(filmed, names(runs), strict=True)
        for shot in ([run.find(each) for each in episode] if episode else [_picked(run, pick)])
    ]
    shown = [_scene_of(run, shot) for run, _, shot in chosen]
    text = [f"{name}: {each.title}" if labels else "" for (_, name, _), each in zip(chosen, shown, strict=True)]
    with _making(output, VIDEO, force=force, as_json=as_json) as out:
        made = side_by_side(shown, text, out.file, speed=_exact(speed), width=width or 0, progress=out.progress)
    _say(out.to, made, shown, as_json=as_json)


def timelapse(
    folder: FolderArgument,
    output: OutputOption,
    parts: Annotated[int, typer.Option("--stages", help="In how many parts the run is divided.", min=1, max=1000)] = 8,
    pick: PickOption = "median",
    speed: SpeedOption = 1.0,
    width: WidthOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    session: SessionOption = "",
) -> None:
    """Watch it learn: one video of each part of a run, one behind the other, each a chapter.

    Its soft subtitles, which a player shows or not, say step, reward and return where steps were recorded.
    """
    from offcamd.stories.film import joined

    filmed = _filmed(_the_run(folder), session)
    found = [stage.picked(pick) for stage in filmed.stages(parts)]
    places = [place for place in found if place is not None]
    if not places:
        raise ConfigError(f"no finished episode of {folder} has a video")
    shown = [_scene_of(filmed, filmed.at(place)) for place in places]
    with _making(output, VIDEO, force=force, as_json=as_json) as out:
        made = joined(shown, out.file, speed=_exact(speed), width=width or 0, progress=out.progress)
    _say(out.to, made, shown, as_json=as_json)


# --- what is shown ----------------------------------------------------------------------------------------


def _the_run(folder: Path) -> Path:
    """The only run at or below a folder."""
    from offcam_runs.discover import run_folders

    ((first, *others),) = run_folders([folder])
    if others:
        raise ConfigError(f"{folder} holds {1 + len(others)} runs, and this shows one: give that, as {first}")
    return first


def _filmed(folder: Path, session: str) -> Filmed:
    from offcam_runs.filmed import read_filmed
    from offcam_runs.sessions import session_of

    return read_filmed(folder, session_of(session))


def _scene(folder: Path, session: str, episode: int | None, pick: Pick, env_index: int, stream: str) -> Scene:
    filmed = _filmed(_the_run(folder), session)
    if episode is None:
        if env_index or stream:
            raise ConfigError("--env-index and --stream say whose episode it is: give its number, --episode, too")
        return _scene_of(filmed, _picked(filmed, pick))
    return _scene_of(filmed, filmed.find(episode, env_index=env_index, stream=stream))


def _scene_of(filmed: Filmed, shot: Shot) -> Scene:
    from offcamd.stories.scene import scene

    return scene(filmed.run, shot)


def _picked(filmed: Filmed, pick: Pick) -> Shot:
    """The episode of a whole run that ``pick`` names."""
    found = [stage.picked(pick) for stage in filmed.stages(1)]
    place = next(iter(found), None)
    if place is None:
        raise ConfigError(f"no finished episode of {filmed.run.folder} has a video: `offcam ls` shows what it has")
    return filmed.at(place)


def _part(shown: Scene, begin: float | None, end: float | None, steps: str) -> Scene:
    if not steps:
        return shown if begin is None and end is None else shown.between(begin, end)
    if begin is not None or end is not None:
        raise ConfigError("--steps and --from, --to say the same in two ways: give one of them")
    first, colon, behind = steps.partition(":")
    if not colon or not all(each.isdecimal() or not each for each in (first, behind)):
        raise ConfigError(f"--steps takes A:B, as 10:20, got {steps!r}")
    return shown.steps(*(int(each) if each else None for each in (first, behind)))


def _exact(value: float) -> Fraction:
    """The number that the user wrote, exactly: 0.1 is a tenth."""
    return Fraction(str(value))


# --- what is written --------------------------------------------------------------------------------------


@contextmanager
def _making(output: Path, endings: Sequence[str], *, force: bool, as_json: bool) -> Iterator[_Output]:
    """Where to write a file that appears whole or not at all.

    Raises:
        ConfigError: the file has another ending, or exists already.
    """
    from offcamd.process.atomic_file import replacing

    to = file_to_write(output, as_json=as_json)
    ending = output.suffix.lower()
    if ending not in endings:
        if to.file is not None:
            raise ConfigError(f"-o must end in {' or '.join(endings)}, which says the format; got {str(output)!r}")
        ending = endings[0]
    if to.exists and not force:
        raise ConfigError(f"{output} is there already: give another name, or --force to replace it")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that no unfinished file is left
    with progress_bar("Making") as progress, replacing(output, ending) as file:
        yield _Output(to, file, progress)


def _say(to: Destination, made: Made, shown: Sequence[Scene], *, as_json: bool) -> None:
    told = shown[0].title if len(shown) == 1 else counted(len(shown), "video")
    say_written(
        to,
        f"{span(made.seconds)}, {made.width}x{made.height}, of {told}",
        {
            "file": str(to.path),
            "frames": made.frames,
            "width": made.width,
            "height": made.height,
            "fps": float(made.fps),
            "seconds": made.seconds,
            "shown": [
                {"run": each.run, "episode": each.episode.episode, "env_index": each.episode.env_index}
                for each in shown
            ],
        },
        as_json=as_json,
    )
