"""The rows that a wrapper records of its env: one for each reset and each step, in the table `layout.STEPS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from offcam.recorder import readings
from offcam.recorder.actions import ActionCodec
from offcam.recorder.once import WarnsOnce
from offcam.recorder.steps import checked, flags_of
from offcam_proto.errors import ConfigError
from offcam_proto.limits import MAX_VALUE_NAME_BYTES
from offcam_runs.steps.layout import DIGEST, FIRST_COLUMNS, RESET, STEPS, Column

if TYPE_CHECKING:
    from gymnasium import spaces

    from offcam.recorder.env_stream import EnvStream
    from offcam.recorder.steps import StepBuffer

TAPE_ROW = Column("tape", "<i8")
"""Last column of the rows of an env that can be replayed: the number of the tape's last row, -1 where there is none. As
long as the rows are rows of the tape themselves, `DIGEST` is in its place."""

MOST_TRACES = 64
RESERVED = frozenset({"episode", "step", "reward", "flags", "tape", "digest", "action"})
NAN = float("nan")


class RecordedTape(Protocol):
    """The tape of an env's base, as `offcam.replay.tape_log.TapeLog` writes it, which see for the members' meaning."""

    row: int
    shares: bool
    held: int | None
    digest: int
    action: Any

    def share(self, columns: tuple[Column, ...]) -> None:
        """Allow rows of the steps to be rows of the tape, too, if their action's columns are these."""

    def fits(self, flags: int, given: Any) -> bool:  # noqa: ANN401 - an action, as `ActionCodec.keep` has it
        """Whether the event that the tape holds has these flags and this action, so that both can be one row."""

    def kept(self, row: int) -> None:
        """Take note that the held step or reset is written as this row."""


