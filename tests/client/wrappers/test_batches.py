"""Single envs that step many at once: what is recorded of each, and in how many records."""

from __future__ import annotations

import numpy as np
import pytest

import offcam
from envs import Barcode
from offcam.recorder.env_stream import EnvStream
from offcam_proto.records import EpisodeColumns

COUNT, LENGTH = 64, 3


class Simulator(Barcode):
    """All of its envs end together, and begin anew in that step."""

    num_envs = COUNT

    def step(self, action):
        self.number += 1
        over = np.full(COUNT, self.number % LENGTH == 0)
        return self._observe(), np.arange(COUNT, dtype=np.float32), over, ~over & over, {"is_success": over}


@pytest.fixture
def records(monkeypatch):
    """The records that streams are given."""
    given = []
    record = EnvStream.record
    monkeypatch.setattr(EnvStream, "record", lambda self, *those: (given.extend(those), record(self, *those))[1])
    return given


def play(env, ends, seed=None):
    env.reset(seed=seed)
    for _ in range(ends * LENGTH):
        *_, info = env.step(0)
    env.close()
    return info


def test_a_step_is_one_record_of_columns(tmp_path, daemon, records):
    env = offcam.RecordEpisodeStatistics(Simulator(), folder=tmp_path / "run", buffer_length=10)
    info = play(env, 2)
    assert [type(record) for record in records] == [EpisodeColumns, EpisodeColumns]
    assert info["episode"]["r"].tolist() == (LENGTH * np.arange(COUNT)).tolist()
    assert info["_episode"].all()
    assert list(env.return_queue) == (LENGTH * np.arange(COUNT)[-10:]).tolist()
    assert env.episode_count == 2 * COUNT
    found = offcam.load(tmp_path / "run").episodes
    assert found.env_index.tolist() == 2 * list(range(COUNT))
    assert found.episode.tolist() == COUNT * [0] + COUNT * [1]
    assert found.info["is_success"].tolist() == 2 * COUNT * [1.0]


@pytest.mark.parametrize(("seed", "recorded"), [(7, 7), (2**70, str(2**70))])
def test_the_seed_is_that_of_the_reset(tmp_path, daemon, seed, recorded):
    play(offcam.RecordEpisodeStatistics(Simulator(), folder=tmp_path / "run"), 2, seed)
    assert offcam.load(tmp_path / "run").episodes.seed.tolist() == COUNT * [recorded] + COUNT * [None]


def test_each_of_them_is_counted_on_from_where_it_was(tmp_path, daemon):
    for _ in range(2):
        play(offcam.RecordEpisodeStatistics(Simulator(), folder=tmp_path / "run", if_exists="resume"), 1)
    assert offcam.load(tmp_path / "run").episodes.episode.tolist() == COUNT * [0] + COUNT * [1]
