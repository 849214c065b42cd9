"""A sink that is late: what it was given is certain only once it has finished."""

from __future__ import annotations

import pytest
from test_sync_worker import send, sending

from made import make_run, make_video
from offcam.sync.sinks import memory

EPISODES, EVERY = 6, 2
CLIPS = EPISODES // EVERY


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run that is over, for a sink in memory that is late."""
    monkeypatch.setattr(memory.Tracker, "late", True)
    return make_run(tmp_path / "run", EPISODES, EVERY, video=make_video(tmp_path / "video.mp4"))


def test_a_late_sink_that_cannot_finish_is_given_up_too_and_all_of_it_waits(run, sent, monkeypatch):
    def finish(_):
        raise OSError("half of it is missing")

    monkeypatch.setattr(memory.Tracker, "finish", finish)
    assert not send(run, tries=2)
    state = sending(run).state
    assert (state.failures, state.error) == (2, "OSError: half of it is missing")
    assert (state.sent_episodes, state.behind_episodes, state.behind_clips) == (0, EPISODES, CLIPS)
    assert state.behind_since is not None
    assert len([batch for batch in sent if batch.clip]) == 2 * CLIPS


def test_what_is_sent_again_is_no_sign_that_a_tracker_is_well(run, sent):
    memory.Tracker.to_raise = [None, OSError("away")] * 3
    assert not send(run, tries=3)
    assert sending(run).state.failures == 3
    memory.Tracker.to_raise = [None, OSError("away"), None, None, OSError("away"), None, None, None, OSError("away")]
    assert send(run, tries=2), "each time it came further"
