"""Videos and steps of runs as a LeRobot dataset: https://huggingface.co/docs/lerobot/lerobot-dataset-v3.

Each video becomes one of the dataset's, byte for byte; an episode of the dataset is a part of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offcam_proto.errors import ConfigError, EncodeError
from offcam_runs.discover import labels
from offcam_runs.run import read_run
from offcamd.reports.lerobot.files import INFO, Files, Video
from offcamd.reports.lerobot.parts import Kind, filled, is_action, kinds, parts, unfit, unfit_parts, unfit_rows
from offcamd.reports.lerobot.statistics import Numbers, numbers_of, numbers_of_pictures
from offcamd.video.probe import VideoInfo, frames_shown, pictures, survey

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offcam_runs.clips import Clip
    from offcam_runs.sessions import Session
    from offcamd.reports.lerobot.parts import EpisodePart

_MOST_PICTURES = 100  # most pictures of an episode that the statistics for normalising are computed from
_MOST_SIDE = 150  # longest side of these, in pixels


class LeftOut(NamedTuple):
    """A video that is not in the dataset.

    Attributes:
        file: name of the run and name of the file.
        reason: why it is left out, for people.
    """

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class ExportedDataset:
    """What `export_dataset` wrote.

    Attributes:
        episodes: how many the dataset has.
        frames: how many rows it has.
        videos: how many files of videos it has.
        left_out: the videos that are not in it.
    """

    episodes: int
    frames: int
    videos: int
    left_out: tuple[LeftOut, ...]


class _Fit(NamedTuple):
    """A clip that fits into the dataset."""

    clip: Clip
    path: Path
    file: str
    env_id: str
    video: VideoInfo
    features: dict[str, Kind]


def export_dataset(
    folders: Sequence[Path],
    output: Path,
    *,
    session: Session = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ExportedDataset:
    """Write a dataset into a folder, which appears whole or not at all.

    A row is a step: the picture before it, its action, its results, and the agent's own numbers. The task of an episode
    is its env's id. All videos must have the same size, rate and action; those that differ from the first are left out,
    and so are videos of which a frame or a row is missing.

    Args:
        folders: the run folders.
        output: the folder to be made.
        session: which session of each run; by default the newest.
        force: replace a dataset that is there.
        progress: called with how many videos are done, and how many there are.

    Raises:
        ConfigError: the folder has something else in it, cannot be written, or no video fits; the message says why.
        EncodeError: a video cannot be decoded.
        RunFolderError: as `offcam_runs.run.read_run`.
    """
    output = output.absolute()  # so that it has a name, which `.` has not
    _check_free(output, force=force)
    fit, left_out = _judged(folders, session)
    if not fit:
        raise ConfigError(_nothing(folders, left_out))
    features = {name: kind for each in reversed(fit) for name, kind in each.features.items()}
    ordered = {name: features[name] for name in sorted(features, key=lambda name: not is_action(name))}
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        files = Files(part, int(fit[0].clip.fps), _picture(fit[0].video), ordered)
        for number, each in enumerate(fit):
            if progress is not None:
                progress(number, len(fit))
            _add(files, each, ordered)
        files.close()
        _put(part, output)
    except OSError as error:
        why = error.strerror or error
        raise ConfigError(f"the dataset cannot be written to {output} ({why}): choose another -o") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return ExportedDataset(files.episodes, files.rows, len(fit), tuple(left_out))


def _check_free(output: Path, *, force: bool) -> None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / INFO).is_file():
        raise ConfigError(f"{output} is there already and is no LeRobot dataset: choose another -o")
    if not force:
        raise ConfigError(f"{output} is there already: replace it with --force, or choose another -o")


def _put(part: Path, output: Path) -> None:
    """Move a folder to its place; until then what was there stays."""
    if not output.exists():
        part.rename(output)
        return
    old = part.with_suffix(".old")
    output.rename(old)
    try:
        part.rename(output)
    finally:
        if not output.exists():
            old.rename(output)
    shutil.rmtree(old, ignore_errors=True)


def _nothing(folders: Sequence[Path], left_out: Sequence[LeftOut]) -> str:
    where = ", ".join(map(str, folders))
    if not left_out:
        return f"no videos in {where}: there is nothing to export"
    more = f", and {len(left_out) - 1:,} others" if len(left_out) > 1 else ""
    return f"no video of {where} is fit for a dataset: {left_out[0].file}: {left_out[0].reason}{more}"


def _judged(folders: Sequence[Path], session: Session) -> tuple[list[_Fit], list[LeftOut]]:
    """The clips that fit, and the others; all must be like the first one."""
    fit: list[_Fit] = []
    left_out: list[LeftOut] = []
    for label, folder in zip(labels(folders), folders, strict=True):
        run = read_run(folder, session)
        for clip in run.clips:
            name = f"{label}/{clip.file or clip.name}"
            found = _look(clip, name, run.streams[clip.stream].env_id)
            if isinstance(found, _Fit) and fit:
                found = _unlike(found, fit[0]) or found
            if isinstance(found, _Fit):
                fit.append(found)
            else:
                left_out.append(LeftOut(name, found))
    return fit, left_out


def _look(clip: Clip, name: str, env_id: str) -> _Fit | str:
    """A clip that fits, or why it does not."""
    if (why := unfit(clip)) or clip.path is None:
        return why or "it has no pictures"
    path = Path(clip.path)
    try:
        path = Path(clip.fetch() or clip.path)
        with path.open("rb") as file:
            frames = frames_shown(file, name, clip.fps)
    except (OSError, EncodeError) as error:
        return f"it cannot be read ({error})"
    steps = clip.steps()
    if steps is None or (why := unfit_rows(steps, frames)):
        return why or "its steps are gone"
    video = survey(path)
    if video.error:
        return video.error
    if why := unfit_parts(list(parts(steps)), clip.fps):
        return why
    return _Fit(clip=clip, path=path, file=name, env_id=env_id, video=video, features=kinds(steps))


def _unlike(one: _Fit, first: _Fit) -> str | None:
    """How a clip differs from the first one so that one dataset cannot have both; None if it does not."""
    sizes = [f"{each.video.width}x{each.video.height} pixels" for each in (one, first)]
    rates = [f"{each.clip.fps:g} frames a second" for each in (one, first)]
    said = [_actions(each.features) for each in (one, first)]
    for its, others in (sizes, rates, said):
        if its != others:
            return f"it has {its}, and {first.file} {others}: export them apart"
    return None


def _actions(features: Mapping[str, Kind]) -> str:
    said = [f"{name} ({kind.size} of {kind.dtype})" for name, kind in features.items() if is_action(name)]
    return ", ".join(said) or "no action"


def _picture(video: VideoInfo) -> Video:
    return Video(video.width, video.height, video.codec, video.pix_fmt)


def _add(files: Files, fit: _Fit, features: Mapping[str, Kind]) -> None:
    """Write a clip's video and its episodes into the dataset."""
    steps = fit.clip.steps()
    if steps is None:
        raise ConfigError(f"the steps of {fit.file} are gone, which were there a moment ago: export again")
    files.add_video(fit.path)
    found = list(parts(steps))
    for part, shown in zip(found, _samples(fit, found), strict=True):
        columns = filled(part, features)
        numbers: dict[str, Numbers] = {name: numbers_of(column) for name, column in columns.items()}
        files.add_episode(fit.env_id, part.frame, columns, numbers, numbers_of_pictures(shown))


def _samples(fit: _Fit, found: Sequence[EpisodePart]) -> Iterator[NDArray[np.uint8]]:
    """Some pictures of each part, scaled down, (n, height, width, 3); the file is decoded once."""
    every = -(-max(fit.video.width, fit.video.height) // _MOST_SIDE)
    decoded = pictures(fit.path, Fraction(int(fit.clip.fps)))
    try:
        for part in found:
            steps = np.linspace(part.frame, part.frame + part.rows - 1, min(part.rows, _MOST_PICTURES))
            wanted = set(steps.astype(int).tolist())
            taken: list[NDArray[np.uint8]] = []
            while len(taken) < len(wanted):
                picture = next(decoded, None)
                if picture is None:
                    raise EncodeError(f"{fit.file} has fewer pictures than its index: see `offcam verify`")
                if picture.at in wanted:
                    taken.append(picture.rgb[::every, ::every])
            yield np.stack(taken)
    finally:
        decoded.close()
