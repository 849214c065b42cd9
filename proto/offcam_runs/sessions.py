"""Which session of a run its readers see: a folder may hold several trainings' recordings, one session each.

A session that is chosen hides all others' rows from every query, by views that stand before the index's tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from offcam_proto.errors import ConfigError

if TYPE_CHECKING:
    import os
    import sqlite3

Session = int | Literal["all"] | None
"""A session's number, all of them, or the newest one (None)."""

ALL: Final = "all"

# A view's rowid is no column unless it is named. The plus keeps SQLite from sorting a session's rows where an index has
# them in the order that is asked for.
_VIEWS: Final = {
    "streams": "CREATE TEMP VIEW streams AS SELECT * FROM main.streams WHERE session = {0}",
    **{
        table: f"CREATE TEMP VIEW {table} AS SELECT {columns} FROM main.{table} "  # noqa: S608 - of our own words
        "WHERE +stream_id IN (SELECT id FROM main.streams WHERE session = {0})"
        for table, columns in {"episodes": "*", "clips": "rowid, *", "quarantine": "*"}.items()
    },
}


def sessions(database: sqlite3.Connection) -> list[int]:
    """The numbers of a run's sessions, the newest last."""
    return [number for (number,) in database.execute("SELECT DISTINCT session FROM main.streams ORDER BY session")]


def session_of(text: str) -> Session:
    """Parse a session as a user names it: a number, ``all``, or nothing for the newest.

    Raises:
        ConfigError: the text is none of these.
    """
    if text in ("", ALL):
        return ALL if text else None
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:20]) < 2**31:
        raise ConfigError(f"a session is a number from 1 on, or `all`, got {text[:40]!r}")
    return int(text)


def choose(database: sqlite3.Connection, session: Session, folder: str | os.PathLike[str]) -> None:
    """Have an index that is open to be read show one session only.

    Args:
        database: the index; call this once for each connection.
        session: which one; None for the newest.
        folder: of the run, for the error's message.

    Raises:
        ConfigError: there is no such session.
    """
    if session == ALL:
        return
    there = sessions(database)
    if session is not None and session not in there:
        has = f"its sessions are {', '.join(map(str, there))}" if there else "it has none yet"
        raise ConfigError(f"{folder} has no session {session!r}: {has}. Give one of them, or `all`.")
    if len(there) > 1:
        number = there[-1] if session is None else session
        for view in _VIEWS.values():
            database.execute(view.format(int(number)))


def show_all(database: sqlite3.Connection) -> None:
    """Take back what `choose` did."""
    for view in _VIEWS:
        database.execute(f"DROP VIEW IF EXISTS temp.{view}")
