"""Finishing what a dead daemon left in a run folder: its streams, its videos, and its index's account of them."""

from __future__ import annotations

import logging
import re
import uuid
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from offcam_proto.errors import EncodeError, NotARunFolder, ProtocolError
from offcam_proto.messages import OpenClip, OpenStream
from offcam_runs import format as fmt
from offcam_runs.discover import is_run
from offcam_runs.encoded_result import EncodedResult
from offcam_runs.folder_lock import FolderLock
from offcam_runs.journal_reader import journals
from offcamd.store.index import RunIndex, StreamOwner
from offcamd.store.journals import NOTHING_TAKEN_IN, TakenIn, take_in
from offcamd.video.files import count_fragments, cut_tail, is_fragmented, publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from offcamd.video.probe import VideoInfo

log = logging.getLogger(__name__)

REMUX_BYTES = 32 << 20
"""A daemon that recovers a folder while its clients wait makes plain MP4s only of files up to this size."""

_COPY_NAME = "offcam.recovering"  # of its own, as the video's name may be as long as a name can be
_UNFINISHED = fmt.VIDEO_EXTENSION + fmt.PART_EXTENSION
_NAME = re.compile(r"(?P<name>.+?)(?:-s\d+)?(?:-part(?P<part>\d+))?", re.DOTALL)
_EPISODE = re.compile(r"-episode-(\d+)\Z")
_ANY_FPS = 30.0  # of a video that could not be looked into
_DIED = "the daemon died while recording it"


class _NotLookedAt(EncodeError):
    """A file that was finished, and cannot be read here, as the library that reads videos does not work."""


@dataclass(frozen=True, slots=True)
class RecoveredClip:
    """What became of one clip.

    Attributes:
        file: its file's name, or the one it would have had.
        state: ``recovered``, or ``aborted`` where nothing of it could be used.
        frames: in the file.
        loss: what is known to be missing, for people; empty where nothing is.
        lost: frames that its client sent and that are in no file, as far as is known.
    """

    file: str
    state: str
    frames: int
    loss: str
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Recovery:
    """What `recover_folder` found and did.

    Attributes:
        clips: that were unfinished.
        taken_in: what clients had left in their journals.
    """

    clips: list[RecoveredClip]
    taken_in: TakenIn = NOTHING_TAKEN_IN

    @property
    def outcome(self) -> str:
        """``nothing`` (to recover), ``lossless``, or ``lossy`` where it is known that something is missing."""
        if self.taken_in.missing or self.taken_in.problems or any(clip.loss for clip in self.clips):
            return "lossy"
        return "lossless" if self.clips or self.taken_in.journals else "nothing"

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "outcome": self.outcome,
            "clips": [asdict(clip) for clip in self.clips],
            "taken_in": self.taken_in._asdict(),
        }


def recover_folder(folder: Path, progress: Callable[[int, int], None] | None = None) -> Recovery:
    """Recover a run folder that no daemon is writing. Doing it again finds nothing to do.

    What clients left in their journals is taken in; of one that still has its journal, it is left to it. Unfinished
    videos that no index knows are entered into one, which is made where there is none.

    ``progress`` is called with the clips done and the clips there are.

    Raises:
        DaemonAlreadyRunning: a daemon is writing it: what is unfinished there is no leftover.
        NotARunFolder: there is no such folder.
        RunFolderError: the folder cannot be written, or its index is damaged or newer than this offcam.
    """
    if not folder.is_dir() and not journals(folder):
        raise NotARunFolder(f"{folder} is no folder: check the path")
    folder = folder.absolute()
    if not is_run(folder) and not any(_strays(folder)):
        return Recovery([])  # and nothing is made in a folder that is none of ours
    lock = FolderLock.acquire(folder, "offcam recover")
    try:
        with closing(RunIndex.open(folder)) as index:
            taken_in = reduce(TakenIn.merged, take_in(index, journals(folder)))  # first: they have accounts of clips
            return Recovery(recover(index, thorough=True, progress=progress), taken_in)
    finally:
        lock.release()


def recover(
    index: RunIndex, *, thorough: bool = False, progress: Callable[[int, int], None] | None = None
) -> list[RecoveredClip]:
    """Recover a folder through its open index, as its only writer.

    Args:
        index: its index.
        thorough: decode every frame, and make a plain MP4 of a video of any size. Otherwise it is quick, as clients
            are waiting.
        progress: called with the clips done and the clips there are.
    """
    for stream in index.live_streams():
        index.close_stream(stream, lost=True)
    with suppress(OSError):
        (index.folder / _COPY_NAME).unlink()  # of a recovery that died
    _adopt(index, [part for part in _strays(index.folder) if not index.knows_file(part.name)])
    clips = index.open_clips()
    done: list[RecoveredClip] = []
    for clip in clips:
        if progress is not None:
            progress(len(done), len(clips))
        result, loss = _rescue(index.folder / clip.file, clip.started, thorough=thorough)
        count = index.clip_encoded(clip.stream, clip.clip, result)
        if missing := count.dropped.get(fmt.LOST_DROP, 0):
            loss = f"{missing} frames that the client sent are in no file"
        done.append(RecoveredClip(result.file or clip.file, result.state, result.encoded, loss, missing))
    if progress is not None:
        progress(len(done), len(done))
    for rescued in done:
        log.warning("%s of %s: %s, %d frames", rescued.file, index.folder, rescued.state, rescued.frames)
    return done


# --- one file ---------------------------------------------------------------------------------------------


