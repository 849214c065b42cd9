"""Small checks that messages run on construction, so that an invalid message cannot exist on either side."""

from __future__ import annotations

import posixpath
import reprlib
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import msgspec

from offcam_proto import limits
from offcam_proto.errors import LimitExceeded, MalformedMessage

MAGIC = "offcam"
"""What a session opens with."""

ID_BYTES = 16
"""Size of a session, stream or daemon-instance id: a random UUID's bytes."""


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 100


def shown(value: object) -> str:
    """A value for an error's message, cut short: a peer's may be large, or nested deeper than `repr` can go."""
    return _short.repr(value)


def uint(name: str, value: object, limit: int = limits.MAX_INT, *, low: int = 0) -> None:
    """Require an integer in ``low..limit`` (a bool is none)."""
    if type(value) is not int or value < low:
        raise MalformedMessage(f"{name} must be an integer from {low} on, got {shown(value)}")
    if value > limit:
        raise LimitExceeded(f"{name} must be at most {limit}, got {value}")


def optional_uint(name: str, value: object) -> None:
    """Require an integer from 0 on, or None."""
    if value is not None:
        uint(name, value)


def divergence(name: str, value: object) -> None:
    """Require an empty tuple, or one of an integer from 0 on and a text."""
    if type(value) is not tuple or len(value) not in (0, 2):
        raise MalformedMessage(f"{name} must be empty, or a number and a text, got {shown(value)}")
    for check, each in zip((uint, text), value, strict=False):
        check(name, each)


def real(name: str, value: object) -> None:
    """Require a float (NaN and the infinities are floats)."""
    if type(value) is not float:
        raise MalformedMessage(f"{name} must be a float, got {shown(value)}")


def flag(name: str, value: object) -> None:
    """Require a bool."""
    if type(value) is not bool:
        raise MalformedMessage(f"{name} must be a bool, got {shown(value)}")


def identifier(name: str, value: object) -> None:
    """Require `ID_BYTES` bytes."""
    if type(value) is not bytes or len(value) != ID_BYTES:
        raise MalformedMessage(f"{name} must be {ID_BYTES} bytes, got {shown(value)}")


