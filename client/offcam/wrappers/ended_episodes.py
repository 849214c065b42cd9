"""The episodes of a vector env that ended in one step, as records: columns, as many in each as may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from offcam.wrappers.statistics_base import as_seed
from offcam_proto.limits import MAX_EPISODES_PER_BODY
from offcam_proto.records import EpisodeColumns, EpisodeRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_MOST = 2**32 - 1  # of a column of uint32
_FEW_VALUES = 2  # with so many, as many episodes as a body may have are within `MAX_RECORD_BYTES`; else a quarter


class Ended(TypedDict):
    """Episodes that ended in one step: arrays of one entry for each, as the fields of `EpisodeRecord`.

    ``seed`` has no meaning where ``seeded`` is False, or None, which is False for all.
    """

    env_index: NDArray[np.int64]
    episode: NDArray[np.int64]
    return_: NDArray[np.float64]
    length: NDArray[np.int64]
    duration: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    seed: NDArray[np.int64]
    seeded: NDArray[np.bool_] | None


def records_of(
    episodes: Ended,
    ended: float,
    odd_seeds: Mapping[int, object],
    *,
    most: int = _MOST + 1,
    values: Mapping[str, NDArray[np.float64]] | None = None,
) -> list[EpisodeColumns] | list[EpisodeRecord]:
    """The records of episodes, in order.

    Args:
        episodes: at least one.
        ended: when they ended, in seconds since the Unix epoch.
        odd_seeds: by their sub-environments, seeds that are no integers of 63 bits.
        most: none is longer or has a higher number, as far as the caller knows: it saves looking.
        values: of the episodes by name, NaN where one is not known.
    """
    count = len(episodes["env_index"])
    if odd_seeds or (most > _MOST and max(episodes["episode"].max(), episodes["length"].max()) > _MOST):
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
    columns = [
        episodes["env_index"].astype("<u4").data,
        episodes["episode"].astype("<u4").data,
        episodes["return_"].astype("<f8", copy=False).data,
        episodes["length"].astype("<u4").data,
        episodes["duration"].astype("<f8", copy=False).data,
        episodes["terminated"].data,
        episodes["truncated"].data,
    ]
    if episodes["seeded"] is not None:
        columns += [episodes["seed"].astype("<i8", copy=False).data, episodes["seeded"].data]
    columns += [column.astype("<f8", copy=False).data for column in values.values()]
    return EpisodeColumns(count=count, ended=ended, columns=b"".join(columns), names=tuple(values))


def _one_by_one(
    episodes: Ended, ended: float, odd_seeds: Mapping[int, object], values: Mapping[str, NDArray[np.float64]]
) -> list[EpisodeRecord]:
    seeded = episodes["seeded"]
    of_all = Ended(**{**episodes, "seeded": np.zeros(len(episodes["seed"]), bool) if seeded is None else seeded})
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
