"""The named values of an episode, from the ``info`` of its last step, as Stable-Baselines3's Monitor keeps them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from offcam.recorder import readings
from offcam_proto.errors import ConfigError
from offcam_proto.limits import MAX_EPISODE_VALUES, MAX_VALUE_NAME_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUCCESS = ("is_success", "success")
"""Keys of ``info`` that are recorded without being asked for."""

MOST_KEYWORDS = MAX_EPISODE_VALUES - len(SUCCESS)


def value_names(info_keywords: Sequence[str]) -> tuple[str, ...]:
    """The names of all values that are recorded: those that are asked for, and those of `SUCCESS`.

    Raises:
        ConfigError: ``info_keywords`` are no names, or too many.
    """
    if isinstance(info_keywords, str):
        raise ConfigError(
            f"info_keywords must be keys of info, got the text {info_keywords!r}. Pass "
            f"`info_keywords=({info_keywords!r},)`."
        )
    if not isinstance(info_keywords, Collection):
        raise ConfigError(
            f"info_keywords must be keys of info, got {info_keywords!r}. Pass `info_keywords=('is_success',)`, say."
        )
    given = tuple(info_keywords)
    for name in given:
        if not isinstance(name, str) or not name or not name.isprintable() or len(name.encode()) > MAX_VALUE_NAME_BYTES:
            raise ConfigError(
                f"each of info_keywords must be text of at most {MAX_VALUE_NAME_BYTES} bytes, got {name!r}. Have the "
                "env put the number into info under such a name."
            )
    names = tuple(dict.fromkeys((*SUCCESS, *given)))
    if len(names) > MAX_EPISODE_VALUES:
        raise ConfigError(
            f"info_keywords must be at most {MOST_KEYWORDS} keys of info, got {len(given)}. Leave some of them out."
        )
    return names


def values_of(info: object, names: Sequence[str]) -> dict[str, float]:
    """The values of an episode from the info of its last step, by name; without those that are no numbers."""
    found: dict[str, float] = {}
    if isinstance(info, dict):
        for name in names:
            if name in info and (value := _number(info[name])) == value:
                found[name] = value
    return found


def _number(value: object) -> float:
    return float("nan") if isinstance(value, (str, bytes)) else readings.as_float(value)


def values_at(info: object, place: int) -> dict[str, float]:
    """By name, all values that the info of a vector env's step has of the sub-environment at a place."""
    if not isinstance(info, dict):
        return {}
    final = info.get("final_info")
    names = [name for name in (final if isinstance(final, dict) else info) if not str(name).startswith("_")]
    count = max((len(values) for name, values in info.items() if isinstance(values, np.ndarray)), default=0)
    columns = columns_of(info, names, np.array([place]), count) if count else None
    found = {name: column.item() for name, column in (columns or {}).items()}
    return {name: value for name, value in found.items() if not math.isnan(value)}


def columns_of(
    info: object, names: Sequence[str], where: NDArray[np.intp], count: int
) -> dict[str, NDArray[np.float64]] | None:
    """The values of the episodes that ended in a step of ``count`` envs, by name; None where there are none.

    Args:
        info: info of the step: arrays ``(count,)``, as vector envs have them, with bool arrays ``_name`` that say where
            they mean something. Where there is a ``final_info``, as under SAME_STEP, the episodes' values are in that.
        names: names of the values.
        where: indices of the envs whose episodes ended.
        count: number of envs.

    Returns:
        float64 ``(len(where),)`` for each name that any episode has, NaN where it is not known.
    """
    if not isinstance(info, dict):
        return None
    final = info.get("final_info")
    found: dict[str, NDArray[np.float64]] = {}
    for name in names:
        column = None
        if isinstance(final, dict):
            column = _column(final, name, where, count)
        elif final is not None:
            column = _of_each(final, name, where)
        elif name in info:
            column = _column(info, name, where, count)
        if column is not None and not np.isnan(column).all():
            found[name] = column
    return found or None


def _column(info: dict[str, Any], name: str, where: NDArray[np.intp], count: int) -> NDArray[np.float64] | None:
    values = info.get(name)
    if values is None:
        return None
    column = (
        None
        if isinstance(values, np.ndarray) and values.dtype.hasobject
        else readings.each(values, count, readings.FLOAT)
    )
    # an array of objects is read one by one, as some may be no numbers, such as where an env has no such value
    column = (
        np.array([_number(readings.at(place, values)) for place in where.tolist()]) if column is None else column[where]
    )
    given = readings.each(info.get(f"_{name}"), count, readings.BOOL) if f"_{name}" in info else None
    return column if given is None else np.where(given[where], column, np.nan)


def _of_each(infos: Any, name: str, where: NDArray[np.intp]) -> NDArray[np.float64]:  # noqa: ANN401 - as above
    """A column from an array with an info for each env."""
    each = (readings.at(place, infos) for place in where.tolist())
    return np.array([_number(info.get(name)) if isinstance(info, dict) else np.nan for info in each])
