"""Making what can be made of one unfinished video, whose daemon died."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError
from offcam_runs import format as fmt
from offcam_runs.accounts import EncodedResult
from offcamd.video.files import count_fragments, cut_tail, is_fragmented, publish

if TYPE_CHECKING:
    from pathlib import Path

    from offcamd.store.entries import OpenedClip
    from offcamd.store.index import RunIndex
    from offcamd.video.probe import VideoInfo

log = logging.getLogger(__name__)

REMUX_BYTES = 32 << 20
"""A daemon that recovers a folder while clients wait makes plain MP4s only of files up to this size, in bytes."""

COPY_NAME = "offcam.recovering"
"""Name of a copy being made. It is fixed, as the video's own name may have the greatest possible length."""

_DIED = "the daemon died while recording it"


class _NotLookedAt(EncodeError):
    """A finished file that cannot be read here, as the library that reads videos does not work."""


@dataclass(frozen=True, slots=True)
class RecoveredClip:
    """What became of one clip.

    Attributes:
        file: its file's name, or the name that it would have.
        state: ``recovered``, or ``aborted`` if nothing of it could be used.
        frames: how many are in the file.
        loss: what is known to be missing, for people; empty if nothing is.
        lost: how many frames its client sent that are in no file, as far as is known.
    """

    file: str
    state: str
    frames: int
    loss: str
    lost: int = 0


def finish(index: RunIndex, clip: OpenedClip, *, thorough: bool = False) -> RecoveredClip:
    """Make what can be made of an unfinished clip; see `offcamd.store.recovery.recover`."""
    result, loss = _rescue(index.folder / clip.file, clip.started, thorough=thorough)
    count = index.clip_encoded(clip.stream, clip.clip, result)
    if missing := count.dropped.get(fmt.LOST_DROP, 0):
        loss = f"{missing} frames that the client sent are in no file"
    rescued = RecoveredClip(
        file=result.file or clip.file, state=result.state, frames=result.encoded, loss=loss, lost=missing
    )
    log.warning("%s of %s: %s, %d frames", rescued.file, index.folder, rescued.state, rescued.frames)
    return rescued


def _rescue(final: Path, started: float, *, thorough: bool) -> tuple[EncodedResult, str]:
    """Recover a clip from its part, or from its final file if the daemon died before it noted that.

    Returns:
        How the clip ended, and what is known to be lost.
    """
    part = final.with_name(final.name + fmt.PART_EXTENSION)
    try:
        part.with_name(part.name + fmt.PLAIN_EXTENSION).unlink(missing_ok=True)  # a copy of the part, perhaps half made
        if part.exists():
            return _rescue_part(part, final, thorough=thorough)
        if final.exists() and final.stat().st_mtime >= started:
            return _result(final, look(final, thorough=thorough)), ""
    except _NotLookedAt as error:  # the file was finished, so it may well be whole
        kept = part if part.exists() else final
        return EncodedResult(fmt.ABORTED, kept.name, 0, error=f"the daemon died; {error}"), str(error)
    except (EncodeError, OSError) as error:
        log.error("%s cannot be recovered: %s", part, error)  # noqa: TRY400 - the reason says it all
        why = f"the daemon died, and its file is no use: {error}"
        return EncodedResult(fmt.ABORTED, None, 0, error=why), str(error)
    return _nothing("the daemon died before the first frame was written")


def _rescue_part(part: Path, final: Path, *, thorough: bool) -> tuple[EncodedResult, str]:
    cut = cut_tail(part)
    info = look(part, thorough=thorough)
    if info.frames == 0:
        if not is_fragmented(part):  # it has no frame: it is litter
            part.unlink()
        return _nothing("the daemon died before a whole frame was written")
    loss = f"the last frame was half written ({cut} bytes)" if cut else (info.error or "")
    if thorough or part.stat().st_size <= REMUX_BYTES:
        _make_plain(part)
    if final.exists():  # that one is whole and of an earlier recording, and this one is not whole
        return _result(part, info), loss
    publish(part, final)
    return _result(final, info), loss


def _make_plain(part: Path) -> None:
    """Make a plain MP4 of a fragmented one; if that fails the fragmented one stays, which plays, too."""
    copy = part.with_name(COPY_NAME)
    try:
        from offcamd.video.probe import survey  # noqa: PLC0415 - loads the video library
        from offcamd.video.remux import remux  # noqa: PLC0415 - as above

        remux(part, copy)
        if survey(copy).frames == survey(part).frames:
            publish(copy, part)
    except EncodeError as error:
        log.warning("%s stays a fragmented MP4, which plays but is larger: %s", part, error)
    except Exception:  # the video library does not work
        log.exception("%s stays a fragmented MP4, which plays but is larger", part)
    finally:
        with suppress(FileNotFoundError):
            copy.unlink()


def look(path: Path, *, thorough: bool) -> VideoInfo:
    """What is in a file; if the library that reads videos does not work, what its boxes tell."""
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
        fmt.RECOVERED,
        path.name,
        info.frames,
        width=info.width or None,
        height=info.height or None,
        file_bytes=path.stat().st_size,
        duration=info.duration_seconds,
        error=_DIED,
    )


def _nothing(why: str) -> tuple[EncodedResult, str]:
    return EncodedResult(fmt.ABORTED, None, 0, error=why), why
