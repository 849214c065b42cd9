"""Checks that a run folder holds what its index says: decodes every video, and accounts for every frame."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from offcam_proto import errors
from offcam_proto.limits import MAX_PATH_BYTES
from offcam_proto.validation import file_name
from offcam_runs import format as fmt
from offcam_runs.accounts import FrameCount
from offcam_runs.folder_lock import FolderWriter, writer_of
from offcam_runs.run import Run, read_run
from offcamd.video.av_errors import libraries
from offcamd.video.files import is_fragmented
from offcamd.video.probe import VideoInfo
from offcamd.video.probe import probe as probe_file

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from pathlib import Path

    from offcam_runs.clips import Clip


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a file that is wrong, or worth knowing.

    Attributes:
        file: its name within the folder, or the clip's name if there is no file.
        kind: a word from a closed set. Problems: ``missing_file``, ``bad_name``, ``unreadable``,
            ``frame_count``, ``accounting``, ``timestamps``, ``format``, ``size``, ``leftover_part``,
            ``unfinished``, ``quarantine``, ``index``, ``unchecked``. Notes: ``recording``,
            ``evicted``, ``unknown_file``.
        text: what it is, with numbers, and what to do if something can be done.
    """

    file: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found.

    Attributes:
        clips_checked: how many clips' videos were decoded.
        frames_checked: how many frames were decoded.
        problems: what is wrong; empty if the folder is sound. If there are clips and none could be checked, each has at
            least one, such as ``unchecked``.
        notes: what is not wrong but worth knowing.
    """

    clips_checked: int = 0
    frames_checked: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """The verification as a dict, ready for JSON."""
        return {"ok": self.ok, **asdict(self)}


def verify(
    folder: Path, progress: Callable[[int, int], None] | None = None, probe: Callable[[Path], VideoInfo] = probe_file
) -> Verification:
    """Check a run folder. Nothing in it is changed; a daemon may be writing it.

    Args:
        folder: the run folder.
        progress: called with how many clips are done and how many there are, first with 0 done.
        probe: decodes one video and says what is in it.

    Raises:
        NotARunFolder: there is no index in the folder.
        RunFormatTooNew: a newer offcam wrote the index.
        RunFolderError: the index cannot be read, or is damaged and there is nothing else to check.
    """
    present = _video_names(folder)  # before the index is read, which then has all of them
    writer = writer_of(folder)
    try:
        run = read_run(folder, "all")
    except (errors.FolderNotWritable, errors.RunFormatTooNew):
        raise
    except errors.RunFolderError as error:
        foreign = isinstance(error, errors.NotARunFolder)
        lost = [name for name in present if not foreign or _is_part_of_ours(folder / name)]
        if not lost:
            raise
        return Verification(problems=[Problem(fmt.INDEX_NAME, "index", f"{error}"), *_without_index(folder, lost)])
    writer = writer or writer_of(folder)  # asked before and after, as a daemon may have come or gone meanwhile
    problems, notes = list(_accounts(run)), list[Problem]()
    (notes if writer else problems).extend(_unfinished(run, writer))
    videos = [clip for clip in run.clips if clip.file is not None and clip.state != fmt.RECORDING]
    evicted = {str(clip.file): url for clip in videos if (url := clip.evicted)}
    elsewhere = [clip for clip in videos if not clip.can_be_had]
    videos = [clip for clip in videos if clip.can_be_had and clip.file not in evicted]
    clips = frames = 0
    for done, clip in enumerate(videos):
        if progress is not None:
            progress(done, len(videos))
        name = str(clip.file)
        clip.fetch()
        found = _missing(folder, name)
        if found is None:
            try:
                info = probe(folder / name)
            except Exception as error:
                log.exception("%s could not be decoded", name)
                text = f"could not be decoded, as {libraries()} failed: {error!r}; see `offcam doctor`"
                problems.append(Problem(name, "unreadable", text))
                continue
            clips, frames = clips + 1, frames + info.frames
            problems += (Problem(name, kind, text) for kind, text in _video_problems(clip, info))
        else:
            problems.append(found)
    if progress is not None:
        progress(len(videos), len(videos))
    problems += _leftovers(folder, run, present)
    notes += _evicted(evicted)
    if not clips:
        known = evicted.keys() | {problem.file for problem in problems} | {str(clip.file) for clip in elsewhere}
        problems += _unchecked(run, known, writer)
    notes += _unknown(run, present)
    notes += (Problem(str(clip.file), "elsewhere", f"is at {clip.place}: verify it there") for clip in elsewhere)
    return Verification(clips_checked=clips, frames_checked=frames, problems=problems, notes=notes)


def _accounts(run: Run) -> Iterator[Problem]:
    """The problems that the index alone shows."""
    for clip in run.clips:
        count = FrameCount(offered=clip.offered, received=clip.received, encoded=clip.frames, dropped=clip.dropped)
        if clip.state != fmt.RECORDING and not count.balanced:
            text = f"{clip.offered} frames were offered, but {clip.frames} encoded and {clip.dropped} dropped"
            yield Problem(clip.file or clip.name, "accounting", text)
    if run.quarantined:
        text = f"{run.quarantined} records could not be understood; they are in the table quarantine"
        yield Problem(fmt.INDEX_NAME, "quarantine", text)


def _unfinished(run: Run, writer: FolderWriter | None) -> Iterator[Problem]:
    for clip in run.clips:
        if clip.state == fmt.RECORDING:
            name = clip.file or clip.name
            if writer:
                yield Problem(name, "recording", f"is being recorded (by {writer})")
            else:
                text = f"was being recorded when its daemon died: run `offcam recover {run.folder}`"
                yield Problem(name, "unfinished", text)


def _missing(folder: Path, name: str) -> Problem | None:
    try:
        file_name("file", name, MAX_PATH_BYTES)
    except errors.ProtocolError as error:  # an index that somebody else made may name any path
        return Problem(name, "bad_name", f"the index names a file outside the folder: {error}")
    if not (folder / name).is_file():
        return Problem(name, "missing_file", "is in the index but not in the folder")
    return None


def _evicted(urls: dict[str, str]) -> Iterator[Problem]:
    """A note for each place: its videos are not fetched to be checked, as the disk is to have none of them."""
    for url in sorted(set(urls.values())):
        first, *others = (file for file, place in urls.items() if place == url)
        which = f"and {len(others):,} more are" if others else "is"
        yield Problem(first, "evicted", f"{which} evicted, and in {url}: `offcam verify {url}` checks what is there")


def _video_problems(clip: Clip, info: VideoInfo) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each problem of a clip's video."""
    if info.error is not None:
        yield "unreadable", f"decoded up to frame {info.frames} of {clip.frames}: {info.error}"
    elif info.frames != clip.frames:
        yield "frame_count", f"holds {info.frames} frames, the index says {clip.frames}"
    if not info.frames:
        return
    if not info.strictly_increasing:
        yield "timestamps", "has frames that are not shown later than the one before"
    if (info.codec, info.pix_fmt) != ("h264", "yuv420p"):
        yield "format", f"is {info.codec} in {info.pix_fmt}; browsers play h264 in yuv420p"
    if clip.width is not None and (info.width, info.height) != (clip.width, clip.height):
        yield "size", f"is {info.width}x{info.height}, the index says {clip.width}x{clip.height}"


