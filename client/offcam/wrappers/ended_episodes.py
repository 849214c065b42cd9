"""The episodes of many envs that ended in one step, as records: in columns, with as many in a record as may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from offcam_proto.limits import MAX_EPISODES_PER_BODY, MAX_INT
from offcam_proto.records import EpisodeColumns, EpisodeRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UINT32, _INT64, _FLOAT64 = np.dtype("<u4"), np.dtype("<i8"), np.dtype("<f8")  # a dtype by its name costs a copy's time
_MOST = 2**32 - 1  # largest number in a column of uint32
_FEW_VALUES = 2  # with at most so many values a body may be full within `MAX_RECORD_BYTES`; with more a quarter full


class Seeds(TypedDict):
    """Episodes' seeds, one for each; ``seed`` has no meaning where ``seeded`` is False. Both are None without seeds."""

    seed: NDArray[np.int64] | None
    seeded: NDArray[np.bool_] | None


class Ended(Seeds):
    """Episodes that ended in one step: arrays of one entry for each, as the fields of `EpisodeRecord`."""

    env_index: NDArray[np.int64]
    episode: NDArray[np.int64]
    return_: NDArray[np.float64]
    length: NDArray[np.int64]
    duration: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]


def records_of(
    episodes: Ended,
    ended: float,
    odd_seeds: Mapping[int, object],
    *,
    most: int | None = None,
    values: Mapping[str, NDArray[np.float64]] | None = None,
) -> list[EpisodeColumns] | list[EpisodeRecord]:
    """The records of episodes, in order.

    Args:
        episodes: at least one.
        ended: when they ended, in seconds since the Unix epoch.
        odd_seeds: by sub-environment, seeds that are no integers of 63 bits.
        most: an upper bound of the episodes' lengths and numbers, if the caller knows one, which saves looking.
        values: the episodes' values by name, NaN where one is not known.
    """
    count = len(episodes["env_index"])
    maybe_large = most is None or most > _MOST
    if odd_seeds or (maybe_large and max(episodes["episode"].max(), episodes["length"].max()) > _MOST):
        return _one_by_one(episodes, ended, odd_seeds, values or {})
    values = values or {}
    room = MAX_EPISODES_PER_BODY if len(values) <= _FEW_VALUES else MAX_EPISODES_PER_BODY // 4
    if count <= room:
        return [_columns(episodes, count, ended, values)]
    parts = [slice(begin, begin + room) for begin in range(0, count, room)]
    pieces: list[Any] = [
        (_part(episodes, part), {name: column[part] for name, column in values.items()}) for part in parts
    ]
    return [_columns(piece, len(piece["env_index"]), ended, of_piece) for piece, of_piece in pieces]


def _part(episodes: Ended, part: slice) -> dict[str, NDArray[Any] | None]:
    return {name: None if column is None else column[part] for name, column in episodes.items()}  # type: ignore[index]


def _columns(episodes: Ended, count: int, ended: float, values: Mapping[str, NDArray[np.float64]]) -> EpisodeColumns:
    columns: list[NDArray[Any]] = [
        episodes["env_index"].astype(_UINT32),
        episodes["episode"].astype(_UINT32),
        episodes["return_"].astype(_FLOAT64, copy=False),
        episodes["length"].astype(_UINT32),
        episodes["duration"].astype(_FLOAT64, copy=False),
        episodes["terminated"],
        episodes["truncated"],
    ]
    if episodes["seed"] is not None and episodes["seeded"] is not None:
        columns += [episodes["seed"].astype(_INT64, copy=False), episodes["seeded"]]
    columns += [column.astype(_FLOAT64, copy=False) for column in values.values()]
    joined = b"".join(columns)  # type: ignore[arg-type]  # arrays are buffers
    return EpisodeColumns(count=count, ended=ended, columns=joined, names=tuple(values))


def _one_by_one(
    episodes: Ended, ended: float, odd_seeds: Mapping[int, object], values: Mapping[str, NDArray[np.float64]]
) -> list[EpisodeRecord]:
    of_all = episodes
    if episodes["seed"] is None or episodes["seeded"] is None:
        none = np.zeros(len(episodes["env_index"]), np.int64)
        of_all = Ended(**{**episodes, "seed": none, "seeded": none.astype(bool)})
    columns: list[Any] = [column.tolist() for column in of_all.values()]  # type: ignore[attr-defined]
    return [
        EpisodeRecord(
            env_index=index,
            episode=episode,
            return_=return_,
            length=length,
            duration=duration,
            started=ended - duration,
            terminated=terminated,
            truncated=truncated,
            seed=as_seed(odd_seeds.get(index, seed if seeded else None)),
            info={name: float(of[place]) for name, of in values.items() if not np.isnan(of[place])},
        )
        for place, (index, episode, return_, length, duration, terminated, truncated, seed, seeded) in enumerate(
            zip(*columns, strict=True)
        )
    ]


def as_seed(seed: object) -> int | str | None:
    """A seed as a record has it: text where it is no integer of 63 bits."""
    if seed is None:
        return None
    try:
        number: int = int(seed)  # type: ignore[call-overload]  # a numpy integer too; anything else is shown as text
        return number if -MAX_INT <= number <= MAX_INT else str(number)[:200]
    except (TypeError, ValueError):  # a ValueError also comes of more than 4300 digits
        return hex(seed)[:200] if isinstance(seed, int) else ascii(seed)[:200]
