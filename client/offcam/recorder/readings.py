"""What an env hands over, read without raising and without waiting for a device. What cannot be read is unknown."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

UNREADABLE: tuple[type[Exception], ...] = (Exception,)
"""What is raised by numpy, torch, JAX and the like for what is not what it was taken for: torch says RuntimeError to
most, TensorFlow has errors that are of no kind of Python's, and an env's own objects raise what they like."""

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
        if hasattr(value, "detach"):  # a tensor of torch's that wants its gradient warns of this else
            value = value.detach()
        return float(value.item() if isinstance(value, np.ndarray) else value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    except UNREADABLE:
        return float("nan")


def is_nan(reward: Any) -> bool:  # noqa: ANN401 - as above
    """Whether a reward, or one of several, is no number. False of what cannot be read."""
    if type(reward) is float:
        return reward != reward  # noqa: PLR0124 - what is no number does not equal itself
    try:
        return bool(np.isnan(_array(reward).astype(FLOAT)).any())
    except UNREADABLE:
        return False


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
        return _array(values).reshape(count).astype(dtype)  # simulators give (count, 1), too
    except UNREADABLE:
        return None


def _array(values: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401 - as above
    parts = values if isinstance(values, (list, tuple)) else (values,)
    if isinstance(values, dict) or any(map(on_device, parts)):
        raise ValueError("to be read by agent, or where a device has it")
    return np.asarray(values.detach() if hasattr(values, "detach") else values)


def reset_mask(options: object, count: int) -> np.ndarray[Any, Any] | None:
    """Which of ``count`` envs a reset is for, bool ``(count,)``; None for all, and where a device knows.

    Gymnasium's vector envs take a mask for that as ``options["reset_mask"]``, ManiSkill numbers as ``"env_idx"``.
    """
    if not isinstance(options, dict):
        return None
    if options.get("reset_mask") is not None:
        return each(options["reset_mask"], count, BOOL)
    if options.get("env_idx") is None:
        return None
    try:
        return np.isin(np.arange(count), _array(options["env_idx"]))
    except UNREADABLE:
        return None


def places(info: object, count: int) -> np.ndarray[Any, Any] | None:
    """Which of ``count`` envs the rows of a result are of, by EnvPool's ``info["env_id"]``; None for all, in order."""
    if not isinstance(info, dict) or info.get("env_id") is None:
        return None
    try:
        numbers = _array(info["env_id"]).reshape(-1).astype(int)
    except UNREADABLE:
        return None
    everyone = np.arange(count)
    return None if np.array_equal(numbers, everyone) or not np.isin(numbers, everyone).all() else numbers


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
