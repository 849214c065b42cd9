"""The tape of an env in the steps of its stream: the tables `layout.TAPE` and `layout.RESETS`."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any, Final

from gymnasium import logger

from offcam.recorder import readings
from offcam.recorder.actions import ActionCodec
from offcam.recorder.steps import flags_of
from offcam.replay.tape import DIGEST_MASK, Reset
from offcam_proto.errors import ActionError, ConfigError
from offcam_runs.steps.layout import HEAP, RESET, RESETS, TAPE, Column

if TYPE_CHECKING:
    from collections.abc import Callable

    from gymnasium import spaces

    from offcam.recorder.env_stream import EnvStream
    from offcam.recorder.steps import StepBuffer
    from offcam_runs.replay.recipe import Recipe

COLUMNS: Final = (Column("episode", "<i8"), Column("flags", "|u1"), Column("digest", "<u4"))
"""The columns of a row of the tape before the action's."""

RESET_COLUMNS: Final = (
    Column("episode", "<i8"), Column("row", "<i8"), Column("reset", HEAP), Column("recipe", HEAP)
)  # fmt: skip
"""The columns of a reset: the row of the tape that it is, and what it was given; with the first one the recipe."""

_MISFITS = (ActionError, ConfigError, OverflowError, struct.error, *readings.UNREADABLE)


class TapeLog:
    """Where a `Tap` tells, written into a stream. It belongs to whoever steps the env.

    Args:
        space: of the base's actions.
        recipe: what the base is made from again.
        env_index: which sub-environment it is, 0 for a single env.

    Attributes:
        row: number of the last row in its stream; -1 where there is none that counts.

    Raises:
        ConfigError: actions of this space cannot be recorded.
    """

    def __init__(self, space: spaces.Space[Any], recipe: Recipe, env_index: int = 0) -> None:
        self.row = -1
        self._stream: EnvStream | None = None
        self._actions = ActionCodec(space)
        self._columns = self._actions.columns
        self._recipe = recipe.text.encode(errors="surrogatepass")
        self._env_index = env_index
        self._episode = -1
        self._action: Any = None
        self._buffer: StepBuffer | None = None
        self._resets: StepBuffer | None = None
        self._direct: Callable[..., int] | None = None  # what takes a row with an action that is one integer
        self._pid = 0  # whose stream has the recipe
        self._over = False
        self._said: set[str] = set()

    def attach(self, stream: EnvStream) -> None:
        """It goes into this stream."""
        self._stream = stream

    def act(self, action: Any) -> None:  # noqa: ANN401 - as the env takes them
        """An action is about to be given to a step: it is to be kept as it is now."""
        self._action = action if self._actions.plain else self._packed(action)

    def step(self, digest: int, terminated: object, truncated: object) -> None:
        """That step has returned, and the episode's digest is this; the flags are the env's own."""
        flags = 0 if terminated is False is truncated else flags_of(terminated, truncated)
        action = self._action
        try:
            if self._direct is not None:
                self.row = self._direct(self._episode, flags, digest & DIGEST_MASK, action)
                return
        except _MISFITS:  # it is not one integer as it is
            pass
        self._add(flags, digest, *(self._packed(action) if self._actions.plain else action))

    def reset(self, given: bytes, digest: int) -> None:
        """A reset has returned that was this `Reset`, packed, and the digest is this."""
        self._episode += 1
        before = self.row
        if not self._add(RESET, digest, *self._actions.blank()):
            return
        new = self._pid != os.getpid() or self.row <= before  # the stream is another one, as once it was released
        try:
            self._add_reset(given, new=new)
        except OverflowError:
            self._add_reset(Reset(why="what it was given is too large to be kept").pack(), new=new)

    def end(self, why: str) -> None:
        """Nothing more is told."""
        self.row = -1
        self._over = True
        self._direct = None
        self._say("end", f"episodes cannot be replayed from here on: {why}.")

    def _packed(self, action: Any) -> tuple[list[Any], list[list[bytes]]]:  # noqa: ANN401 - as the env takes them
        """An action as `ActionCodec` has it; none where it cannot be read: its episode will not happen again."""
        try:
            return self._actions.pack(action)
        except _MISFITS as error:
            self._say("action", f"an action cannot be kept, so its episode cannot be replayed: {error}.")
            return self._actions.blank()

    def _add(self, flags: int, digest: int, values: Any, heap: Any) -> bool:  # noqa: ANN401 - as ActionCodec has them
        """Write a row. Returns whether it is there; never raises."""
        if self._over or self._stream is None:
            return False
        try:
            buffer = self._ready()
            if heap:
                row = [self._episode, flags, digest & DIGEST_MASK, *values]
                self.row = buffer.add_with_heap(row, b"".join([part for (part,) in heap]))
            else:
                self.row = buffer.add(self._episode, flags, digest & DIGEST_MASK, *values)
        except _MISFITS as error:
            self.row = -1
            self._say("row", f"an episode cannot be replayed: {error}.")
            return False
        return True

    def _add_reset(self, given: bytes, *, new: bool) -> None:
        assert self._stream is not None  # noqa: S101 - the row of the tape is in it
        if self._resets is None:
            self._resets = self._stream.steps.buffer(RESETS, RESET_COLUMNS, env_index=self._env_index)
        recipe = self._recipe if new else b""
        self._resets.add_with_heap((self._episode, self.row, len(given), len(recipe)), given + recipe)
        self._pid = os.getpid()

    def _ready(self) -> StepBuffer:
        """Its buffer, for rows of the columns that there are by now."""
        if self._buffer is None:
            assert self._stream is not None  # noqa: S101 - else no row is written
            self._buffer = self._stream.steps.buffer(TAPE, self._layout(), env_index=self._env_index)
        elif self._columns is not self._actions.columns:
            self._buffer.change(self._layout())
        self._columns = self._actions.columns
        self._direct = self._buffer.add if self._actions.plain else None
        return self._buffer

    def _layout(self) -> tuple[Column, ...]:
        return (*COLUMNS, *self._actions.columns)

    def _say(self, about: str, text: str) -> None:
        if about not in self._said:
            self._said.add(about)
            logger.warn(f"{text} (Said once.)")
