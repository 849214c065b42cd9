"""A run whose tracker fails: the page, the metrics and `offcam status` say how far it is behind, how often, and why."""

from __future__ import annotations

import re

import pytest
from stage import playwright

import commandline
import offcam
from envs import Barcode, play
from fetching import fetch
from moody import MoodyTracker, plug

expect = playwright().expect
ERROR = "HTTPError: HTTP Error 500: Internal Server Error"


@pytest.fixture
def tracker(tmp_path, monkeypatch):
    plug(tmp_path / "plugged")
    monkeypatch.syspath_prepend(tmp_path / "plugged")
    found = MoodyTracker(tmp_path / "tracker")
    yield found
    found.kill()


def test_a_tracker_that_fails_is_told_of_in_each_place(serve, visit, tracker, tmp_path):
    _, ready = serve()
    url = re.search(r"http=(\S+)", ready).group(1)
    tracker.be("500")
    folder = tmp_path / "run"
    env = offcam.record(Barcode(length=5), folder, every=2, sync=tracker.to)
    play(env, 3)
    env.flush()
    tracker.wait("500", 2)
    seen = visit(url)
    said = seen.page.get_by_text("Sent to log")
    expect(said).to_have_text(
        re.compile(rf"^Sent to log: 0 episodes, 0 videos, \d.* behind, failed \d+ times?\. {ERROR}\.$")
    )
    seen.shot("fails")
    metrics = dict(re.findall(r"^(offcam_sync_\w+) (\S+)$", fetch(f"{url}/metrics").text, re.MULTILINE))
    assert (float(metrics["offcam_sync_workers"]), float(metrics["offcam_sync_failing"])) == (1, 1)
    assert float(metrics["offcam_sync_behind_episodes"]) == 3
    assert float(metrics["offcam_sync_failures"]) >= 1
    assert float(metrics["offcam_sync_lag_seconds"]) > 0
    status = commandline.run("status").stdout
    assert re.search(rf"\blog +0 +0 +\S.* +\d+ +{ERROR}$", status, re.MULTILINE), status
    tracker.be("well")
    env.close()
    tracker.wait("clip", 2)
    expect(said).to_have_text(re.compile(r"^Sent to log: 3 episodes, 2 videos, failed \d+ times?\.$"))
    assert re.search(r"\blog +3 +2 +0 +\d+ +all sent$", commandline.run("status").stdout, re.MULTILINE)
