"""Which run folders a path or a pattern means, and what a run is called."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from offcam_proto.errors import ConfigError, NotARunFolder, RunFolderError
from offcam_runs import format as fmt
from offcam_runs.journal_reader import journals

MOST_LEVELS = 3
"""How deep below a folder runs are looked for."""


def run_folders(given: Iterable[Path], *, unfinished: bool = False) -> list[list[Path]]:
    """For each path the run folders in it, by name; without any, the path itself, which need not be a run folder.

    Links are followed only where they were given, and hidden folders are not entered. A subfolder that cannot be
    looked into is listed as well: whoever reads it will say what is wrong.

    Args:
        given: paths of run folders, or of folders with run folders in them.
        unfinished: a folder with unfinished videos is a run too, also without an index.

    Raises:
        ConfigError: one is given twice.
        RunFolderError: one cannot be looked into.
    """
    found = [_meant(path, unfinished=unfinished) for path in given]
    seen: set[Path] = set()
    for folder in (folder for folders in found for folder in folders):
        if folder.resolve() in seen:
            raise ConfigError(f"{folder} is given twice: leave one out")
        seen.add(folder.resolve())
    return found


def matching(folders: Sequence[str]) -> list[str]:
    """The run folders that paths and patterns mean, each once.

    Raises:
        NotARunFolder: none matches a pattern.
    """
    found: dict[str, None] = {}
    for path in folders:
        if os.path.exists(path) or not glob.has_magic(path):
            found[path] = None
            continue
        matches = sorted(match for match in glob.glob(path) if is_run(match))
        if not matches:
            raise NotARunFolder(f"no run folder matches {path!r} in {os.getcwd()!r}: check the pattern")
        found.update(dict.fromkeys(matches))
    return list(found)


def is_run(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder has an index, or journals of which one will be made."""
    return os.path.exists(os.path.join(folder, fmt.INDEX_NAME)) or bool(journals(folder))


def labels(folders: Sequence[str | os.PathLike[str]]) -> list[str]:
    """A short name for each folder: as few of its last parts as tell them all apart."""
    paths = [Path(os.path.abspath(folder)) for folder in folders]
    for parts in range(1, max((len(path.parts) for path in paths), default=1)):
        names = [str(Path(*path.parts[-parts:])) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def valid_text(name: str) -> str:
    """A name as every format can hold it: what are bytes on the disk and no UTF-8 is escaped."""
    return name.encode(errors="backslashreplace").decode()


def _meant(path: Path, *, unfinished: bool) -> list[Path]:
    try:
        found, below = _look_into(path, unfinished=unfinished)
    except PermissionError as error:
        raise RunFolderError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    except OSError:  # not there, or a file: whoever reads it says so
        return [path]
    if found:
        return [path]
    return [run for folder in below for run in _runs(folder, MOST_LEVELS - 1, unfinished=unfinished)] or [path]


def _runs(folder: Path, levels: int, *, unfinished: bool) -> Iterator[Path]:
    try:
        found, below = _look_into(folder, unfinished=unfinished)
    except OSError:
        yield folder
        return
    if found:
        yield folder
    elif levels:
        for inner in below:
            yield from _runs(inner, levels - 1, unfinished=unfinished)


def _look_into(folder: Path, *, unfinished: bool) -> tuple[bool, list[Path]]:
    """Whether a folder is a run, and the folders in it."""
    if is_run(folder):
        return True, []
    files, below = look_into(folder)
    return unfinished and any(name.endswith(fmt.UNFINISHED) for name in files), [folder / name for name in below]


def look_into(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the files in a folder, and of the folders in it that runs are looked for in, in order.

    Raises:
        OSError: it cannot be read.
    """
    files, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                files.append(entry.name)
            elif (
                entry.is_dir(follow_symlinks=False)
                and not entry.name.startswith(".")
                and entry.name not in (fmt.PENDING_NAME, fmt.SYNC_NAME)
            ):
                folders.append(entry.name)
    return sorted(files), sorted(folders)