def _rescue(final: Path, started: float, *, thorough: bool) -> tuple[EncodedResult, str]:
    """Recover a clip: from its part, or from its file where the daemon died between naming it and saying so.

    Returns:
        What it is now, and what is known to be lost.
    """
    part = final.with_name(final.name + fmt.PART_EXTENSION)
    try:
        part.with_name(part.name + fmt.PLAIN_EXTENSION).unlink(missing_ok=True)  # a copy of the part, perhaps half made
        if part.exists():
            return _rescue_part(part, final, thorough=thorough)
        if final.exists() and final.stat().st_mtime >= started:
            return _result(final, _look(final, thorough=thorough)), ""
    except _NotLookedAt as error:  # it was finished, so it may well be whole
        kept = part if part.exists() else final
        return EncodedResult(fmt.ABORTED, kept.name, 0, error=f"the daemon died; {error}"), str(error)
    except (EncodeError, OSError) as error:
        log.error("%s cannot be recovered: %s", part, error)  # noqa: TRY400 - the reason says it all
        why = f"the daemon died, and its file is no use: {error}"
        return EncodedResult(fmt.ABORTED, None, 0, error=why), str(error)
    return _nothing("the daemon died before the first frame was written")


def _rescue_part(part: Path, final: Path, *, thorough: bool) -> tuple[EncodedResult, str]:
    cut = cut_tail(part)
    info = _look(part, thorough=thorough)
    if info.frames == 0:
        if not is_fragmented(part):  # no picture was begun: it is litter
            part.unlink()
        return _nothing("the daemon died before a whole frame was written")
    loss = f"the last frame was half written ({cut} bytes)" if cut else (info.error or "")
    if thorough or part.stat().st_size <= REMUX_BYTES:
        _make_plain(part)
    if final.exists():  # of an earlier recording, and whole, which this one is not
        return _result(part, info), loss
    publish(part, final)
    return _result(final, info), loss


def _make_plain(part: Path) -> None:
    """Make a plain MP4 of a fragmented one; where that fails it stays what it is, and plays."""
    copy = part.with_name(_COPY_NAME)
    try:
        from offcamd.video.probe import survey  # noqa: PLC0415 - loads the video library
        from offcamd.video.remux import remux  # noqa: PLC0415 - as above

        remux(part, copy)
        if survey(copy).frames == survey(part).frames:
            publish(copy, part)
    except EncodeError as error:
        log.warning("%s stays fragmented: %s", part, error)
    except Exception:  # of a library that does not work
        log.exception("%s stays fragmented", part)
    finally:
        with suppress(FileNotFoundError):
            copy.unlink()


def _look(path: Path, *, thorough: bool) -> VideoInfo:
    """What is in a file; where the library that reads videos does not work, what its boxes tell."""
    from offcamd.video.av_errors import libraries  # noqa: PLC0415 - as above
    from offcamd.video.probe import VideoInfo, probe, survey  # noqa: PLC0415 - as above

    try:
        return probe(path) if thorough else survey(path)
    except EncodeError:
        raise
    except Exception as error:
        log.exception("%s could not be looked into", path)
        problem = f"its frames could not be looked at, as {libraries()} failed: {error!r}; see `offcam doctor`"
        if not is_fragmented(path):
            raise _NotLookedAt(problem) from error
        return VideoInfo(frames=count_fragments(path), error=problem)


def _result(path: Path, info: VideoInfo) -> EncodedResult:
    return EncodedResult(
        fmt.RECOVERED, path.name, info.frames, width=info.width or None, height=info.height or None,
        file_bytes=path.stat().st_size, duration=info.duration_seconds, error=_DIED,
    )  # fmt: skip


def _nothing(why: str) -> tuple[EncodedResult, str]:
    return EncodedResult(fmt.ABORTED, None, 0, error=why), why


# --- videos that no index knows ---------------------------------------------------------------------------


def _strays(folder: Path) -> Iterator[Path]:
    """Unfinished videos of ours in a folder. A browser's downloads end in ``.part`` too, and are left alone."""
    for path in sorted(folder.iterdir()):
        with suppress(EncodeError):
            ours = path.name.endswith(_UNFINISHED) and not path.is_symlink() and path.is_file()
            if ours and is_fragmented(path):
                yield path


def _adopt(index: RunIndex, parts: list[Path]) -> None:
    """Enter unfinished videos that the index does not know as clips of a stream of their own, to be recovered."""
    openings = {part: opening for number, part in enumerate(parts) if (opening := _opening(number, part))}
    if not openings:
        return
    stream = OpenStream(
        handle=0, stream=uuid.uuid4().bytes, folder="/", prefix="", suffix=0, video=True, env_id="", num_envs=1,
        vector=False, started=next(iter(openings.values())).started, resumes=True,  # the last session's, most likely
    )  # fmt: skip
    with index.transaction():
        index.open_stream(stream, StreamOwner(host="", pid=0, client="unknown: found by recovery"))
        for part, opening in openings.items():
            index.clip_opened(stream.stream, opening, part.name.removesuffix(fmt.PART_EXTENSION))
        index.close_stream(stream.stream, lost=True)


def _opening(number: int, path: Path) -> OpenClip | None:
    """What its client may have opened a clip with, by its file; None where it is no video of any client."""
    info = _look(path, thorough=False)
    if not info.frames:
        return None
    match = _NAME.fullmatch(path.name.removesuffix(_UNFINISHED))
    name, part = (match["name"], match["part"]) if match else ("", None)
    episode = _EPISODE.search(name)
    try:
        return OpenClip(
            handle=0, clip=number, name=name, part=max(int(part or 1), 1),
            fps=float(info.fps) or _ANY_FPS, rows=1, cols=1, episode=int(episode[1]) if episode else 0, step=0,
            started=path.stat().st_mtime, frame_bytes=0,
        )  # fmt: skip
    except ProtocolError as error:
        log.warning("%s is not entered into the index: %s", path, error)
        return None
