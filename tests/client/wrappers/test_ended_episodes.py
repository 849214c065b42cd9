"""The records of a vector env's episodes: columns that say the same as a record for each would."""

import math

import numpy as np
import pytest

from offcam.wrappers.ended_episodes import Ended, records_of
from offcam_proto.codec import pack_record, unpack_record
from offcam_proto.limits import MAX_EPISODES_PER_BODY
from offcam_proto.records import EpisodeColumns, EpisodeRecord

ENDED = 1767225600.5
MANY = 2 * MAX_EPISODES_PER_BODY + 100


def episodes(count: int, **changed: object) -> Ended:
    rng = np.random.default_rng(0)
    returns = rng.normal(size=count)
    returns[:3] = math.nan, math.inf, -0.0
    values = {
        "env_index": np.arange(count) * 3,
        "episode": rng.integers(0, 2**32, count),
        "return_": returns,
        "length": rng.integers(0, 2**32, count),
        "duration": np.round(rng.random(count), 6),
        "terminated": rng.random(count) < 0.5,
        "truncated": rng.random(count) < 0.5,
        "seed": rng.integers(-(2**62), 2**62, count),
        "seeded": rng.random(count) < 0.5,
    }
    return Ended(**{**values, **changed})  # type: ignore[typeddict-item]


def one_by_one(records: list[EpisodeColumns] | list[EpisodeRecord]) -> list[EpisodeRecord]:
    read = [unpack_record(pack_record(record)) for record in records]
    return [
        each
        for record in read
        for each in ([EpisodeRecord(*row) for row in record.rows()] if isinstance(record, EpisodeColumns) else [record])
    ]


@pytest.mark.parametrize("seeded", [{}, {"seeded": np.zeros(MANY, bool)}, {"seeded": None}])
def test_columns_say_the_same_as_a_record_for_each(seeded):
    given = episodes(MANY, **seeded)
    records = records_of(given, ENDED, {})
    assert [record.count for record in records] == [MAX_EPISODES_PER_BODY, MAX_EPISODES_PER_BODY, 100]
    found = one_by_one(records)
    for name, column in given.items():
        if name not in ("seed", "seeded"):
            assert np.array_equal([getattr(each, name) for each in found], column, equal_nan=name == "return_"), name
    has_seed = np.zeros(MANY, bool) if given["seeded"] is None else given["seeded"]
    seeds = zip(given["seed"].tolist(), has_seed.tolist(), strict=True)
    assert [each.seed for each in found] == [seed if is_given else None for seed, is_given in seeds]
    assert [each.started for each in found] == [ENDED - each.duration for each in found]


def test_a_seed_of_more_than_63_bits_is_kept_as_text():
    given = episodes(3, seeded=np.array([True, False, False]))
    found = one_by_one(records_of(given, ENDED, {6: 2**70}))
    assert [each.seed for each in found] == [int(given["seed"][0]), None, str(2**70)]
    assert [each.length for each in found] == given["length"].tolist()


@pytest.mark.parametrize("name", ["episode", "length"])
def test_a_number_that_fits_in_no_column_is_kept(name):
    given = episodes(3, **{name: np.array([1, 2**32, 2])}, seeded=None)
    assert [getattr(each, name) for each in one_by_one(records_of(given, ENDED, {}))] == [1, 2**32, 2]
