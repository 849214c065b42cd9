"""Reads what an env returns, without raising and without waiting for a device. What cannot be read is unknown."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

UNREADABLE: tuple[type[Exception], ...] = (Exception,)
"""What numpy, torch, JAX and others raise for values of the wrong kind: torch mostly RuntimeError, TensorFlow errors
that derive from none of Python's, and an env's own objects anything."""

FLOAT, BOOL = np.dtype(float), np.dtype(bool)

_HOST_MEMORY = (1, 3, 11)
"""Kinds of memory, by DLPack's numbers, that can be read without a device: plain, pinned for CUDA, pinned for ROCm."""


def on_device(value: object) -> bool:
    """Whether a value lies in a device's memory: to read it would make the agent's thread wait for the device."""
    try:
        return hasattr(value, "__dlpack_device__") and int(value.__dlpack_device__()[0]) not in _HOST_MEMORY
    except UNREADABLE:
        return False


def words_of(error: Exception) -> str:
    """An exception of whatever kind the env raises, as the last line of its traceback has it, within 300 characters."""
    try:
        said = " ".join(str(error).split())
    except UNREADABLE:
        said = ""
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return text[:300].replace("\0", "").encode("utf-8", "replace").decode()


def as_float(value: Any) -> float:  # noqa: ANN401 - a reward of whatever kind the env gives
    """A reward or return as a float; NaN if it is not a single number, as a record needs a number."""
    if type(value) is float:
        return value
    try:
        if on_device(value):
            return float("nan")
        if hasattr(value, "detach"):  # torch warns if a tensor that requires a gradient is converted
            value = value.detach()
        return float(value.item() if isinstance(value, np.ndarray) else value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    except UNREADABLE:
        return float("nan")


def is_nan(reward: Any) -> bool:  # noqa: ANN401 - as above
    """Whether a reward, or any of several, is NaN. False for what cannot be read."""
    if type(reward) is float:
        return reward != reward  # noqa: PLR0124 - NaN does not equal itself
    try:
        return bool(np.isnan(_array(reward).astype(FLOAT)).any())
    except UNREADABLE:
        return False


def added(total: Any, reward: Any) -> Any:  # noqa: ANN401 - the env's own numeric type
    """A sum plus a reward, in the reward's own type, as in Gymnasium; NaN once they cannot be added."""
    try:
        return total + reward
    except UNREADABLE:
        return float("nan")


def flag(value: Any) -> bool | None:  # noqa: ANN401 - a flag of whatever kind the env gives
    """Whether a flag is set; None if it is not a single flag, as of many envs or agents, or if a device has it."""
    if type(value) is bool:
        return value
    try:
        if value is None or (hasattr(value, "__len__") and not hasattr(value, "shape")) or on_device(value):
            return None  # a dict by agent would be true merely because it is not empty
        return None if getattr(value, "shape", ()) and np.prod(value.shape) != 1 else bool(value)
    except UNREADABLE:
        return None


def over(terminated: object, truncated: object) -> bool | None:
    """Whether an episode is over, by its two flags; None if that cannot be told."""
    if type(terminated) is bool and type(truncated) is bool:
        return terminated or truncated
    flags = flag(terminated), flag(truncated)
    return True if True in flags else None if None in flags else False


def at(index: int, values: Any) -> Any:  # noqa: ANN401 - rewards or flags of whatever kind a vector env gives
    """The value of one sub-environment; None if there is none."""
    try:
        return None if isinstance(values, dict) or on_device(values) else values[index]
    except UNREADABLE:
        return None


def each(values: Any, count: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any] | None:  # noqa: ANN401 - as above
    """Rewards or flags of ``count`` envs as an array ``(count,)``; None if they are neither, or a device has them."""
    if type(values) is np.ndarray and values.dtype is dtype and values.shape == (count,):
        return values
    try:
        return _array(values).reshape(count).astype(dtype)  # some simulators return (count, 1)
    except UNREADABLE:
        return None


def _array(values: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401 - as above
    parts = values if isinstance(values, (list, tuple)) else (values,)
    if isinstance(values, dict) or any(map(on_device, parts)):
        raise ValueError("to be read by agent, or where a device has it")
    return np.asarray(values.detach() if hasattr(values, "detach") else values)


def reset_mask(options: object, count: int) -> np.ndarray[Any, Any] | None:
    """Which of ``count`` envs a reset is for, bool ``(count,)``; None for all, or if a device has the mask.

    Gymnasium's vector envs take a mask as ``options["reset_mask"]``, ManiSkill indices as ``options["env_idx"]``.
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
    """The env of each row of a result, by EnvPool's ``info["env_id"]``, among ``count``; None for all envs in order."""
    if not isinstance(info, dict) or info.get("env_id") is None:
        return None
    try:
        numbers = _array(info["env_id"]).reshape(-1).astype(int)
    except UNREADABLE:
        return None
    everyone = np.arange(count)
    return None if np.array_equal(numbers, everyone) or not np.isin(numbers, everyone).all() else numbers


def shape_of(value: Any) -> tuple[int, ...]:  # noqa: ANN401 - whatever an env renders or observes
    """The shape of a value; empty if it has none."""
    try:
        return tuple(map(int, getattr(value, "shape", ())))
    except UNREADABLE:
        return ()


def number_of_envs(env: Any) -> int | None:  # noqa: ANN401 - an Env or a VectorEnv, wrapped or not
    """How many envs an env steps at once, as a vector env or a simulator's single env; None for an ordinary env."""
    for candidate in (env, getattr(env, "unwrapped", None)):
        try:
            count = operator.index(getattr(candidate, "num_envs", None))  # type: ignore[arg-type]  # None is no index
        except (RuntimeError, TypeError, ValueError):
            continue
        if count > 0:
            return count
    return None
