"""What the environment asks of the client, read when it is needed: one place for each variable."""

from __future__ import annotations

import os
import re
import secrets
import warnings
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from offcam_proto.endpoints import Endpoint, endpoint_from
from offcam_proto.errors import ConfigError, FolderNotWritable
from offcam_proto.limits import MAX_NAME_BYTES, MAX_PATH_BYTES
from offcam_proto.variables import misspelt

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_RUN_ROOT = "./offcam-runs"
_OFF = {"off", "0", "false", "no"}
_ON = {"", "on", "1", "true", "yes"}


def enabled(environ: Mapping[str, str] | None = None) -> bool:
    """Whether recording is on: ``OFFCAM=off`` turns every wrapper into a pass-through.

    Raises:
        ConfigError: ``OFFCAM`` is neither on nor off.
    """
    value = (os.environ if environ is None else environ).get("OFFCAM", "").strip().lower()
    if value in _OFF:
        return False
    if value in _ON:
        return True
    raise ConfigError(f"OFFCAM must be 'on' or 'off', got {value!r}. Unset it to record.")


def daemon_endpoint() -> tuple[Endpoint, bool]:
    """The daemon's endpoint, and whether ``OFFCAM_ADDR`` names it (then no daemon is started here).

    Raises:
        ConfigError: ``OFFCAM_ADDR`` is malformed.
    """
    return endpoint_from(os.environ, os.getuid())


def warn_of_misspelt() -> None:
    """Warn of variables that were probably meant to be one of ours."""
    for name, near in misspelt(os.environ).items():
        warnings.warn(f"offcam: {name} is set and means nothing. Did you mean {near}?", stacklevel=3)


def records_here() -> bool:
    """Whether run folders are this host's; with ``tcp://`` they are the daemon's, which names them itself.

    Raises:
        ConfigError: an environment variable is wrong.
    """
    return not enabled() or daemon_endpoint()[0].path is not None


def new_run_folder(env_id: str) -> str:
    """A folder for a run whose wrapper was given none: ``$OFFCAM_DIR/<utc>-<env-id>-<id>``, absolute."""
    root = os.environ.get("OFFCAM_DIR") or DEFAULT_RUN_ROOT
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", env_id).strip(".-") or "env"
    return os.path.abspath(os.path.join(root, f"{stamp}-{name[:80]}-{secrets.token_hex(3)}"))


def make_run_folder(folder: str) -> str:
    """Create a run folder and return its absolute path.

    Raises:
        ConfigError: the path is too long.
        FolderNotWritable: it cannot be created or written.
    """
    path = os.path.abspath(folder)
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ConfigError(f"video_folder is longer than {MAX_PATH_BYTES} bytes: {path[:80]!r}...")
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"video_folder must be valid UTF-8, got {path!r}. Rename the folder.") from error
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise FolderNotWritable(
            f"cannot create the folder {path!r} for the recordings ({error.strerror}). "
            "Give a `video_folder` that you may write.",
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise FolderNotWritable(
            f"the folder {path!r} for the recordings is not writable for you (uid {os.getuid()}). "
            "Give another `video_folder`, or change its permissions.",
        )
    return path


def check_name(what: str, name: str, *, room: int = 0) -> str:
    """Require a name that can be part of a file name, and that leaves ``room`` for so many bytes more.

    Raises:
        ConfigError: it has a separator or a NUL, or is too long, empty or no valid Unicode.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise ConfigError(f"{what} must be valid Unicode, got {name!r}.") from error
    most = MAX_NAME_BYTES - room
    if not name or size > most or any(char in name for char in "/\\\0") or name in (".", ".."):
        raise ConfigError(
            f"{what} must be a plain file name without '/', '\\' or NUL, of at most {most} bytes, "
            f"got {name[:80]!r}. Put folders into `video_folder` instead.",
        )
    return name
