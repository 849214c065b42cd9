"""The tape of an env as rows of its stream: of its steps, or of the table `layout.TAPE`, and of `layout.RESETS`.

As long as the recording wrapper sees each reset and step of the base, with the same action, a row of the steps is a row
of the tape, too: it only needs the digest in addition. If a wrapper between the two takes steps of its own or changes
an action, the tape goes on from there in a table of its own. Rows are numbered on, so that each number is of one row.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from offcam.recorder import readings
from offcam.recorder.actions import ActionCodec
from offcam.recorder.once import WarnsOnce
from offcam.replay.tape import DIGEST_MASK, Reset
from offcam_runs.steps.layout import DIGEST, HEAP, RESET, RESETS, TAPE, Column

if TYPE_CHECKING:
    from collections.abc import Callable

    from gymnasium import spaces

    from offcam.recorder.env_stream import EnvStream
    from offcam.recorder.steps import StepBuffer
    from offcam_runs.replay.recipe import Recipe

COLUMNS: Final = (Column("flags", "|u1"), DIGEST)
"""The columns of a row of the tape before the action's."""

RESET_COLUMNS: Final = (Column("row", "<i8"), Column("reset", HEAP), Column("recipe", HEAP))
"""The columns of a reset: its row in the tape, the packed `Reset`, and, in the first row alone, the recipe."""

_EXACT: Final = frozenset({int, np.int64, bytes, tuple})


