"""What a recording into a folder that was recorded into before goes on from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from offcam.recorder import settings
from offcam_proto.errors import ConfigError, OffcamError
from offcam_runs.discover import is_run

if TYPE_CHECKING:
    from offcam_runs.resuming import Before

IfExists = Literal["new", "resume", "error"]
"""What to do where a folder has a run: begin another session of it, go on with its last one, or raise."""

_ALIKE = """
SELECT max(NOT mine) AND NOT max(mine AND earlier) FROM (
    SELECT (other.training, other.session) = (own.training, own.session) AS mine, other.id < own.id AS earlier
    FROM streams AS other JOIN streams AS own ON own.stream = ? WHERE other.prefix = own.prefix
)
"""


def before(folder: str, prefix: str, if_exists: IfExists) -> Before | None:
    """What to go on from; None for a session of its own.

    Args:
        folder: the run folder.
        prefix: of the names of the stream's videos.
        if_exists: what to do where it has a run.

    Raises:
        ConfigError: there is a run, and there must be none; or it is another host's.
        RunFolderError: its index cannot be read.
    """
    if if_exists not in get_args(IfExists):
        raise ConfigError(f"if_exists must be 'new', 'resume' or 'error', got {if_exists!r}.")
    if if_exists == "new":
        return None
    if not settings.records_here():
        raise ConfigError(
            f"if_exists={if_exists!r} needs the run folder on this host, to know how far it came, and over tcp:// it "
            "is on the daemon's. Record there, or leave it out: another session is begun, and `--session all` shows "
            "both."
        )
    if not is_run(folder):
        return None
    if if_exists == "error":
        raise ConfigError(
            f"{folder} has a run already. Give another folder, or if_exists='new' for another session of it, or "
            "resume=True to go on with the last one."
        )
    from offcam_runs.resuming import run_before  # noqa: PLC0415 - who does not resume need not load it

    return run_before(folder, prefix)


def is_another(folder: str, stream: bytes) -> bool:
    """Whether a stream is the first of its training and session in a run that others have recorded with its prefix.

    The envs in a vector env of Stable-Baselines3 have one prefix, too: of each other nobody needs to be told.
    """
    if not settings.records_here():
        return True  # its index is on another host
    from offcam_runs.database import open_to_read  # noqa: PLC0415 - as in `before`

    try:
        with open_to_read(folder, settled=True, session="all") as database:
            return bool(database.execute(_ALIKE, (stream.hex(),)).fetchone()[0])
    except OffcamError:
        return True
