"""A page of episodes is the same whether these are in memory or, as those of a long run, read by SQL."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from starlette.datastructures import QueryParams

import made
from offcam_proto.codec import pack_record
from offcam_runs import long_run
from offcam_runs.episodes import ORDERS
from offcam_runs.run_ids import run_id
from offcamd.store.index import RunIndex
from offcamd.web import queries
from offcamd.web.episode_cache import EpisodeCache
from offcamd.web.episode_filters import _SQL
from offcamd.web.params import Query
from offcamd.web.reading import AskedRun

STREAMS = (b"t" * 16, b"s" * 16)
EPISODES = 400
RETURNS = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1.5, -1.5, 5e-324, -1e300, 1e300)
SEEDS = (None, 0, 7, -7, 2**62, str(2**70), "07", "a seed")
PAGES = ((0, 7), (0, 1000), (150, 20), (EPISODES - 3, 7), (EPISODES, 7), (2**53, 1))
FILTERS = (
    {},
    {"stream": STREAMS[0].hex(), "env_index": "1"},
    {"stream": "00ff"},
    *({"seed": seed} for seed in ("7", "-7", "07", "0", str(2**62), str(2**70), "a seed", "+7", "\u0667")),
    {"terminated": "true", "min_return": "-1.5"},
    {"truncated": "false", "max_return": "0"},
    {"min_value": "1"},
    {"value": "gap", "min_value": "-1", "max_value": "2"},
    {"value": "gap", "max_value": "-1e300"},
    {"value": "absent", "max_value": "2"},
)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A run of two vector envs at once, whose numbers are often the same, or none."""
    folder = tmp_path_factory.mktemp("mixed")
    draw, index = random.Random(3), RunIndex.open(folder)
    with index.transaction():
        for stream in STREAMS:
            index.open_stream(made.open_stream(folder, stream, num_envs=2, vector=True), made.PEER)
        counts = dict.fromkeys(itertools.product(STREAMS, range(2)), 0)
        last = dict.fromkeys(STREAMS, 0)
        for _ in range(EPISODES):
            stream, env_index = draw.choice(list(counts))
            infos = ({}, {"is_success": 1.0}, {"is_success": 0.0, "gap": draw.choice((-math.inf, -1.0, 2.5))})
            row = made.episode(
                counts[stream, env_index], made.BEGAN, env_index=env_index, return_=draw.choice(RETURNS),
                length=draw.randrange(1, 5), duration=draw.choice((math.nan, 0.25, 0.5, draw.random())),
                terminated=draw.random() < 0.5, truncated=draw.random() < 0.5, seed=draw.choice(SEEDS),
                info=draw.choice(infos),
            )  # fmt: skip
            counts[stream, env_index] += 1
            last[stream] += 1
            index.apply(stream, last[stream], [pack_record(row)])
    index.close()
    return AskedRun(run_id(folder), folder)


def answer(asked, **given):
    return queries.episodes_page(asked, Query(QueryParams(given)), EpisodeCache())


@pytest.mark.parametrize("given", FILTERS, ids=str)
def test_it_is_the_same(mixed, monkeypatch, given):
    asked = [
        {"sort": sort, "order": order, "offset": str(offset), "limit": str(limit), **given}
        for sort, order, (offset, limit) in itertools.product(ORDERS, ("asc", "desc"), PAGES)
    ]
    by_arrays = [answer(mixed, **each) for each in asked]
    monkeypatch.setattr(long_run, "LONG", 0)
    monkeypatch.setattr(EpisodeCache, "get", lambda *_: pytest.fail("all episodes were read"))
    for each, found in zip(asked, by_arrays, strict=True):
        assert repr(found) == repr(answer(mixed, **each)), each  # as text: NaN is not equal to itself


def test_each_filter_finds_some_and_not_all(mixed):
    """Else it would say little that they are the same."""
    found = [answer(mixed, **given)["total"] for given in FILTERS[1:]]
    none = [given for given, total in zip(FILTERS[1:], found, strict=True) if not total]
    assert max(found) < EPISODES
    assert none == [{"stream": "00ff"}, {"seed": "+7"}, {"seed": "\u0667"}, {"value": "absent", "max_value": "2"}]
    assert {name for given in FILTERS for name in given} - {"value"} == _SQL.keys()
