"""How far an earlier recording in the same folder has come, for a new one that goes on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from offcam.connection import process
from offcam.recorder import settings
from offcam_proto.client_session import State
from offcam_proto.errors import (
    ConfigError,
    DaemonUnavailable,
    OffcamError,
    RemoteProtocolError,
    RunFolderError,
    RunFormatTooNew,
)
from offcam_proto.resuming import DAEMON, FORMAT
from offcam_runs.discover import is_run

if TYPE_CHECKING:
    from offcam.connection.connection import Connection
    from offcam_proto.resuming import RunReply
    from offcam_runs.resuming import Before

IfExists = Literal["new", "resume", "error"]
"""What to do if the folder has a run: begin another session of it, go on with the last one, or raise."""

_ALIKE = """
SELECT max(NOT mine) AND NOT max(mine AND earlier) FROM (
    SELECT (other.training, other.session) = (own.training, own.session) AS mine, other.id < own.id AS earlier
    FROM streams AS other JOIN streams AS own ON own.stream = :stream WHERE other.prefix = own.prefix
)
"""


def before(folder: str, prefix: str, if_exists: IfExists, *, strict: bool = False) -> Before | None:
    """How far the session to resume has come; None for a new session.

    Over ``tcp://`` the daemon is asked, which has the folder on its host. A daemon that is slow, frozen or dying is
    only warned about, after `timeouts.RESUME_SECONDS`; the recording is then a session of its own.

    Args:
        folder: the run folder.
        prefix: of the names of the stream's videos.
        if_exists: what to do if the folder has a run.
        strict: whether to raise if nobody can say how far the run came.

    Raises:
        ConfigError: there is a run and ``if_exists`` forbids one; over ``tcp://``, the daemon is of an earlier offcam,
            or the address or the key cannot be used.
        KeyRefused: over ``tcp://``, the daemon does not take the key, or is not the one that the key is for.
        RunFolderError: the run's index cannot be read.
        DaemonUnavailable, RemoteProtocolError: only with ``strict``: over ``tcp://``, the daemon did not answer.
    """
    if if_exists not in get_args(IfExists):
        raise ConfigError(f"if_exists must be 'new', 'resume' or 'error', got {if_exists!r}.")
    if if_exists == "new":
        return None
    if not settings.records_here():
        return _asked(folder, prefix, if_exists, strict=strict)
    if not is_run(folder):
        return None
    if if_exists == "error":
        raise _exists(folder)
    from offcam_runs.resuming import run_before  # noqa: PLC0415 - a recording that resumes nothing need not load it

    return run_before(folder, prefix)


def _exists(folder: str) -> ConfigError:
    return ConfigError(
        f"{folder} has a run already. Give another folder, or if_exists='new' for another session of it, or "
        "resume=True to go on with the last one."
    )


def _asked(folder: str, prefix: str, if_exists: IfExists, *, strict: bool) -> Before | None:
    """As `before`, for a folder on the daemon's host."""
    connection = process.current()
    try:
        reply = _reply(connection, folder, prefix, strict=strict)
    except (DaemonUnavailable, RemoteProtocolError) as error:
        if strict:
            raise
        if connection.session.state is State.REFUSED:
            return None  # a warning said already that nothing is recorded
        what = "how far the run came" if if_exists == "resume" else "whether there is a run already"
        connection.warn_once(
            f"{what} in {folder} is not known, so what is recorded is a session of its own, which overwrites nothing "
            f"(`--session all` shows both): {error}",
            about=f"resuming: {folder}",
        )
        return None
    if reply.code:
        raise (RunFormatTooNew if reply.code == FORMAT else RunFolderError)(reply.text)
    if not reply.found:
        return None
    if if_exists == "error":
        raise _exists(folder)
    from offcam_runs.resuming import Before  # noqa: PLC0415 - as in `before`

    return Before(reply.suffix, reply.last_episodes, reply.steps)


def _reply(connection: Connection, folder: str, prefix: str, *, strict: bool) -> RunReply:
    handshake = connection.handshake
    process.establish(connection, handshake.deadline(strict=strict), strict=strict)
    reply = handshake.ask_run(folder, prefix, handshake.deadline(strict=strict))
    if reply.code == DAEMON:
        raise DaemonUnavailable(f"the recorder daemon cannot look into its folder for {folder} now: {reply.text}")
    return reply


def is_another(folder: str, stream: bytes) -> bool:
    """Whether a stream is its training's and session's first in a run where others recorded with its prefix.

    The envs in a vector env of Stable-Baselines3 share a prefix, too: nobody needs to be warned of each other's videos.
    """
    if not settings.records_here():
        return True  # not known, as the index is on another host
    from offcam_runs.database import open_to_read  # noqa: PLC0415 - as in `before`

    try:
        with open_to_read(folder, settled=True, session="all") as database:
            return bool(database.execute(_ALIKE, {"stream": stream.hex()}).fetchone()[0])
    except OffcamError:
        return True
