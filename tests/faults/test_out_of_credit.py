"""A client without credit sends nothing; that its daemon is gone it finds out all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import offcam
from envs import Barcode, Look
from offcam_runs.run import read_run
from waiting import freeze, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def out_of_credit() -> bool:
    """Whether the next frame has to wait."""
    streams = offcam.connection.process.current().session.streams.values()
    return all(wire.live and wire.credit < 720 * 1280 * 3 for wire in streams)


@pytest.mark.parametrize("overflow", ["drop", "block"])
def test_a_daemon_that_dies_while_nothing_can_be_sent_is_found_gone(daemons, tmp_path: Path, monkeypatch, overflow):
    monkeypatch.setenv("OFFCAM_ADDR", daemons.endpoint.url)
    monkeypatch.setattr(offcam.connection.timeouts, "BLOCK_SECONDS", 5.0)
    folder = tmp_path / "run"
    frozen = daemons.start()
    env = offcam.RecordVideo(Barcode(10**6, Look(720, 1280)), str(folder), overflow=overflow)
    env.reset()
    env.flush()
    freeze(frozen.pid)
    wait_until(lambda: out_of_credit() or (env.step(0) and False), "the credit is spent")
    daemons.kill()
    daemons.start()
    wait_until(
        lambda: env.step(0) and len(read_run(folder, "all").clips) == 2, "a second part is recorded by the new daemon"
    )
    env.close()
    assert {clip.state for clip in read_run(folder, "all").clips} <= {"final", "recovered", "aborted"}
