"""How far the sending of a run to a tracker came: the files in ``offcam.sync``, read and written."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from offcam_runs.file_lock import held
from offcam_runs.filesystem import replace_file
from offcam_runs.format import SYNC_NAME
from offcam_runs.json_text import dumps

VERSION: Final = 1
MOST_BYTES: Final = 4 << 20
"""Largest file that is read, in bytes: a larger one is not ours."""

MOST_READ: Final = 100
"""Most files of a run that are read."""

_ENDING: Final = ".json"
_LOCK_ENDING: Final = ".lock"


@dataclass(frozen=True, kw_only=True)
class SyncState:
    """What a file says: how far one session of a run has been sent to one place.

    Attributes:
        tracker: the tracker's name, such as ``wandb``.
        options: by which the place is chosen, such as ``project``.
        session: number of the session whose episodes and clips are sent.
        created: when the run's index was made, as its ``meta`` has it: ``position`` refers to that index.
        position: how much was sent; see `offcam.sync.core.Position`.
        saved: what the sink keeps for the next process.
        certain: ``position`` and ``saved`` from which the next process goes on, for a sink that is certain to have what
            it was sent only once it has finished.
        where: where the run is sent to, for people.
        sent_episodes: how many were sent.
        sent_clips: how many were sent.
        behind_episodes: how many are committed and not sent yet.
        behind_clips: how many are final and not sent yet.
        behind_since: when the first of those ended, in seconds since the epoch; None where all is sent.
        failures: how often sending failed.
        error: how it failed the last time; empty once something was sent again.
        error_at: when that was, in seconds since the epoch; None where it never failed.
        folder_bytes: of all files in the run's folder, where it is sent with a limit for these; else 0.
        folder_limit: that limit; 0 for none.
        evicted_clips: how many clips' files were removed there, as they were sent.
        evicted_bytes: bytes of those.
        evicted_steps: how many files of steps were removed there, as they were sent.
        over: whether the session was over and all of it was sent.
        pid: of the process that wrote the file.
        updated: when that was, in seconds since the epoch.
        seal: of the rest, with the key of the user who sends it, in hexadecimal digits; empty without a key. Else a
            folder from somebody else could name another place to send to, or another file to write.
    """

    tracker: str
    options: dict[str, str]
    session: int
    created: str
    position: dict[str, Any] = field(default_factory=dict)
    saved: dict[str, Any] = field(default_factory=dict)
    certain: dict[str, Any] = field(default_factory=dict)
    where: str = ""
    sent_episodes: int = 0
    sent_clips: int = 0
    behind_episodes: int = 0
    behind_clips: int = 0
    behind_since: float | None = None
    failures: int = 0
    error: str = ""
    error_at: float | None = None
    folder_bytes: int = 0
    folder_limit: int = 0
    evicted_clips: int = 0
    evicted_bytes: int = 0
    evicted_steps: int = 0
    over: bool = False
    pid: int = 0
    updated: float = 0.0
    seal: str = ""

    def sealed(self, key: bytes | None) -> SyncState:
        """The same state with a seal; without one where there is no key."""
        if key is None:
            return replace(self, seal="")
        bare = dumps(asdict(replace(self, seal="")))
        return replace(self, seal=hmac.new(key, bare.encode(), hashlib.sha256).hexdigest())

    def is_sealed_by(self, key: bytes | None) -> bool:
        """Whether the state was written by this key's user."""
        return key is not None and hmac.compare_digest(self.sealed(key).seal, self.seal)

    def lag_seconds(self, now: float) -> float:
        """How many seconds the first thing that is not sent has been waiting; 0 where all is sent."""
        return 0.0 if self.behind_since is None else max(now - self.behind_since, 0.0)


@dataclass(frozen=True)
class Sending:
    """One sending of a run, for status and page.

    Attributes:
        file: the file of its state.
        state: what the file says.
        working: whether a process is sending now.
    """

    file: Path
    state: SyncState
    working: bool

    def as_dict(self, now: float | None = None) -> dict[str, Any]:
        """The sending for JSON, without what only the sending process needs."""
        state = self.state
        shown = ("tracker", "where", "session", "sent_episodes", "sent_clips", "behind_episodes", "behind_clips")
        return {
            **{name: getattr(state, name) for name in shown},
            "lag_seconds": state.lag_seconds(time.time() if now is None else now),
            **{name: getattr(state, name) for name in ("failures", "error", "error_at")},
            **{
                name: getattr(state, name)
                for name in ("folder_bytes", "folder_limit", "evicted_clips", "evicted_bytes", "evicted_steps")
            },
            "over": state.over,
            "working": self.working,
        }


def file_of(folder: Path, tracker: str, session: int, options: Mapping[str, str]) -> Path:
    """The path of a sending's state."""
    text = json.dumps(sorted(options.items()))
    name = re.sub(r"[^\w.-]", "_", tracker)[:100]
    return folder / SYNC_NAME / f"{name}-{session}-{hashlib.sha256(text.encode()).hexdigest()[:8]}{_ENDING}"


def lock_of(file: Path) -> Path:
    """The file that the sending process holds a lock on."""
    return file.with_suffix(_LOCK_ENDING)


def read_state(file: Path) -> SyncState | None:
    """What a file says; None where there is none, or one of another version or another program."""
    try:
        if file.stat().st_size > MOST_BYTES:
            return None
        found = json.loads(file.read_bytes())
        if not isinstance(found, dict) or found.pop("version") != VERSION:
            return None
        return _checked(found)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_all(folder: Path) -> list[Sending]:
    """The sendings of a run, by the names of their files. Changes nothing, and never raises."""
    found: list[Sending] = []
    with suppress(OSError):
        files = sorted(each for each in (folder / SYNC_NAME).iterdir() if each.suffix == _ENDING)
        states = ((file, read_state(file)) for file in files[:MOST_READ])
        found += [Sending(file, state, _held(lock_of(file))) for file, state in states if state is not None]
    return found


def of_runs(folders: Iterable[str]) -> list[dict[str, Any]]:
    """The sendings of some runs, ready for JSON, with the folder of each."""
    return [{"folder": folder, **each.as_dict()} for folder in folders for each in read_all(Path(folder))]


def write_state(file: Path, state: SyncState) -> None:
    """Replace what the file says. The new state is on the disk when this returns.

    Raises:
        OSError: it cannot be written.
    """
    replace_file(file, dumps({"version": VERSION, **asdict(state)}))


def to_go_on_with(found: Iterable[Sending], tracker: str, session: int, options: Mapping[str, str]) -> Sending | None:
    """The sending that is meant by a tracker's name and some of its options: where it is one alone, that one."""
    meant = [
        each
        for each in found
        if (each.state.tracker, each.state.session) == (tracker, session)
        and options.items() <= each.state.options.items()
    ]
    exact = [each for each in meant if each.state.options == options]
    return (exact or meant)[0] if exact or len(meant) == 1 else None


def _held(lock: Path) -> bool:
    try:
        return held(lock)
    except OSError:
        return False


_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "float | None": (int, float, type(None)),
    "dict[str, str]": dict,
    "dict[str, Any]": dict,
}


def _checked(found: dict[str, Any]) -> SyncState:
    known = {each.name: each.type for each in fields(SyncState)}
    values = {name: value for name, value in found.items() if name in known}
    for name, value in values.items():
        if not isinstance(value, _TYPES[str(known[name])]):
            raise TypeError(name)
    return SyncState(**values)