class StepRows:
    """The rows of a single env. Thread: that of the env.

    Args:
        space: the env's action space.
        envs: how many sub-environments an action is for, 0 for a single env.
        tape: the tape of a single env's base, if that is recorded, too. Each row then is a row of the tape, or says how
            far the tape had come.

    Attributes:
        row: number of the last row in its stream; None before there is one.
        plain: whether actions are single integers, which `given` returns as they are.

    Raises:
        ConfigError: actions of this space cannot be recorded.
    """

    def __init__(self, space: spaces.Space[Any], envs: int = 0, tape: RecordedTape | None = None) -> None:
        self.row: int | None = None
        self._envs = envs
        self._tape = tape
        self._actions = ActionCodec(space, envs)
        self._columns = self._actions.columns
        self.plain = self._actions.plain
        self._traced: dict[str, Any] = {}  # by name, the agent's numbers for the step that follows
        self._names: tuple[str, ...] = ()
        self._say = WarnsOnce()
        self._stream: EnvStream | None = None
        self._buffers: list[StepBuffer] = []
        self._step = 0
        self._direct: Callable[..., int] | None = None  # takes a row with an action that is one value
        if tape is not None:
            tape.share(self._actions.columns)
        self._shares = tape is not None and tape.shares  # whether rows are laid out as those of the tape, too
        self._check()

    def __getstate__(self) -> dict[str, Any]:
        """A copy of an env begins anew, in a stream of its own."""
        return {**self.__dict__, "row": None, "_buffers": [], "_direct": None, "_tape": None, "_shares": False}

    def _check(self) -> None:
        checked(self._layout(), 0)

    def attach(self, stream: EnvStream) -> None:
        """Write the rows into this stream from now on."""
        self._stream = stream

    def trace(self, numbers: Mapping[str, object]) -> None:
        """Take the agent's numbers for the step that follows. Never raises."""
        for name, number in numbers.items():
            if name in self._names or self._accepts(name):
                self._traced[name] = self._number(number)

    def given(self, action: Any) -> Any:  # noqa: ANN401 - of any space
        """What `step` needs of an action, taken before the env is given it, as the env may change it. Never raises."""
        try:
            kept = self._actions.keep(action)
        except readings.UNREADABLE as error:
            return self._blank(error)
        if self._columns is not self._actions.columns:
            self._direct = None  # until rows are laid out for such actions
        return kept

    def step(self, episode: int, given: Any, reward: object, terminated: object, truncated: object) -> None:  # noqa: ANN401
        """Add the row of a step that was taken; ``given`` is what the method `given` returned. Never raises."""
        self._step += 1
        if not isinstance(reward, float):  # numpy's float64 is a float, too
            reward = readings.as_float(reward)
        flags = 0 if terminated is False is truncated else flags_of(terminated, truncated)
        if (direct := self._direct) is not None:
            tape = self._tape
            try:
                if tape is None:
                    self.row = direct(episode, self._step, reward, flags, given)
                    return
                action = tape.action
                if tape.held == 0 and (action is given or (type(given) is bytes and action == given)):
                    self.row = tape.row = direct(episode, self._step, reward, flags, tape.digest, given)
                    tape.held = None
                    return
                if not self._shares:
                    self.row = direct(episode, self._step, reward, flags, tape.row, given)
                    return
            except readings.UNREADABLE:  # the action is no number or array as the row has it
                pass
        traced, self._traced = self._traced, {}
        traces = [traced.get(name, NAN) for name in self._names] if self._names else []
        base = episode, self._step, reward, flags
        self._add_taped(base, given, self._values(given), traces)

    def reset(self, episode: int) -> None:
        """Add the row of a reset. Never raises."""
        self._step = 0
        self._add_taped((episode, 0, NAN, RESET), None, self._actions.blank(), [NAN] * len(self._names))

    def _values(self, given: Any) -> tuple[list[Any], list[list[bytes]]]:  # noqa: ANN401 - of any space
        """The values of an action's columns; blank where it cannot be read, of which one warning tells."""
        try:
            return self._actions.packed(given)
        except readings.UNREADABLE as error:
            return self._blank(error)

    def _blank(self, error: Exception) -> tuple[list[Any], list[list[bytes]]]:
        self._say("action", f"an action is missing in the steps, and 0 stands for it: {error}.")
        return self._actions.blank()

    def _add_taped(self, base: tuple[Any, ...], given: Any, packed: Any, traces: list[Any]) -> None:  # noqa: ANN401
        """Add a row that is one of the tape, too, or says how far the tape has come."""
        tape = self._tape
        if tape is None:
            self._add(base, packed, traces)
            return
        fits = tape.shares and tape.fits(base[-1], given)
        self._add((*base, tape.digest if fits else tape.row), packed, traces)
        if fits and self.row is not None:
            tape.kept(self.row)

    def _add(self, base: tuple[Any, ...], packed: tuple[list[Any], list[list[bytes]]], traces: list[Any]) -> None:
        """Write a row; if the action does not fit into its columns, with a blank one."""
        try:
            self._write(base, packed, traces)
        except readings.UNREADABLE as error:
            self._say("row", f"an action is missing in the steps, and 0 stands for it: {error}.")
            try:
                self._write(base, self._actions.blank(), traces)
            except readings.UNREADABLE as another:
                self.row = None
                self._say("rows", f"steps of {self._stream and self._stream.folder} are missing: {another}.")

    def _write(self, base: tuple[Any, ...], packed: tuple[list[Any], list[list[bytes]]], traces: list[Any]) -> None:
        (buffer,) = self._ready()
        values, heap = packed
        if heap:
            self.row = buffer.add_with_heap([*base, *values, *traces], b"".join([part for (part,) in heap]))
        else:
            self.row = buffer.add(*base, *values, *traces)

    def _ready(self) -> list[StepBuffer]:
        """The buffers, laid out for the columns that a row has by now."""
        if not self._buffers:
            self._buffers = self._begun()
        shares = self._tape is not None and self._tape.shares
        if self._columns is not self._actions.columns or self._shares is not shares:
            self._shares = shares
            for buffer in self._buffers:
                buffer.change(self._layout())
            self._columns = self._actions.columns
        one = len(self._buffers) == 1 and not self._names and not self._actions.many
        self._direct = self._buffers[0].add if one else None
        return self._buffers

    def _begun(self) -> list[StepBuffer]:
        assert self._stream is not None  # noqa: S101 - attached before the first row
        self._columns = self._actions.columns
        return [self._stream.steps.buffer(STEPS, self._layout())]

    def _layout(self) -> tuple[Column, ...]:
        base = FIRST_COLUMNS if self._tape is None else (*FIRST_COLUMNS, DIGEST if self._tape.shares else TAPE_ROW)
        return (*base, *self._actions.columns, *[Column(name, "<f8") for name in self._names])

    def _accepts(self, name: str) -> bool:
        """Add a column for one of the agent's numbers. Returns False, with one warning, where there can be none."""
        if name in RESERVED or name.startswith("action."):
            return self._refuse(name, "it is the name of one of its own: choose another name")
        if not name or "\0" in name or len(name.encode(errors="replace")) > MAX_VALUE_NAME_BYTES:
            return self._refuse(name, f"a name is text of at most {MAX_VALUE_NAME_BYTES} bytes: choose a shorter one")
        if len(self._names) == MOST_TRACES:
            return self._refuse(name, f"there are {MOST_TRACES} already: leave some of them out")
        before, self._names = self._names, (*self._names, name)
        try:
            for buffer in self._buffers:
                buffer.change(self._layout())
            self._check()
        except ConfigError as error:
            self._names = before
            return self._refuse(name, str(error))
        self._columns = self._actions.columns
        self._direct = None
        return True

    def _refuse(self, name: str, why: str) -> bool:
        self._say(f"trace {name}" if len(self._say.about) < MOST_TRACES else "trace", f"{name!r} is not traced: {why}.")
        return False

    def _number(self, value: object) -> Any:  # noqa: ANN401 - as its column is
        return NAN if isinstance(value, (str, bytes)) else readings.as_float(value)
