"""Runs in object storage as readers see them: folders in the cache, into which files come when they are looked at."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from offcam_proto.errors import ConfigError, NotARunFolder, OffcamError, RunFolderError
from offcam_runs import format as fmt
from offcam_runs.discover import MOST_LEVELS
from offcam_runs.filesystem import write_all
from offcam_runs.objects.evicted import read_evicted
from offcam_runs.objects.layout import (
    MANIFEST,
    Manifest,
    ObjectPlace,
    cache_folder,
    folder_of,
    is_url,
    place_of,
    segment_key,
)
from offcam_runs.objects.ranged import RangedObject
from offcam_runs.objects.segments import Head, parts_of, put_together, read_head, unpack
from offcam_runs.objects.store import Missing, ObjectStore
from offcam_runs.steps import files

if TYPE_CHECKING:
    import threading

AT_ONCE: Final = 16
"""Segments that are fetched at the same time."""

FOLLOW_SECONDS: Final = 10.0
"""How often `follow` looks, in seconds."""

TRIES: Final = 3
"""How often a manifest is read anew whose head was replaced before it was read."""


def local(run: str) -> str:
    """The folder to read for what a user gives: a path as it is; for a URL the copy, brought up to date now.

    Videos and steps are not in that folder yet: `fetch_video` and `fetch_steps` bring them when they are looked at.

    Raises:
        ConfigError: the URL is wrong or refused, or obstore is not installed.
        NotARunFolder: there is no run.
        RunFolderError: it cannot be reached, or is damaged.
    """
    return os.fspath(copied(ObjectPlace.parse(run))) if is_url(run) else run


def copied(place: ObjectPlace) -> Path:
    """Bring the copies of all runs at a place, and below it, up to date. Returns the folder. Raises as `local`."""
    cache = cache_folder(os.environ)
    found = 0
    try:
        for store, manifest in _runs(place, MOST_LEVELS):
            _bring(store, manifest, Path(folder_of(store.place, cache)))
            found += 1
    except Missing as error:
        raise NotARunFolder(f"{place.url} has no run ({error}): give what a run was sent to") from error
    if not found:
        raise NotARunFolder(f"{place.url} has no run: give what a run was sent to, or what that begins with")
    return Path(folder_of(place, cache))


def follow(folders: Iterable[Path], ended: threading.Event) -> None:
    """Bring copies up to date again and again, until ``ended`` is set. Other folders are left as they are.

    What cannot be reached is tried again the next time.
    """
    cache = cache_folder(os.environ)
    places = [place for folder in folders if (place := place_of(os.fspath(folder), cache))]
    while places and not ended.wait(FOLLOW_SECONDS):
        for place in places:
            with suppress(OffcamError, OSError):
                copied(place)


def _runs(place: ObjectPlace, levels: int) -> Iterator[tuple[ObjectStore, Manifest]]:
    store = ObjectStore(place)
    try:
        data = store.get(MANIFEST)
    except Missing:
        for below in _below(store) if levels else ():
            yield from _runs(below, levels - 1)
    else:
        yield store, Manifest.parse(data, place.url)


def _below(store: ObjectStore) -> Iterator[ObjectPlace]:
    for name in store.below():
        with suppress(ConfigError):  # what no URL can name was not made by offcam
            yield store.place.below(name)


def _bring(store: ObjectStore, manifest: Manifest, folder: Path, tries: int = TRIES) -> None:
    """Bring the copy of a run up to date."""
    try:
        _bring_to(store, manifest, folder)
    except Missing:
        newer = Manifest.parse(store.get(MANIFEST), store.place.url)
        if newer == manifest or tries == 1:
            raise
        _bring(store, newer, folder, tries - 1)


def _bring_to(store: ObjectStore, manifest: Manifest, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / fmt.INDEX_NAME
    before = _read_copy(index)
    if before.key == manifest.head:
        return
    with tempfile.TemporaryDirectory(prefix=".offcam-", dir=folder) as scratch:
        head = fetch_segment(store, manifest.head, Path(scratch, "head"))
        after = read_head(head)
        if before.run != after.run:
            _remove_copy(folder)  # it is of another run
            before = Head()
        anew = before.tails != after.tails[: len(before.tails)]  # some were put together, or the run was sent anew
        new = enumerate(after.tails[0 if anew else len(before.tails) :])
        with ThreadPoolExecutor(AT_ONCE) as pool:
            tails = list(pool.map(lambda each: fetch_segment(store, each[1], Path(scratch, str(each[0]))), new))
        for clip, (name, key) in before.videos.items():
            if after.videos.get(clip) != (name, key) and _is_video(name):
                (folder / name).unlink(missing_ok=True)  # it is another clip's now, or nobody's
        put_together(index, head, manifest.head, tails, anew=anew)


def _read_copy(index: Path) -> Head:
    """What a copy has; nothing where it is not there, or was cut off in the making."""
    with suppress(sqlite3.Error):
        return read_head(index)
    return Head()


def _remove_copy(folder: Path) -> None:
    for each in folder.iterdir():
        if each.name.startswith(fmt.INDEX_NAME) or each.suffix in (fmt.VIDEO_EXTENSION, fmt.PART_EXTENSION):
            each.unlink(missing_ok=True)
    shutil.rmtree(folder / files.FOLDER, ignore_errors=True)


def fetch_segment(store: ObjectStore, key: str, file: Path) -> Path:
    """Write a segment into a file, which is returned.

    Raises:
        ConfigError: it is refused.
        Missing: there is none.
        RunFolderError: it cannot be reached, or is damaged.
    """
    data, where = store.get(key), f"{store.place.url}/{key}"
    if segment_key(data) != key:
        raise RunFolderError(f"{where} has not the bytes that its name says: somebody has changed it")
    unpack(data, file, where)
    return file


# --- files ------------------------------------------------------------------------------------------------


def original(folder: str | os.PathLike[str]) -> str | None:
    """The URL of the run in object storage of which a folder is the copy; None for any other folder."""
    place = _place(folder)
    return None if place is None else place.url


def fetch_video(folder: str | os.PathLike[str], stream: str, clip: int, url: str | None = None) -> Path | None:
    """Bring the file of a clip into the copy of its run, where it is in object storage. Returns its path there.

    None where it is not: for any other folder's clip that was not evicted, and where there is no such object. ``url``
    is that of the clip's run, where a hub has only the run's statistics.

    Raises:
        ConfigError: it is refused.
        RunFolderError: it cannot be reached.
    """
    found = _video(folder, stream, clip, url)
    if found is None:
        return None
    try:
        if not found.path.exists():
            found.store.fetch(found.key, found.path)
    except Missing:  # somebody has removed it: the reader says that there is no file
        return None
    return found.path


def copy_video(folder: str | os.PathLike[str], stream: str, clip: int, into: Path) -> Path | None:
    """Fetch the file of a clip into a folder of the caller's, who removes it. Returns its path there.

    Otherwise as `fetch_video`; None, too, where the place that had it has no run any more.

    Raises:
        ConfigError: it is refused.
        RunFolderError: it cannot be reached.
        OSError: it cannot be written.
    """
    with suppress(Missing, NotARunFolder):
        found = _video(folder, stream, clip, None)
        if found is not None:
            found.store.fetch(found.key, into / found.path.name)
            return into / found.path.name
    return None


def open_video(folder: str | os.PathLike[str], stream: str, clip: int, url: str | None = None) -> RangedObject | None:
    """The file of a clip in object storage, of which only what is read is fetched; None where there is none.

    Otherwise as `fetch_video`.

    Raises:
        ConfigError: it is refused.
        RunFolderError: it cannot be reached.
    """
    found = _video(folder, stream, clip, url)
    if found is not None:
        with suppress(Missing):
            return RangedObject(found.store, found.key)
    return None


def fetch_steps(folder: str | os.PathLike[str], stream: str, number: int, end: int) -> Path | None:
    """Bring all of a steps file that there is into the copy of its run, where it is in object storage.

    Args:
        folder: of the run.
        stream: id of the file's stream.
        number: of the file in the stream.
        end: up to where it is wanted, in bytes.

    Returns:
        Its path there; None for any other folder's file that was not evicted.

    Raises:
        ConfigError: it is refused.
        RunFolderError: it cannot be reached.
    """
    place, copy = _place(folder), Path(folder)
    if place is None:
        url = read_evicted(folder).url_of_steps(stream, number)
        if url is None:
            return None
        place, copy = _copy_of(url)
        if max((offset + size for _, offset, size in _parts(copy, stream, number)), default=0) < end:
            copied(place)
    path = Path(files.path_of(copy, stream, number))
    path.parent.mkdir(exist_ok=True)
    store = ObjectStore(place)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        for key, offset, size in _parts(copy, stream, number):
            if os.fstat(descriptor).st_size < offset + size:
                write_all(descriptor, store.get(key), offset)
    except Missing:  # as above
        pass
    finally:
        os.close(descriptor)
    return path


def _parts(copy: Path, stream: str, number: int) -> list[tuple[str, int, int]]:
    """As `parts_of`; none where there is no copy yet."""
    with suppress(sqlite3.Error):
        return parts_of(copy / fmt.INDEX_NAME, stream, number)
    return []


def _copy_of(url: str) -> tuple[ObjectPlace, Path]:
    """The place of a run, and the folder of its copy."""
    place = ObjectPlace.parse(url)
    return place, Path(folder_of(place, cache_folder(os.environ)))


class _StoredVideo(NamedTuple):
    """Where the file of a clip is in object storage, and where it belongs on this host."""

    store: ObjectStore
    key: str
    path: Path


def _video(folder: str | os.PathLike[str], stream: str, clip: int, url: str | None) -> _StoredVideo | None:
    place, copy = _place(folder), Path(folder)
    if place is None:
        url = url or read_evicted(folder).url_of(stream, clip)
        if url is None:
            return None
        place, copy = _copy_of(url)
        if (stream, clip) not in _read_copy(copy / fmt.INDEX_NAME).videos:
            with suppress(Missing):
                copied(place)
    name, key = _read_copy(copy / fmt.INDEX_NAME).videos.get((stream, clip), ("", ""))
    if not key or not _is_video(name):
        return None
    return _StoredVideo(ObjectStore(place), key, copy / name)


def _is_video(name: str) -> bool:
    """Whether a head may name such a file: somebody else may have made it."""
    return os.path.basename(name) == name and name.endswith((fmt.VIDEO_EXTENSION, fmt.UNFINISHED))


def _place(folder: str | os.PathLike[str]) -> ObjectPlace | None:
    try:
        return place_of(os.fspath(folder), cache_folder(os.environ))
    except ValueError:  # there is no cache
        return None