def _leftovers(folder: Path, run: Run, present: list[str]) -> Iterator[Problem]:
    unfinished = {f"{clip.file}{fmt.PART_EXTENSION}" for clip in run.clips if clip.state == fmt.RECORDING}
    known = unfinished | {clip.file for clip in run.clips}
    for name in present:
        leftover = name.endswith(fmt.PART_EXTENSION) and name not in known
        if leftover and (folder / name).exists():  # it exists still: a daemon may have finished it just now
            text = f"is an unfinished video that the index does not know: run `offcam recover {run.folder}`"
            yield Problem(name, "leftover_part", text)


def _unchecked(run: Run, known: set[str], writer: FolderWriter | None) -> Iterator[Problem]:
    """Why no video of the run's clips could be checked: to report that all is well would mislead."""
    for clip in run.clips:
        name = clip.file or clip.name
        if name in known:
            continue
        if clip.state == fmt.RECORDING:
            text = f"was not checked, as it is being recorded (by {writer}): verify it once that has ended"
        else:
            lost = ", ".join(f"{count} {reason}" for reason, count in clip.dropped.items()) or "none was offered"
            text = f"was not checked, as it has no video: {clip.error or f'frames dropped: {lost}'}"
        yield Problem(name, "unchecked", text)


def _is_part_of_ours(path: Path) -> bool:
    with suppress(errors.EncodeError):
        return path.name.endswith(fmt.PART_EXTENSION) and is_fragmented(path)
    return False


def _without_index(folder: Path, names: list[str]) -> Iterator[Problem]:
    """A problem for each video of a folder whose index cannot be read, as nothing says what they should hold."""
    for name in names:
        if name.endswith(fmt.PART_EXTENSION):
            yield Problem(name, "leftover_part", f"is an unfinished video: run `offcam recover {folder}`")
        else:
            yield Problem(name, "unchecked", "was not checked, as the index cannot be read")


def _unknown(run: Run, present: list[str]) -> Iterator[Problem]:
    known = {clip.file for clip in run.clips}
    for name in present:
        if name.endswith(fmt.VIDEO_EXTENSION) and name not in known:
            yield Problem(name, "unknown_file", "is not in the index: offcam did not record it")


def _video_names(folder: Path) -> list[str]:
    """Names of the videos, finished or not, that are in a folder."""
    extensions = (fmt.VIDEO_EXTENSION, fmt.UNFINISHED)
    return sorted(path.name for path in folder.glob("*") if path.name.endswith(extensions))
