"""Where a client of another machine may write: in folders below the daemon's root that the daemon names.

A local client may name any run folder, as its own process could make it, too. A remote client names a folder of its own
machine, which means nothing here: it becomes ``ROOT/CLIENT/NAME-HASH``, always the same for the same path.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from offcam_proto.errors import FolderNotWritable
from offcam_proto.keys import check_name

MAX_NAME = 80
"""So many characters of a remote folder's own name are kept."""

_DEVICES = frozenset({"con", "prn", "aux", "nul", "conin$", "conout$"}) | {
    f"{port}{number}" for port in ("com", "lpt") for number in range(10)
}


def safe_name(folder: str) -> str:
    """One path component for a path that a remote client gave: readable, plain ASCII, and unique to that path.

    Letters and digits of the last component are kept, everything else becomes ``-``. The hash of the whole path keeps
    two runs called ``videos`` apart. Nothing that is special to a file system or a shell is left: no separator, ``..``,
    leading ``.`` or ``-``, NUL, device name of Windows, nor more than ``MAX_NAME`` + 9 bytes.

    Args:
        folder: any text.
    """
    last = folder.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", last)[:MAX_NAME].strip(".-") or "run"
    if name.partition(".")[0].lower() in _DEVICES:
        name = f"run-{name}"
    digest = hashlib.sha256(folder.encode(errors="surrogatepass")).hexdigest()
    return f"{name}-{digest[:8]}"


def run_folder(root: Path, user: str, folder: str) -> Path:
    """The run folder on this host for what a remote client calls ``folder``. Pure: nothing is made.

    Args:
        root: the daemon's ``root``.
        user: the client, as `offcamd.security.authenticator.Authenticator` says: its name, a space, its key's
            fingerprint.
        folder: the folder that it asked for.
    """
    return Path(os.path.abspath(root)) / check_name(user.partition(" ")[0]) / safe_name(folder)  # noqa: PTH100 - no link is to be followed


def make_run_folder(root: Path, user: str, folder: str) -> str:
    """Make the run folder of a remote client, see `run_folder`, and return its path.

    Raises:
        FolderNotWritable: the folder cannot be made, or is a link, which could lead anywhere.
    """
    path = run_folder(root, user, folder)
    try:
        path.parents[1].mkdir(parents=True, exist_ok=True)
        for part in (path.parent, path):
            part.mkdir(exist_ok=True)
            _refuse_link(part)
    except OSError as error:
        if isinstance(error, FolderNotWritable):
            raise
        raise FolderNotWritable(
            f"the daemon cannot make {path} on its host ({error.strerror}). Make its `root` writable for it."
        ) from error
    return str(path)


def find_run_folder(root: Path, user: str, folder: str) -> str:
    """The path of a remote client's run folder, see `run_folder`, existing or not: nothing is made.

    Raises:
        FolderNotWritable: the folder is a link, or cannot be looked at.
    """
    path = run_folder(root, user, folder)
    try:
        for part in (path.parent, path):
            _refuse_link(part)
    except FileNotFoundError:
        pass
    except OSError as error:
        if isinstance(error, FolderNotWritable):
            raise
        raise FolderNotWritable(
            f"the daemon cannot look into {path} on its host ({error.strerror}). Make its `root` readable for it."
        ) from error
    return str(path)


def _refuse_link(part: Path) -> None:
    if not stat.S_ISDIR(part.lstat().st_mode):
        raise FolderNotWritable(
            f"{part}, where this run goes on the daemon's host, is only a link elsewhere. Remove it there."
        )
