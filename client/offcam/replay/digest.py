"""A digest of everything that an env returned in an episode so far: episodes with equal digests are equal."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import xxhash

from offcam.recorder import readings
from offcam_proto.errors import NotReplayable

_hash: Callable[[Any, int], int] = xxhash.xxh3_64_intdigest  # typed here, as its stubs do not take numpy's buffers
_flags = struct.Struct("<d??").pack
_NUMBERS: Final = frozenset({float, int, bool, np.bool_, *(np.dtype(code).type for code in "bBhHiIqQefd")})
_FLAGS: Final = frozenset({bool, np.bool_})


class Digest:
    """The digest of an episode so far; it changes with each step.

    Attributes:
        value: the digest, 64 bits.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def begin(self, observation: object) -> int:
        """Go on to an episode's first observation.

        Raises:
            NotReplayable: as `go_on`.
        """
        self.value = _observed(observation, 0)
        return self.value

    def go_on(self, observation: object, reward: object, terminated: object, truncated: object) -> int:
        """Go on by a step.

        Args:
            observation: any structure of arrays, numbers and text. Its bytes are hashed, without a copy where they are
                contiguous.
            reward: a number, or a structure of numbers as in an env of many agents.
            terminated: a flag, or a structure of flags.
            truncated: as ``terminated``.

        Raises:
            NotReplayable: something has no bytes that mean the same in another process, or is in a device's memory.
        """
        seen = _observed(observation, self.value)
        if type(reward) in _NUMBERS and type(terminated) in _FLAGS and type(truncated) in _FLAGS:
            try:
                self.value = value = _hash(_flags(reward, terminated, truncated), seen)
            except (OverflowError, struct.error):  # an integer that is too large for a float
                pass
            else:
                return value
        self.value = _folded((reward, terminated, truncated), seen)
        return self.value


def _observed(observation: Any, seed: int) -> int:  # noqa: ANN401 - see go_on
    if type(observation) is np.ndarray and not observation.dtype.hasobject:
        try:
            return _hash(observation, seed)
        except ValueError:  # it is not contiguous
            return _hash(observation.tobytes(), seed)
    return _folded(observation, seed)


def _folded(value: Any, digest: int) -> int:  # noqa: ANN401 - see go_on
    for part in _parts(value):
        digest = _hash(part, digest)
    return digest


def _parts(value: Any) -> Iterator[bytes]:  # noqa: ANN401 - see go_on
    """The bytes of a structure, piece by piece. Each piece begins with its kind, so that none is taken for another."""
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        value = value.tolist()
    if isinstance(value, (np.ndarray, np.generic)):
        yield f"{value.dtype.str}{value.shape}".encode()
        yield value.tobytes()
    elif value is None or isinstance(value, (bool, int)):
        yield b"none" if value is None else f"{type(value).__name__} {value:d}".encode()
    elif isinstance(value, float):
        yield struct.pack("<5sd", b"float", value)
    elif isinstance(value, (str, bytes)):
        yield type(value).__name__.encode()
        yield value.encode(errors="surrogatepass") if isinstance(value, str) else value
    elif isinstance(value, dict):
        yield f"dict {len(value)}".encode()
        for item in value.items():
            yield from _parts(item)
    elif isinstance(value, (list, tuple)):
        yield f"items {len(value)}".encode()
        for each in value:
            yield from _parts(each)
    else:
        yield from _parts(_array(value))


def _array(value: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401 - see go_on
    """An array of another library, such as a torch tensor on the CPU, as numpy's."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if readings.on_device(value):
        raise NotReplayable(f"a {kind} in a device's memory cannot be checked without waiting for the device")
    try:
        found = np.asarray(value.detach() if hasattr(value, "detach") else value)
    except readings.UNREADABLE as error:
        raise NotReplayable(f"a {kind} cannot be read as an array: {error}") from error
    if found.dtype.hasobject:
        raise NotReplayable(f"a {kind} has no bytes that mean the same in another process")
    return found
