"""Whether to record, and into which folder, by the environment variables as they are at the time.

ConfigError is raised for a variable or a folder that is wrong.
"""

from __future__ import annotations

import os
import re
import secrets
from datetime import datetime, timezone

from offcam_proto.endpoints import endpoint_asked
from offcam_proto.errors import ConfigError, FolderNotWritable
from offcam_proto.limits import MAX_PATH_BYTES

DEFAULT_RUN_ROOT = "./offcam-runs"
_OFF = {"off", "0", "false", "no"}
_ON = {"", "on", "1", "true", "yes"}
_REQUIRED = "require"


def enabled() -> bool:
    """Whether recording is on: with ``OFFCAM=off`` every wrapper passes everything through."""
    return _asked() not in _OFF


def required() -> bool:
    """Whether ``OFFCAM=require`` makes every wrapper strict."""
    return _asked() == _REQUIRED


def _asked() -> str:
    value = os.environ.get("OFFCAM", "").strip().lower()
    if value not in {*_ON, *_OFF, _REQUIRED}:
        raise ConfigError(f"OFFCAM must be 'on', 'off' or 'require', got {value!r}. Unset it to record.")
    return value


def records_here() -> bool:
    """Whether run folders are on this host; with ``tcp://`` they are on the daemon's, under names of its own."""
    if not enabled():
        return True
    endpoint = endpoint_asked(os.environ)
    return endpoint is None or endpoint.path is not None


def run_asked() -> str | None:
    """The run of ``OFFCAM_RUN``, for wrappers without a folder; a relative path lies in ``$OFFCAM_DIR``."""
    asked = os.environ.get("OFFCAM_RUN")
    return absolute(os.path.join(_root(), asked)) if asked else None


def new_run_folder(env_id: str) -> str:
    """A new run folder for a wrapper without one: ``$OFFCAM_DIR/<utc>-<env-id>-<id>``, absolute."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", env_id).strip(".-") or "env"
    return absolute(os.path.join(_root(), f"{stamp}-{name[:80]}-{secrets.token_hex(3)}"))


def _root() -> str:
    return os.environ.get("OFFCAM_DIR") or DEFAULT_RUN_ROOT


def absolute(folder: str) -> str:
    """A folder's absolute path. ConfigError for a relative one if the working directory was removed."""
    try:
        return os.path.abspath(folder)
    except FileNotFoundError as error:
        raise ConfigError(
            f"the folder {folder!r} is relative to a working directory that does not exist any more. Give an absolute "
            "path, set OFFCAM_DIR to one, or change into a directory that exists."
        ) from error


def make_run_folder(folder: str) -> str:
    """Create a run folder. Returns its absolute path; raises FolderNotWritable where it cannot be made or written."""
    path = absolute(folder)
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
            "Give a `video_folder` that you may write."
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise FolderNotWritable(
            f"the folder {path!r} for the recordings is not writable for you (uid {os.getuid()}). "
            "Give another `video_folder`, or change its permissions."
        )
    return path