def text(name: str, value: object, limit: int = limits.MAX_TEXT_BYTES) -> None:
    """Require a str that encodes to at most ``limit`` UTF-8 bytes and holds no NUL."""
    if type(value) is not str:
        raise MalformedMessage(f"{name} must be text, got {shown(value)}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise MalformedMessage(f"{name} must be valid Unicode, got {shown(value)}") from error
    if "\0" in value:
        raise MalformedMessage(f"{name} must not contain NUL, got {shown(value)}")
    if size > limit:
        raise LimitExceeded(f"{name} must be at most {limit} bytes of UTF-8, got {size}")


def file_name(name: str, value: object, limit: int) -> None:
    """Require text that is one path component: no separator, not ``.`` or ``..``."""
    text(name, value, limit)
    if value in ("", ".", "..") or "/" in str(value) or "\\" in str(value):
        raise MalformedMessage(f"{name} must be a plain file name without '/' or '\\', got {shown(value)}")


def counts(name: str, value: object) -> None:
    """Require a mapping from short text to non-negative integers, at most `limits.MAX_COUNTS` entries."""
    if not isinstance(value, dict):
        raise MalformedMessage(f"{name} must be a map of counts, got {shown(value)}")
    if len(value) > limits.MAX_COUNTS:
        raise LimitExceeded(f"{name} must have at most {limits.MAX_COUNTS} entries, got {len(value)}")
    for key, count in value.items():
        text(f"a key of {name}", key, limits.MAX_COUNT_NAME_BYTES)
        uint(f"{name}[{shown(key)}]", count)


def value_names(name: str, value: object) -> None:
    """Require a tuple of different names of an episode's values."""
    if type(value) is not tuple:
        raise MalformedMessage(f"{name} must be names of values, got {shown(value)}")
    if not value:
        return
    if len(value) > limits.MAX_EPISODE_VALUES:
        raise LimitExceeded(f"{name} must be at most {limits.MAX_EPISODE_VALUES} names, got {len(value)}")
    for key in value:
        text(f"a name of {name}", key, limits.MAX_VALUE_NAME_BYTES)
    if len(set(value)) < len(value):
        raise MalformedMessage(f"{name} must be different names, got {shown(value)}")


def episode_values(name: str, value: object) -> None:
    """Require a mapping from the names of an episode's values to floats."""
    if not isinstance(value, dict):
        raise MalformedMessage(f"{name} must be a map of numbers, got {shown(value)}")
    if value:
        value_names(name, tuple(value))
        for key, number in value.items():
            real(f"{name}[{shown(key)}]", number)


def magic(_name: str, value: object) -> None:
    """Require what a session opens with."""
    if value != MAGIC:
        raise MalformedMessage(f"a session opens with {MAGIC!r}, got {shown(value)}")


def folder(name: str, value: str) -> None:
    """Require an absolute path in its one spelling, as it is a run's identity."""
    text(name, value, limits.MAX_PATH_BYTES)
    # normpath keeps two slashes at the beginning, as POSIX leaves their meaning open
    if posixpath.normpath(value) != value or not value.startswith("/") or value.startswith("//"):
        raise MalformedMessage(f"{name} must be an absolute, normalised path, got {shown(value)}")


def video_name(name: str, value: object) -> None:
    """Require a file name to which a suffix and a part may be appended."""
    file_name(name, value, limits.MAX_NAME_BYTES)


def prefix(name: str, value: object) -> None:
    """Require the beginning of file names, or nothing."""
    if value != "":  # not its truth: None and 0 are no prefixes
        video_name(name, value)


def frame_rate(name: str, value: float) -> None:
    """Require frames per second."""
    real(name, value)
    if not 0 < value <= 1000:
        raise MalformedMessage(f"{name} must be in (0, 1000], got {value}")


def ring_seconds(name: str, value: float) -> None:
    """Require the length of a ring, or 0 for none."""
    real(name, value)
    if not 0 <= value <= limits.MAX_RING_SECONDS:
        raise MalformedMessage(f"{name} must be in 0..{limits.MAX_RING_SECONDS}, got {value}")


def seed(name: str, value: object) -> None:
    """Require an integer of 63 bits, text or None."""
    if isinstance(value, str):
        text(name, value, limits.MAX_SEED_BYTES)
    elif value is not None and (type(value) is not int or not -limits.MAX_INT <= value <= limits.MAX_INT):
        raise MalformedMessage(f"{name} must be an integer, text or None, got {shown(value)}")


def columns(name: str, value: object) -> None:
    """Require the bytes of columns; how many there must be is their record's to say."""
    if type(value) is not bytes:
        raise MalformedMessage(f"{name} must be bytes, got {shown(value)}")


def sub_environments(name: str, value: object) -> None:
    """Require a tuple of indices of sub-environments."""
    if type(value) is not tuple:
        raise MalformedMessage(f"{name} must be indices of sub-environments, got {shown(value)}")
    if len(value) > limits.MAX_PIXEL_PARTS:
        raise LimitExceeded(f"{name} must have at most {limits.MAX_PIXEL_PARTS} entries, got {len(value)}")
    for index in value:
        uint(f"an entry of {name}", index)


def preset(name: str, value: object) -> None:
    """Require one of `limits.PRESETS`, or nothing."""
    text(name, value)
    if value and value not in limits.PRESETS:
        raise MalformedMessage(f"{name} must be empty or one of {', '.join(limits.PRESETS)}, got {shown(value)}")


def crf(name: str, value: object) -> None:
    """Require a constant rate factor, or None."""
    if value is not None:
        uint(name, value, limits.MAX_CRF)


def json_bytes(name: str, value: object) -> None:
    """Require the JSON of statistics."""
    if type(value) is not bytes:
        raise MalformedMessage(f"{name} must be bytes")
    if len(value) > limits.MAX_STATS_BYTES:
        raise LimitExceeded(f"statistics are at most {limits.MAX_STATS_BYTES} bytes of JSON, got {len(value)}")


def within(limit: int, *, low: int = 0) -> Callable[[str, object], None]:
    """The check of an integer in ``low..limit``."""
    return lambda name, value: uint(name, value, limit, low=low)


UInt = Annotated[int, uint]
PositiveInt = Annotated[int, within(limits.MAX_INT, low=1)]
Real = Annotated[float, real]
Flag = Annotated[bool, flag]
Id = Annotated[bytes, identifier]
Text = Annotated[str, text]
FileName = Annotated[str, video_name]
Tiles = Annotated[int, within(limits.MAX_PIXEL_PARTS, low=1)]
Side = Annotated[int, within(limits.MAX_FRAME_SIDE)]


_CHECKS: dict[type, list[tuple[str, Callable[[str, Any], None]]]] = {}
"""By class, made when its first struct is made: the name of each field for errors, and its check."""


class Checked(msgspec.Struct, frozen=True):
    """A struct that is valid by construction: the type of each field is annotated with its check."""

    def __post_init__(self) -> None:
        cls = type(self)
        if cls not in _CHECKS:
            hints = get_type_hints(cls, include_extras=True)
            _CHECKS[cls] = [(name.rstrip("_"), hints[name].__metadata__[0]) for name in cls.__struct_fields__]
        for (name, check), value in zip(_CHECKS[cls], msgspec.structs.astuple(self), strict=True):
            check(name, value)
