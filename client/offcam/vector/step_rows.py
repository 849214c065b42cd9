"""The rows of steps of a vector env: one for each reset and each step, with values of all sub-environments."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import AutoresetMode

from offcam.recorder import readings
from offcam.recorder.steps import checked
from offcam.wrappers.step_rows import StepRows
from offcam_runs.steps.layout import RESET, STEPS, TERMINATED, TRUNCATED

if TYPE_CHECKING:
    from gymnasium import spaces
    from numpy.typing import NDArray

    from offcam.recorder.steps import StepBuffer
    from offcam.wrappers.step_rows import RecordedTape

GROUP_BYTES = 16 * 1024
"""About the largest size of a row, in bytes. More sub-environments are split into groups, each with rows of its own."""

NOBODY = -1
"""The episode number in a row for a sub-environment that took no part in it, as only others were reset."""


class VectorStepRows(StepRows):
    """The rows of a vector env: each value has its sub-environments as its first dimension.

    Args:
        space: the action space of one sub-environment.
        envs: number of sub-environments.
        autoreset_mode: that of the env: under NEXT_STEP the step after an episode's end is a reset.
        tapes: the tape of each sub-environment's base, where these are recorded for replay.
    """

    def __init__(
        self, space: spaces.Space[Any], envs: int, autoreset_mode: object, tapes: Sequence[RecordedTape] = ()
    ) -> None:
        self._mode = autoreset_mode
        self._tapes = tapes
        self._pack_tapes = struct.Struct(f"<{envs}q").pack
        self._episodes = np.full(envs, -1, "<i8")
        self._steps = np.zeros(envs, "<i4")
        self._ones = np.ones(envs, "<i4")  # numpy adds an array in half the time that it takes to add a number
        self._over = np.zeros(envs, bool)  # in which sub-environments the last step ended the episode
        self._some_begin = True  # whether episodes begin in the next step
        self._nobody = bytes(envs)  # the bytes of a flag that is set for no sub-environment
        self._numbers = b""  # the episodes' numbers, as a row has them
        self._odd = False  # whether results come for some sub-environments at a time
        super().__init__(space, envs, tapes[0] if tapes else None)

    def __getstate__(self) -> dict[str, Any]:
        """As `StepRows`: a copy of an env begins anew."""
        return {**super().__getstate__(), "_tapes": (), "_pack_tapes": None}

    def go_on_from(self, episodes: Mapping[int, int]) -> None:
        """Count on from the last episode of each sub-environment."""
        for index, episode in episodes.items():
            if index < self._envs:
                self._episodes[index] = episode

    def reset_some(self, which: NDArray[np.bool_] | None) -> None:
        """Add the row of a reset of the sub-environments of a mask, or of all. Never raises."""
        which = np.ones(self._envs, bool) if which is None else which
        self._episodes[which] += 1
        self._steps[which] = 0
        self._over &= ~which
        self._some_begin = bool(self._over.any() or (self._episodes < 0).any())
        self._numbers = self._episodes.tobytes()
        flags = which * np.uint8(RESET)
        base = (np.where(which, self._episodes, NOBODY), self._steps, np.full(self._envs, np.nan), flags)
        nan = np.full(self._envs, np.nan)
        self._add(base, self._actions.blank(), [nan] * len(self._names))

    def step_all(self, given: Any, rewards: object, terminations: object, truncations: object, info: object) -> None:  # noqa: ANN401
        """Add the row of a step; ``given`` is what the method `given` returned. Never raises."""
        if readings.places(info, self._envs) is not None or self._odd:
            self._odd, self.row = True, None
            self._say(
                "pool",
                f"no steps are recorded of a pool that steps only some of its {self._envs} sub-environments at a time: "
                "make it without a `batch_size`.",
            )
            return
        count = self._envs
        reward = readings.each(rewards, count, readings.FLOAT)
        ends = readings.each(terminations, count, readings.BOOL), readings.each(truncations, count, readings.BOOL)
        terminated, truncated = (np.zeros(count, bool) if each is None else each for each in ends)
        reward = np.full(count, np.nan) if reward is None else reward
        # most steps end no episode: to see that in the bytes takes a fraction of the time that numpy takes
        quiet = terminated.tobytes() == self._nobody == truncated.tobytes()
        np.add(self._steps, self._ones, self._steps)
        if quiet and not self._some_begin and self._add_at_once(reward, given):
            return
        given = self._values(given)
        flags: Any = self._nobody if quiet else terminated.view("u1") + truncated.view("u1") * np.uint8(TRUNCATED)
        if self._some_begin:
            reward, flags, given = self._begin_some(reward, np.frombuffer(flags, "u1"), given)
        if not quiet:
            self._over = flags & np.uint8(TERMINATED | TRUNCATED) > 0
            self._some_begin = True
        traced, self._traced = self._traced, {}
        nan = np.full(count, np.nan) if self._names else None
        traces = [traced.get(name, nan) for name in self._names]
        self._add((self._numbers, self._steps, reward, flags), given, traces)

    def _add_at_once(self, reward: NDArray[Any], given: Any) -> bool:  # noqa: ANN401 - of `given`
        """Add the row of a step in which no episode begins or ends, if its actions are one array, as in most."""
        if self._direct is None or type(given) is not bytes:
            return False
        try:
            self.row = self._direct(self._numbers, self._steps.tobytes(), reward.tobytes(), self._nobody, given)
        except readings.UNREADABLE:
            return False
        return True

    def _begin_some(self, reward: NDArray[Any], flags: NDArray[Any], given: Any) -> tuple[NDArray[Any], Any, Any]:  # noqa: ANN401
        """Begin the next episodes of sub-environments whose last one ended, and which were not reset since.

        Returns the step's rewards, flags and actions as its row is to have them.
        """
        over, begins = self._over, self._over | (self._episodes < 0)
        self._episodes[begins] += 1
        self._steps[begins] = 1
        if self._mode is AutoresetMode.NEXT_STEP and over.any():
            self._steps[over] = 0
            reward, flags = np.where(over, np.nan, reward), np.where(over, np.uint8(RESET), flags)
            given = self._without(over, given)
        self._over = np.zeros(self._envs, bool)
        self._some_begin = False
        self._numbers = self._episodes.tobytes()
        return reward, flags, given

    def _without(
        self, which: NDArray[np.bool_], packed: tuple[list[Any], list[list[bytes]]]
    ) -> tuple[list[Any], list[list[bytes]]]:
        """The values of the actions, blank for some sub-environments."""
        values, heap = packed
        left = []
        for value in values:
            rows = np.frombuffer(value, np.uint8).reshape(self._envs, -1).copy()
            rows[which] = 0
            left.append(rows.tobytes())
        return left, [[b"" if gone else part for part, gone in zip(parts, which, strict=True)] for parts in heap]

    def _check(self) -> None:
        for begin, end in self._groups():
            checked(self._layout(), end - begin)

    def _groups(self) -> Iterator[tuple[int, int]]:
        """The groups of sub-environments with a row each, as first index and the one behind the last."""
        one = checked(self._layout(), 1).row_bytes
        count = max(GROUP_BYTES // one, 1)
        return ((begin, min(begin + count, self._envs)) for begin in range(0, self._envs, count))

    def _begun(self) -> list[StepBuffer]:
        assert self._stream is not None  # noqa: S101 - attached before the first row
        self._columns = self._actions.columns
        self._parts = list(self._groups())
        make = self._stream.steps.buffer
        return [make(STEPS, self._layout(), env_index=begin, envs=end - begin) for begin, end in self._parts]

    def _write(self, base: tuple[Any, ...], packed: tuple[list[Any], list[list[bytes]]], traces: list[Any]) -> None:
        buffers = self._ready()
        values, heap = packed
        if self._tapes:
            base = (*base, self._pack_tapes(*[tape.row for tape in self._tapes]))
        whole = [each if type(each) is bytes else each.tobytes() for each in (*base, *values, *traces)]
        if not heap and len(buffers) == 1:
            self.row = buffers[0].add(*whole)
            return
        for buffer, (begin, end) in zip(buffers, self._parts, strict=True):
            part = [each[begin * len(each) // self._envs : end * len(each) // self._envs] for each in whole]
            if heap:
                self.row = buffer.add_with_heap(part, b"".join([b"".join(each[begin:end]) for each in heap]))
            else:
                self.row = buffer.add(*part)

    def _number(self, value: object) -> Any:  # noqa: ANN401 - as its column is
        """One of the agent's numbers as float64 ``(envs,)``; a single number is that of all sub-environments."""
        array = readings.each(value, self._envs, readings.FLOAT)
        return np.full(self._envs, super()._number(value)) if array is None else array
