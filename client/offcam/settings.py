"""What the environment asks of the client, read when it is needed: one place for each variable."""

from __future__ import annotations

import os
import re
import secrets
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from offcam_proto.endpoints import Endpoint, endpoint_from
from offcam_proto.errors import ConfigError, FolderNotWritable
from offcam_proto.limits import MAX_PATH_BYTES

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
