"""What is read of an index for one batch: as much as the batch has, however long the run is."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from made import make_run, make_video
from offcam.sync import index
from offcam.sync.core import Position, after_clip

SHORT, LONG = 2_000, 20_000
CLIPS = 3


@pytest.fixture
def work(monkeypatch):
    """What SQLite does from now on: an entry for each thousand instructions of its machine."""
    found, opened = [], index.open_to_read

    @contextmanager
    def counted(*args, **options):
        with opened(*args, **options) as database:
            database.set_progress_handler(lambda: found.append(None), 1000)
            yield database

    monkeypatch.setattr(index, "open_to_read", counted)
    return found


def test_episodes_of_a_long_run_are_read_without_all_that_wait_behind_them(tmp_path, work):
    costs = []
    for episodes in (SHORT, LONG):
        run = index.facts_of(str(make_run(tmp_path / str(episodes), episodes, 0)), None)
        del work[:]
        found = index.look(run, Position())
        costs.append(len(work))
        assert [each.number for each in found.batch.episodes] == list(range(500))
    assert costs[1] < 1.5 * costs[0] + 2


def test_a_clip_of_a_long_run_is_read_without_all_episodes_before_it(tmp_path, work):
    video = make_video(tmp_path / "video.mp4")
    costs = []
    for episodes in (SHORT, LONG):
        every = episodes // CLIPS + 1
        run = index.facts_of(str(make_run(tmp_path / str(episodes), episodes, every, video=video)), None)
        sent = Position(last_id=episodes, episodes=episodes)
        for clip in range(CLIPS):
            del work[:]
            found = index.look(run, sent)
            assert found.batch.clip.number == clip * every
            sent = after_clip(sent, found.rows, found.row)
        costs.append(len(work))
    assert costs[1] < 1.5 * costs[0] + 2
