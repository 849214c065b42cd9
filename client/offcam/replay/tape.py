"""The tape of an env: all resets and steps at its base, in order, with a digest of what the env returned.

Rows are numbered from 0. A row of a reset begins an episode of the tape, which goes on to the next reset. It may differ
from an episode of the recording wrapper, as where a wrapper in between takes steps within its own reset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from offcam.replay import portable

DIGEST_BITS = 24
"""How many bits of each digest a tape has, as they cannot be compressed. A step that differs has the same bits once in
16 million. As each digest depends on the one before, the difference then shows in the next step."""

DIGEST_MASK = 2**DIGEST_BITS - 1


class Reset(NamedTuple):
    """A reset of the base: its arguments, and the env's state before it.

    Attributes:
        seed: the seed, as it was given.
        options: the options, as they were given.
        random: the state of the random generator before the reset, if no seed was given: see `random_state`.
        hooks: by name, the states that hooks kept before the reset, if no seed was given: see `hooks`.
        why: why the reset cannot be replayed; empty where it can.
    """

    seed: Any = None
    options: Any = None
    random: dict[str, Any] | None = None
    hooks: dict[str, Any] = {}  # noqa: RUF012 - never changed
    why: str = ""

    def pack(self) -> bytes:
        """Pack the reset as bytes, for a tape.

        Raises:
            NotReplayable: something in it cannot be packed.
        """
        return portable.pack(tuple(self))

    @staticmethod
    def unpack(data: bytes) -> Reset:
        """Unpack a reset.

        Raises:
            MalformedMessage: the bytes are not those of a reset.
        """
        return Reset(*portable.unpack(data))


class Event(NamedTuple):
    """A row of a tape.

    Attributes:
        row: number of the row.
        reset: the reset; None where the row is a step.
        action: the action of the step.
        digest: the low `DIGEST_BITS` of the episode's digest after this event.
    """

    row: int
    reset: Reset | None
    action: Any
    digest: int


class Tape(Protocol):
    """A tape that a `Tap` tells of what happens. No method raises. Thread: that of the env."""

    def act(self, action: Any) -> None:  # noqa: ANN401 - as the env takes them
        """A step is about to be called with this action, which must be copied. Without `step` next, it raised."""

    def step(self, digest: int) -> None:
        """The step has returned; ``digest`` is that of the episode so far, 64 bits."""

    def reset(self, given: bytes, digest: int) -> None:
        """A reset has returned: ``given`` is the packed `Reset`, and ``digest`` that of the new episode, 64 bits."""

    def end(self, why: str) -> None:
        """Nothing more is told, as what the env returns cannot be checked."""


class TapeReader(Protocol):
    """A tape that is read. Its methods raise the errors of reading its files."""

    @property
    def resets(self) -> Sequence[int]:
        """Numbers of the rows of resets, ascending."""

    def events(self, begin: int, end: int) -> Iterator[Event]:
        """The rows [begin, end), in order, without those that are lost."""
