"""What an env hands over, read without raising and without waiting for a device. What cannot be read is unknown."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

UNREADABLE = (ArithmeticError, AttributeError, BufferError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What numpy, torch, JAX and the like raise for what is not what it was taken for; torch says RuntimeError to most."""

FLOAT, BOOL = np.dtype(float), np.dtype(bool)

_HOST_MEMORY = (1, 3, 11)
"""The kinds of memory, as DLPack numbers them, that are read without a device: plain, pinned for CUDA, for ROCm."""


def on_device(value: object) -> bool:
    """Whether it lies in a device's memory: to look at it would make the agent's thread wait for the device."""
    try:
        return hasattr(value, "__dlpack_device__") and int(value.__dlpack_device__()[0]) not in _HOST_MEMORY
    except UNREADABLE:
        return False


def as_float(value: Any) -> float:  # noqa: ANN401 - a reward of whatever kind the env gives
    """A reward or return as a float; NaN where it is no single number, as the record must have one."""
    if type(value) is float:
        return value
    try:
        if on_device(value):
            return float("nan")
        return float(value.item() if isinstance(value, np.ndarray) else value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    except UNREADABLE:
        return float("nan")


def added(total: Any, reward: Any) -> Any:  # noqa: ANN401 - the env's own numeric type
    """A sum and a reward: of the reward's own type, as in Gymnasium, and NaN from where they do not add up."""
    try:
        return total + reward
    except UNREADABLE:
        return float("nan")


def flag(value: Any) -> bool | None:  # noqa: ANN401 - a flag of whatever kind the env gives
    """Whether a flag is set; None where it is no single one, as of many envs or agents, or where a device has it."""
    if type(value) is bool:
        return value
    try:
        if value is None or (hasattr(value, "__len__") and not hasattr(value, "shape")) or on_device(value):
            return None  # a dict by agent is not set because it is not empty
        return None if getattr(value, "shape", ()) and np.prod(value.shape) != 1 else bool(value)
    except UNREADABLE:
        return None


def over(terminated: object, truncated: object) -> bool | None:
    """Whether an episode is over, from its two flags; None where nobody can tell."""
    if type(terminated) is bool and type(truncated) is bool:
        return terminated or truncated
    flags = flag(terminated), flag(truncated)
    return True if True in flags else None if None in flags else False


def at(index: int, values: Any) -> Any:  # noqa: ANN401 - rewards or flags of whatever kind a vector env gives
    """What a sub-environment has; None where there is none."""
    try:
        return None if isinstance(values, dict) or on_device(values) else values[index]
    except UNREADABLE:
        return None


def each(values: Any, count: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any] | None:  # noqa: ANN401 - as above
    """Rewards or flags of ``count`` envs as an array ``(count,)``; None where they are none, or a device has them."""
    if type(values) is np.ndarray and values.dtype is dtype and values.shape == (count,):
        return values
    try:
        parts = values if isinstance(values, (list, tuple)) else (values,)
        if isinstance(values, dict) or any(map(on_device, parts)):
            return None
        array = np.asarray(values.detach() if hasattr(values, "detach") else values)
        return array.reshape(count).astype(dtype)  # simulators give (count, 1), too
    except UNREADABLE:
        return None


def shape_of(value: Any) -> tuple[int, ...]:  # noqa: ANN401 - whatever an env renders or observes
    """Its shape; empty where it has none."""
    try:
        return tuple(map(int, getattr(value, "shape", ())))
    except UNREADABLE:
        return ()


def number_of_envs(env: Any) -> int | None:  # noqa: ANN401 - an Env or a VectorEnv, wrapped or not
    """How many envs an env steps at once: a vector env, or a simulator's single one; None for an ordinary one."""
    for candidate in (env, getattr(env, "unwrapped", None)):
        try:
            count = operator.index(getattr(candidate, "num_envs", None))  # type: ignore[arg-type]  # None is no index
        except (RuntimeError, TypeError, ValueError):
            continue
        if count > 0:
            return count
    return None
