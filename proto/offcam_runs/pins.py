"""Clips that somebody has pinned, each with a note: ``offcam.pins.json`` of a run folder, read and written."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from offcam_proto.errors import RunFolderError
from offcam_runs.filesystem import replace_file
from offcam_runs.format import PINS_NAME
from offcam_runs.json_text import dumps

if TYPE_CHECKING:
    from pathlib import Path

VERSION: Final = 1
MOST_PINS: Final = 1000
"""Clips of a run that can be pinned."""

MOST_NOTE: Final = 200
"""Characters of a note."""

MOST_BYTES: Final = 2 << 20
"""Of a file that is read: a larger one is none of ours."""

_KEY: Final = re.compile(r"[0-9a-f]{1,64}-(0|[1-9][0-9]{0,18})")
_LATEST: Final = 1e12


class Pin(NamedTuple):
    """That a clip is pinned.

    Attributes:
        note: what somebody wrote about it; empty for nothing.
        at: when it was pinned, in seconds since the epoch.
    """

    note: str
    at: float


def read_pins(folder: Path) -> dict[str, Pin]:
    """The pinned clips of a run by their keys, ``STREAM-CLIP``; none where the file is damaged, or of another program.

    Changes nothing, and never raises.
    """
    with suppress(OSError, ValueError):
        return _read(folder)
    return {}


def write_pin(folder: Path, key: str, note: str | None) -> None:
    """Pin a clip with a note, or no longer, where that is None. It is on the disk when this returns.

    Of two processes that do so at the same moment one may lose what the other has written.

    Args:
        folder: of the run.
        key: of the clip.
        note: at most `MOST_NOTE` characters.

    Raises:
        RunFolderError: the folder cannot be written, its file is not one that is understood, or too many are pinned.
    """
    file = folder / PINS_NAME
    try:
        pins = _read(folder)
        before = pins.pop(key, None)
        if note is not None:
            pins[key] = Pin(note[:MOST_NOTE], time.time() if before is None else before.at)
        if len(pins) > MOST_PINS:
            raise RunFolderError(f"{MOST_PINS} clips of {folder} are pinned already: unpin some of them first")
        replace_file(file, dumps({"version": VERSION, "pins": {each: pin._asdict() for each, pin in pins.items()}}))
    except OSError as error:
        raise RunFolderError(
            f"pins are kept in the run folder, and {folder} cannot be written by user id {os.geteuid()} "
            f"({error.strerror}): make it writable, or pin in a copy of it"
        ) from error
    except ValueError as error:
        raise RunFolderError(
            f"{file} is not understood ({error}), so it is not written either: move it away, or use a newer offcam"
        ) from error


def _read(folder: Path) -> dict[str, Pin]:
    """What the file says; nothing where there is none. Raises OSError and ValueError."""
    try:
        descriptor = os.open(folder / PINS_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > MOST_BYTES:
            raise ValueError(f"it is no file of at most {MOST_BYTES} bytes")
        text = file.read(MOST_BYTES)
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict) or found.get("version") != VERSION or not isinstance(found.get("pins"), dict):
        raise ValueError(f"it is not of version {VERSION}")
    return {key: _checked(key, pin) for key, pin in found["pins"].items()}


def _checked(key: str, pin: Any) -> Pin:  # noqa: ANN401 - whatever somebody has written
    if not _KEY.fullmatch(key) or not isinstance(pin, dict):
        raise ValueError(f"{key[:100]!r} is no pin of a clip")
    note, at = pin.get("note"), pin.get("at")
    if not isinstance(note, str) or isinstance(at, bool) or not isinstance(at, (int, float)) or not 0 <= at <= _LATEST:
        raise ValueError(f"the pin of {key} has no note and time")
    return Pin(note[:MOST_NOTE], float(at))
