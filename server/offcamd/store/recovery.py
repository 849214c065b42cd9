"""Finishes what a dead daemon left in a run folder: its open streams, its unfinished videos, and the index's rows."""

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
from offcam_runs.folder_lock import FolderLock, await_helpers
from offcam_runs.journal_reader import journals
from offcamd.store.entries import StreamOwner
from offcamd.store.index import RunIndex
from offcamd.store.journals import NOTHING_TAKEN_IN, TakenIn, take_in
from offcamd.store.left_frames import arenas_of, record_left
from offcamd.store.rescue import COPY_NAME, finish, look
from offcamd.video.files import is_fragmented

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from offcamd.store.rescue import RecoveredClip


log = logging.getLogger(__name__)

_NAME = re.compile(r"(?P<name>.+?)(?:-s\d+)?(?:-part(?P<part>\d+))?", re.DOTALL)
_EPISODE = re.compile(r"-episode-(\d+)\Z")
_ANY_FPS = 30.0  # for a video that could not be read


@dataclass(frozen=True, slots=True)
class Recovery:
    """What `recover_folder` found and did.

    Attributes:
        clips: the clips that were unfinished.
        taken_in: what became of the clients' journals.
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
        """The recovery as a dict, ready for JSON."""
        return {
            "outcome": self.outcome,
            "clips": [asdict(clip) for clip in self.clips],
            "taken_in": self.taken_in._asdict(),
        }


def recover_folder(folder: Path, progress: Callable[[int, int], None] | None = None) -> Recovery:
    """Recover a run folder that no daemon is writing. A second call finds nothing to do.

    Clients' journals are taken in, except those of living clients. Unfinished videos that are in no index are entered
    into one, which is made if there is none.

    ``progress`` is called with how many clips are done, and how many there are.

    Raises:
        DaemonAlreadyRunning: a daemon is writing the folder: what is unfinished there is still being written.
        NotARunFolder: there is no such folder.
        RunFolderError: the folder cannot be written, or its index is damaged or newer than this offcam.
    """
    if not folder.is_dir() and not journals(folder):
        raise NotARunFolder(f"{folder} is no folder: check the path")
    folder = folder.absolute()
    if not is_run(folder) and not any(_strays(folder)):
        return Recovery([])  # nothing is made in a folder that is not ours
    lock = FolderLock.acquire(folder, "offcam recover")
    try:
        await_helpers(folder)
        with closing(RunIndex.open(folder)) as index:
            taken_in = reduce(TakenIn.merged, take_in(index, journals(folder)))  # first: has clips' frame counts
            left = [clip for clips in record_left(index, arenas_of(folder)) for clip in clips]
            return Recovery(left + recover(index, thorough=True, progress=progress), taken_in)
    finally:
        lock.release()


def recover(
    index: RunIndex, *, thorough: bool = False, progress: Callable[[int, int], None] | None = None
) -> list[RecoveredClip]:
    """Recover a folder's unfinished clips through its open index, as its only writer.

    Args:
        index: its index.
        thorough: decode every frame, and make plain MP4s of videos of any size. Otherwise it is quick, as clients wait.
        progress: called with how many clips are done, and how many there are.
    """
    with index.transaction():
        index.keeping.finish()
    for stream in index.live_streams():
        index.close_stream(stream, lost=True)
    with suppress(OSError):
        (index.folder / COPY_NAME).unlink()  # from a recovery that died
    _adopt(index, [part for part in _strays(index.folder) if not index.knows_file(part.name)])
    clips = index.open_clips()
    done: list[RecoveredClip] = []
    for clip in clips:
        if progress is not None:
            progress(len(done), len(clips))
        done.append(finish(index, clip, thorough=thorough))
    if progress is not None:
        progress(len(done), len(done))
    return done


# --- videos that no index knows ---------------------------------------------------------------------------


def _strays(folder: Path) -> Iterator[Path]:
    """Unfinished videos of ours in a folder. Other ``.part`` files, such as a browser's downloads, are left out."""
    for path in sorted(folder.iterdir()):
        with suppress(EncodeError):
            ours = path.name.endswith(fmt.UNFINISHED) and not path.is_symlink() and path.is_file()
            if ours and is_fragmented(path):
                yield path


def _adopt(index: RunIndex, parts: list[Path]) -> None:
    """Enter unfinished videos that the index does not know as clips of a stream of their own, to be recovered."""
    openings = {part: opening for number, part in enumerate(parts) if (opening := _opening(number, part))}
    if not openings:
        return
    stream = OpenStream(
        handle=0,
        stream=uuid.uuid4().bytes,
        folder="/",
        prefix="",
        suffix=0,
        video=True,
        env_id="",
        num_envs=1,
        vector=False,
        started=next(iter(openings.values())).started,
        resumes=True,  # so that they count to the last session, whose they most likely are
    )
    with index.transaction(), index.reopened(stream, StreamOwner("", 0, "unknown: found by recovery")):
        for part, opening in openings.items():
            index.clip_opened(stream.stream, opening, part.name.removesuffix(fmt.PART_EXTENSION))


def _opening(number: int, path: Path) -> OpenClip | None:
    """A guess of how a client opened a clip, by its file's name; None if it is not a video of a client."""
    info = look(path, thorough=False)
    if not info.frames:
        return None
    match = _NAME.fullmatch(path.name.removesuffix(fmt.UNFINISHED))
    name, part = (match["name"], match["part"]) if match else ("", None)
    episode = _EPISODE.search(name)
    try:
        return OpenClip(
            handle=0,
            clip=number,
            name=name,
            part=max(int(part or 1), 1),
            fps=float(info.fps) or _ANY_FPS,
            rows=1,
            cols=1,
            episode=int(episode[1]) if episode else 0,
            step=0,
            started=path.stat().st_mtime,
            frame_bytes=0,
        )
    except ProtocolError as error:
        log.warning("%s is not entered into the index: %s", path, error)
        return None
