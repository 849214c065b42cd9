"""One video's file, whichever encoder fills it: its frames are counted, and it is finished, published or given up."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError, FrameError
from offcam_runs.accounts import EncodedResult
from offcam_runs.format import ABORTED, FINAL, PLAIN_EXTENSION
from offcamd.process.health import ENCODER, Health
from offcamd.video.files import count_fragments, is_fragmented, publish, salvage, supersede
from offcamd.video.h264 import DEFAULT_CRF, DEFAULT_PRESET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction
    from pathlib import Path

    from offcamd.video.writer import VideoFile

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipSpec:
    """One video to be made.

    Attributes:
        part, final: its path while it is written, and once it is complete; both in one folder.
        rows, cols: tiles in each picture.
        max_width, max_height: largest size in pixels; 0 for any.
        judged: whether a rule decides if the complete video stays. Until then it keeps the name ``part``.
        ring_frames: if not 0, it is no video but a ring that holds so many frames of time.
        urgent: whether encoding does not give way to other programs from its beginning on, until it is final.
    """

    part: Path
    final: Path
    fps: Fraction
    rows: int = 1
    cols: int = 1
    preset: str = DEFAULT_PRESET
    crf: int = DEFAULT_CRF
    max_width: int = 0
    max_height: int = 0
    judged: bool = False
    ring_frames: int = 0
    urgent: bool = False


class ClipFile:
    """The file of one clip. Use it from one thread at a time.

    No public method raises: the first error is kept for the result, and frames after it are counted as dropped.

    Args:
        spec: the video to make.
        health: is told of unexpected errors.

    Attributes:
        error: what went wrong first, or None.
        not_plain: why the complete file could not be made a plain MP4, or None.
    """

    def __init__(self, spec: ClipSpec, health: Health | None = None) -> None:
        self.spec = spec
        self.error: EncodeError | None = None
        self.not_plain: EncodeError | None = None
        self._health = health or Health()
        self._writer: VideoFile | None = None
        self._created = False
        self._encoded = 0
        self._dropped: Counter[str] = Counter()
        self._last_index = -1
        self._salvaged_seconds: float | None = None

    def _size(self) -> tuple[int, int] | None:
        """Width and height of its pictures in pixels; None where there is none."""
        raise NotImplementedError

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Make an EncodeError of an unexpected error, be it a bug or a video library that works differently."""
        try:
            yield
        except (EncodeError, FrameError):
            raise
        except BaseException as error:  # not even a SystemExit may end the thread: other clips need it
            raise self._unexpected(doing, error) from error

    def _unexpected(self, doing: str, error: BaseException) -> EncodeError:
        about = f"{doing} {self.spec.final}"
        if isinstance(error, MemoryError):
            return EncodeError(f"no memory is left for {about}: record smaller frames, or fewer videos at a time")
        self._health.unexpected(ENCODER, about, error)
        return EncodeError(
            f"unexpected {error!r} while {about}: the video library or offcam is at fault, `offcam doctor` tries it"
        )

    def drop(self, count: int, reason: str | None = None) -> None:
        """Count frames that are not encoded. The reason is by default that of the error before."""
        if reason is None:
            reason = "encoder" if self.error is None else self.error.reason
        if count:
            self._dropped[reason] += count

    def fail(self, error: EncodeError, *, lost: int = 0) -> None:
        """Give up on the clip, keep what can be saved from its file and count the rest as dropped.

        ``lost`` is how many frames were counted neither as encoded nor as dropped so far.
        """
        log.error("%s was not recorded to its end: %s", self.spec.final, error)
        self.error = self.error or error
        self.drop(lost, error.reason)
        writer, self._writer = self._writer, None
        if writer is None:
            return
        with suppress(EncodeError), self._explained("closing"):  # the first error is what counts
            writer.close()
        saved = self._salvage()
        self.drop(self._encoded - saved, error.reason)
        self._encoded = saved

    def _salvage(self) -> int:
        """Make what was written of the file playable. Returns how many frames that are."""
        part = self.spec.part
        try:
            with self._explained("salvaging"):
                info = salvage(part)
        except EncodeError as error:
            log.warning("%s cannot be salvaged: %s", part, error)
            with suppress(EncodeError):  # an unfinished file has fragments, counted without the video library
                saved = min(count_fragments(part), self._encoded) if is_fragmented(part) else self._encoded
                self._salvaged_seconds = float(saved / self.spec.fps)
                return saved
            self._salvaged_seconds = 0.0
            return 0
        self._salvaged_seconds = info.duration_seconds
        return min(info.frames, self._encoded)

    def finish(self, *, aborted: bool = False) -> EncodedResult:
        """Finish the file and give it its final name; that of an aborted clip replaces no older file."""
        published = False
        writer = self._writer
        try:
            if writer is not None:
                with self._explained("finishing"):
                    writer.close()
                self._writer = None
        except EncodeError as error:
            self.fail(error)
            writer = None
        try:
            with self._explained("publishing"):
                published = self._publish(writer, aborted=aborted)
        except EncodeError as error:
            self.fail(error)
        spec = self.spec
        width, height = (self._size() if self._encoded else None) or (None, None)
        file = spec.final if published else spec.part
        seconds = self._salvaged_seconds
        if seconds is None:
            seconds = float((self._last_index + 1) / spec.fps)
        return EncodedResult(
            state=ABORTED if aborted or self.error is not None else FINAL,
            file=file.name if self._encoded else None,
            encoded=self._encoded,
            dropped=dict(self._dropped),
            width=width,
            height=height,
            file_bytes=_bytes_of(file) if self._encoded else None,
            duration=seconds if self._encoded else 0.0,
            error=str(self.error or ""),
        )

    def abandon(self, error: BaseException) -> EncodedResult:
        """The result of a clip that cannot be finished. Its file stays as it is, to be recovered later."""
        self.error = self.error or EncodeError(f"unexpected {error!r} at {self.spec.final}: please report it")
        self.drop(self._encoded)
        self._encoded, self._writer = 0, None
        return EncodedResult(ABORTED, None, encoded=0, dropped=dict(self._dropped), duration=0.0, error=str(self.error))

    def _publish(self, writer: VideoFile | None, *, aborted: bool) -> bool:
        part, final = self.spec.part, self.spec.final
        if not self._encoded:
            if self._created:
                with suppress(OSError):  # a file without a picture is of no use
                    part.unlink()
            return False
        plain = writer is not None and self._make_plain(writer, part)
        if not part.exists():
            self.drop(self._encoded, "io")
            self._encoded = 0
            raise EncodeError(f"{part} is not there any more: its folder was removed, renamed or replaced", "io")
        if (aborted or self.error is not None) and final.exists():
            log.warning("%s is incomplete and stays beside the older %s", part, final)
            return False
        if self.spec.judged and not aborted and self.error is None:
            return False
        publish(part, final, synced=plain)
        return True

    def _make_plain(self, writer: VideoFile, part: Path) -> bool:
        """Make the part a plain MP4, half as large: a fragment for each frame is of use only while it is written.

        The copy replaces the part before the part is renamed, so the clip has one file, by one name, at any moment.
        """
        plain = part.with_name(part.name + PLAIN_EXTENSION)
        try:
            with self._explained("copying"):
                writer.copy_to(plain)
                supersede(plain, part)
        except EncodeError as error:  # no room for both, say: the part is complete, too
            self.not_plain = error
            log.warning("%s stays a fragmented MP4, which plays but is larger: %s", part, error)
            with suppress(OSError):
                plain.unlink(missing_ok=True)
            return False
        return True


def _bytes_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError as error:
        log.warning("a finished video is not where it was put: %s", error)
        return None
