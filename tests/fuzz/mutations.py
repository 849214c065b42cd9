"""Messages that once were valid: the golden vectors after something happened to them."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import msgpack

VECTORS = Path(__file__).parents[2] / "proto" / "vectors"

ODD: list[Any] = [
    *(None, True, False, math.nan, math.inf, -math.inf, 0.0, 1e308),
    *(-(2**63), -1, 0, 1, 2, 255, 65_536, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1),
    *("", ".", "..", "/", "//", "/..", "a/b", "a\\b", "a\0b", "x" * 5000, "\U0001f3a5", "\u202e\n\x1b[2J", "offcam"),
    *(b"", b"\0", bytes(16), b"x" * 70_000),
    *([], {}, [[]], {"a": 1}, {b"a": b"b"}, {1: 2}, [0] * 5000, [b"a"] * 1025, [[[1, 1], [1, 1], 0]] * 300),
    *(msgpack.ExtType(5, b"abc"), msgpack.Timestamp(1, 1)),
]
HEADS = [bytes([code]) for code in range(0x80, 0xE0)]
LENGTHS = [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\x7f\xff\xff\xff", b"\xc1"]
CODES = [*range(13), *range(62, 76), 127, 128, 255, -1]


def corpus(side: str) -> list[list[bytes]]:
    """The parts of every golden message that a side (``client`` or ``daemon``) sends, the invalid ones too."""
    vectors = [
        vector
        for name in ("messages.json", "invalid.json")
        for vector in json.loads((VECTORS / name).read_text("utf-8"))
    ]
    return [[bytes.fromhex(part) for part in vector["parts"]] for vector in vectors if vector["from"] == side]


class Mutator:
    """An endless stream of altered messages, the same one for the same seed."""

    def __init__(self, messages: list[list[bytes]], seed: int) -> None:
        self.rng = random.Random(seed)
        self.messages = messages

    def one(self) -> list[bytes]:
        """One message's parts, altered once or more often; never none at all."""
        parts = list(self.rng.choice(self.messages)) or [b""]
        while True:
            parts = self._altered(parts) or [b""]
            if self.rng.random() < 0.6:
                return parts

    def _altered(self, parts: list[bytes]) -> list[bytes]:
        kind = self.rng.random()
        if kind < 0.55:
            return [self._field(parts[0]), *parts[1:]]
        if kind < 0.85:
            place = self.rng.randrange(len(parts))
            return [*parts[:place], self._bytes(parts[place]), *parts[place + 1 :]]
        return self._parts(parts)

    def _field(self, header: bytes) -> bytes:
        """The header with one of its values, at any depth, replaced, removed or doubled; or another type code."""
        try:
            values = msgpack.unpackb(header, strict_map_key=False)
        except (ValueError, TypeError, RecursionError):
            return self._bytes(header)
        if isinstance(values, list) and values and self.rng.random() < 0.1:
            values[0] = self.rng.choice(CODES)
        else:
            values = self._value(values)
        packed: bytes = msgpack.packb(values)
        return packed

    def _value(self, value: Any) -> Any:
        rng = self.rng
        if type(value) is int and rng.random() < 0.7:
            return max(-(2**63), min(2**64 - 1, value + rng.choice((-1, 1, 2, -256, 2**32))))
        if not isinstance(value, list) or not value or rng.random() < 0.08:
            return rng.choice(ODD)
        place = rng.randrange(len(value))
        match rng.randrange(6):
            case 0:
                return [*value[:place], *value[place + 1 :]]
            case 1:
                return [*value[:place], value[place], *value[place:]]
            case _:
                return [*value[:place], self._value(value[place]), *value[place + 1 :]]

    def _bytes(self, data: bytes) -> bytes:  # noqa: PLR0911 - one for each way
        rng = self.rng
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.randrange(9))
        match rng.randrange(6):
            case 0:  # flip a bit
                if start < len(data):
                    return data[:start] + bytes([data[start] ^ 1 << rng.randrange(8)]) + data[start + 1 :]
                return data + b"\0"
            case 1:  # cut off
                return data[:start]
            case 2:  # say that there is more than there is
                return data[:start] + rng.choice(LENGTHS) + data[end:]
            case 3:  # another type of value
                return data[:start] + rng.choice(HEADS) + data[start + 1 :]
            case 4:  # twice
                return data[:end] + data[start:]
            case _:
                return data[:start] + rng.randbytes(rng.randrange(9)) + data[end:]

    def _parts(self, parts: list[bytes]) -> list[bytes]:
        rng = self.rng
        match rng.randrange(5):
            case 0:
                return parts[:-1]
            case 1:
                return [*parts, rng.choice([b"", b"\0", bytes(18)])]
            case 2:
                return parts * 2
            case 3:
                return [*rng.choice(self.messages)[:1], *parts[1:]]
            case _:
                return [*parts, *[b"\0"] * rng.choice((1, 40, 5000 if rng.random() < 0.01 else 3))]
