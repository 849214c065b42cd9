"""Steps and a daemon that takes them: nothing of them is left beside the run, however the env goes on or ends."""

from __future__ import annotations

import gc

import offcam
from envs import Barcode, play
from offcam_runs.format import PENDING_NAME
from waiting import wait_until


def test_nothing_is_left_after_a_flush_and_steps_go_on(folder, daemon):
    env = offcam.RecordVideo(Barcode(5), str(folder), lambda _: False, steps=True)
    rows = []
    for _ in range(3):
        play(env)
        env.reset()
        rows.append(env._steps.row)
        assert (folder / PENDING_NAME).exists()
        assert env.flush()
        assert not (folder / PENDING_NAME).exists()
    assert rows == [6, 13, 20]
    env.close()
    assert not (folder / PENDING_NAME).exists()


def test_nor_of_one_that_is_dropped_without_close(folder, daemon):
    env = offcam.RecordVideo(Barcode(5), str(folder), lambda _: False, steps=True)
    play(env)
    other = offcam.RecordVideo(Barcode(5), str(folder), lambda _: False, steps=True, name_prefix="other")
    del env
    gc.collect()
    play(other)
    other.flush()
    wait_until(lambda: other.flush() and not (folder / PENDING_NAME).exists(), "both are in the index")
    other.close()


def test_rows_after_the_process_has_left_do_not_raise(folder, daemon):
    env = offcam.RecordVideo(Barcode(5), str(folder), lambda _: False, steps=True)
    play(env)
    offcam.connection.process.shutdown_all()
    play(env)
    env.close()


def test_a_long_run_has_its_videos_beside_its_steps(folder, daemon):
    env = offcam.record(Barcode(40), str(folder), every=50, steps=True)
    for episode in range(100):
        offcam.trace(env, value=float(episode))
        play(env)
    env.close()
    run = offcam.load(folder)
    assert len(run.episodes) == 100
    assert [clip.frames for clip in run.clips] == [41, 41]
    assert not (folder / PENDING_NAME).exists()
