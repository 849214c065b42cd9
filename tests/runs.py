"""Run folders with episodes of one's choice, written by the index itself, without a daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offcam_proto.codec import pack_record
from offcam_proto.messages import OpenStream
from offcam_proto.records import EpisodeRecord
from offcamd.store.entries import StreamOwner
from offcamd.store.index import RunIndex

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BEGAN = 1_700_000_000.0
STREAM = b"s" * 16


def write(
    folder: Path,
    returns: Sequence[float],
    *,
    lengths: Sequence[int] | None = None,
    stream: bytes = STREAM,
    env_id: str = "CartPole-v1",
    num_envs: int = 1,
    seeds: Sequence[int | str | None] | None = None,
    session: int = 1,
    infos: Sequence[dict[str, float]] | None = None,
) -> Path:
    """Add a stream with these episodes to a run. Each takes a hundredth of a second a step, one after the other.

    They are of the session with this number. Of ``num_envs`` environments each has every ``num_envs``-th episode. Every
    third episode is truncated.
    """
    index = RunIndex.open(folder)
    try:
        index.open_stream(
            OpenStream(0, stream, str(folder), "rl-video", 0, True, env_id, num_envs, num_envs > 1, BEGAN),
            StreamOwner("node7", 4711, "offcam/0.1.0 python/3.12"),
        )
        index._db.execute("UPDATE streams SET session = ? WHERE stream = ?", (session, stream.hex()))
        steps = list(lengths) if lengths is not None else [10 + number for number in range(len(returns))]
        started = BEGAN
        records = []
        for number, (return_, length) in enumerate(zip(returns, steps, strict=True)):
            records.append(
                pack_record(
                    EpisodeRecord(
                        env_index=number % num_envs,
                        episode=number // num_envs,
                        return_=float(return_),
                        length=length,
                        duration=length / 100,
                        started=started,
                        terminated=number % 3 != 2,
                        truncated=number % 3 == 2,
                        seed=seeds[number] if seeds else number,
                        info=infos[number] if infos else {},
                    )
                )
            )
            started += length / 100
        for begin in range(0, len(records), 5000):
            index.apply(stream, 1 + begin, records[begin : begin + 5000])
    finally:
        index.close()
    return folder