class TapeLog:
    """A tape that is written into a stream. Thread: that of the env.

    Args:
        space: action space of the base.
        recipe: the recipe by which the base is made again.
        env_index: index of the sub-environment, 0 for a single env.

    Attributes:
        row: number of the tape's last row; -1 where there is none that counts.
        shares: whether the rows of the steps are rows of the tape, too.
        held: the flags of the last event, if that is to be written as the next row of the steps; else None.
        digest: digest of the held event, as a row has it.
        action: action of the held event, as `act` has kept it.

    Raises:
        ConfigError: actions of this space cannot be recorded.
    """

    def __init__(self, space: spaces.Space[Any], recipe: Recipe, env_index: int = 0) -> None:
        self.row = -1
        self.shares = False
        self.held: int | None = None
        self.digest = 0
        self.action: Any = None
        self._stream: EnvStream | None = None
        self._actions = ActionCodec(space)
        self._plain = self._actions.plain
        self._columns = self._actions.columns
        self._recipe = recipe.text.encode(errors="surrogatepass")
        self._env_index = env_index
        self._given = b""  # the packed `Reset`, if the held event is a reset
        self._buffer: StepBuffer | None = None
        self._resets: StepBuffer | None = None
        self._direct: Callable[..., int] | None = None  # takes a row with an action that is one value
        self._pid = 0  # id of the process whose stream has the recipe
        self._over = False
        self._say = WarnsOnce()

    def attach(self, stream: EnvStream) -> None:
        """Write the tape into this stream from now on."""
        self._stream = stream

    def share(self, columns: tuple[Column, ...]) -> None:
        """Allow rows of the steps to be rows of the tape, if the action's columns are these. Before any event."""
        exact = all(shape or dtype == HEAP or "f" not in dtype for _, dtype, shape in columns)  # -0.0 is not 0.0
        self.shares = exact and columns == self._actions.columns

    # --- what the tap tells ----------------------------------------------------------------------------------

    def act(self, action: Any) -> None:  # noqa: ANN401 - as the env takes them
        """See `Tape`."""
        if self.held is not None:
            self.part()
        if self._plain:
            self.action = action
            return
        try:
            self.action = self._actions.keep(action)
        except readings.UNREADABLE as error:
            self.action = self._blank(error)
        if self._columns is not self._actions.columns:
            self._direct = None  # until rows are laid out for such actions

    def step(self, digest: int) -> None:
        """See `Tape`."""
        if self.shares:
            self.digest = digest & DIGEST_MASK
            self.held = 0
            return
        try:
            if self._direct is not None:
                self.row = self._direct(0, digest & DIGEST_MASK, self.action)
                return
        except readings.UNREADABLE:  # the action is no number or array as the row has it
            pass
        self._add_step(digest)

    def reset(self, given: bytes, digest: int) -> None:
        """See `Tape`."""
        if self.held is not None:
            self.part()
        if self.shares:
            self.digest = digest & DIGEST_MASK
            self.held, self._given = RESET, given
            return
        self._add_reset(given, digest)

    def end(self, why: str) -> None:
        """See `Tape`."""
        self.part()
        self.row = -1
        self._over = True
        self._direct = None
        self._say("end", f"episodes cannot be replayed from here on: {why}.")

    # --- events as rows of the steps ---------------------------------------------------------------------------

    def fits(self, flags: int, given: Any) -> bool:  # noqa: ANN401 - as `act` has kept it
        """Whether the held event has these flags and, for a step, this action, so that it can be a row of the steps.

        If not, rows of the steps are not rows of the tape any more.
        """
        same = self.held == flags & RESET and (
            self.held == RESET or given is self.action or (_exact(given, self.action) and given == self.action)
        )
        if not same:
            self.part()
        return same

    def kept(self, row: int) -> None:
        """The held event was written as this row of the steps."""
        before, self.row = self.row, row
        held, self.held = self.held, None
        if held == RESET:
            self._tell_reset(self._given, before)

    def part(self) -> None:
        """From now on rows of the steps are not rows of the tape: the held event becomes a row of the tape's table."""
        held, self.held, self.shares = self.held, None, False
        if held == RESET:
            self._add_reset(self._given, self.digest)
        elif held is not None:
            self._add_step(self.digest)

    # --- rows ------------------------------------------------------------------------------------------------

    def _blank(self, error: Exception) -> tuple[list[Any], list[list[bytes]]]:
        """The values in place of an action that cannot be read: its episode cannot be replayed."""
        self._say("action", f"an action cannot be kept, so its episode cannot be replayed: {error}.")
        return self._actions.blank()

    def _add_step(self, digest: int) -> None:
        try:
            packed = self._actions.packed(self.action)
        except readings.UNREADABLE as error:
            packed = self._blank(error)
        self._add(0, digest, *packed)

    def _add_reset(self, given: bytes, digest: int) -> None:
        before = self.row
        if self._add(RESET, digest, *self._actions.blank()):
            self._tell_reset(given, before)

    def _add(self, flags: int, digest: int, values: Any, heap: Any) -> bool:  # noqa: ANN401 - as ActionCodec has them
        """Write a row. Returns whether it is there; never raises."""
        if self._over or self._stream is None:
            return False
        try:
            buffer = self._ready()
            if heap:
                row = [flags, digest & DIGEST_MASK, *values]
                self.row = buffer.add_with_heap(row, b"".join([part for (part,) in heap]))
            else:
                self.row = buffer.add(flags, digest & DIGEST_MASK, *values)
        except readings.UNREADABLE as error:
            self.row = -1
            self._say("row", f"an episode cannot be replayed: {error}.")
            return False
        return True

    def _tell_reset(self, given: bytes, before: int) -> None:
        """Add the reset of the last row to the table of resets; ``before`` was the last row before that."""
        new = self._pid != os.getpid() or self.row <= before  # the stream is a new one, as after a fork or release
        try:
            self._add_given(given, new=new)
        except OverflowError:
            self._add_given(Reset(why="what its reset was given is too large to be kept").pack(), new=new)

    def _add_given(self, given: bytes, *, new: bool) -> None:
        assert self._stream is not None  # noqa: S101 - the row of the tape is in it
        if self._resets is None:
            self._resets = self._stream.steps.buffer(RESETS, RESET_COLUMNS, env_index=self._env_index)
        recipe = self._recipe if new else b""
        self._resets.add_with_heap((self.row, len(given), len(recipe)), given + recipe)
        self._pid = os.getpid()
        if new:
            self._resets.seal()  # at once: it says of the run that its episodes can be rendered

    def _ready(self) -> StepBuffer:
        """The buffer of the tape's table, laid out for the columns that an action has by now."""
        if self._buffer is None:
            assert self._stream is not None  # noqa: S101 - else no row is written
            make = self._stream.steps.buffer
            self._buffer = make(TAPE, self._layout(), env_index=self._env_index, first_row=self.row + 1)
        elif self._columns is not self._actions.columns:
            self._buffer.change(self._layout())
        self._columns = self._actions.columns
        self._direct = None if self._actions.many else self._buffer.add
        return self._buffer

    def _layout(self) -> tuple[Column, ...]:
        return (*COLUMNS, *self._actions.columns)


def _exact(*actions: object) -> bool:
    """Whether equality of these actions means that they are the same in every bit."""
    return all(type(each) in _EXACT for each in actions)
