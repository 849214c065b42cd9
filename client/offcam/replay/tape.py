"""The tape of an env: what was done to it at its base, in order, and what it answered, as a digest.

Rows are numbered from 0. A row of a reset begins an episode of the tape, which ends before the next one: it may be less
or more than an episode of the wrapper's, as where a wrapper takes steps within its reset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from offcam.replay import portable

DIGEST_BITS = 24
"""How much of a digest a tape has: noise, which no compression makes less of. One in 16 million of other steps has the
same. Digests are chained: what is wrong once is wrong in all that follows, too, so that is found one step later."""

DIGEST_MASK = 2**DIGEST_BITS - 1


class Reset(NamedTuple):
    """A reset of the base, as it was called, and what the env went on from.

    Attributes:
        seed: as it was given.
        options: as they were given.
        random: the state of its generator before, where no seed was given: see `random_state`.
        hooks: the states that hooks kept before, where no seed was given: see `hooks`.
        why: why it cannot be done again; empty where it can.
    """

    seed: Any = None
    options: Any = None
    random: dict[str, Any] | None = None
    hooks: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it
    why: str = ""

    def pack(self) -> bytes:
        """As bytes, for a tape.

        Raises:
            NotReplayable: something in it cannot be written down.
        """
        return portable.pack(tuple(self))

    @staticmethod
    def unpack(data: bytes) -> Reset:
        """The reset that bytes are of.

        Raises:
            MalformedMessage: they are of none.
        """
        return Reset(*portable.unpack(data))


class Event(NamedTuple):
    """A row of a tape.

    Attributes:
        row: its number.
        reset: the reset that it is of; None where it is a step.
        action: what was given to the step.
        digest: the low `DIGEST_BITS` of the episode's digest behind it.
    """

    row: int
    reset: Reset | None
    action: Any
    digest: int


class Tape(Protocol):
    """Where a `Tap` tells what happens. Neither raises. Thread: the env's."""

    def act(self, action: Any) -> None:  # noqa: ANN401 - as the env takes them
        """An action is about to be given to a step: it is to be kept as it is now. Untold: the step did not return."""

    def step(self, digest: int) -> None:
        """That step has returned, and the episode's digest is this, 64 bits."""

    def reset(self, given: bytes, digest: int) -> None:
        """A reset has returned that was this `Reset`, packed, and the digest is this, 64 bits."""

    def end(self, why: str) -> None:
        """Nothing more is told, since what the env says cannot be checked."""


class TapeReader(Protocol):
    """A tape that is read. It raises what its files have it raise."""

    @property
    def resets(self) -> Sequence[int]:
        """The numbers of the rows of resets, ascending."""

    def events(self, begin: int, end: int) -> Iterator[Event]:
        """The rows from ``begin`` on and before ``end``, in order. Fewer where some are lost."""
