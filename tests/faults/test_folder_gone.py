"""A run folder that is removed or renamed in mid-recording: all that is recorded is in it again, or counted."""

from __future__ import annotations

import shutil
import warnings

import pytest

import films
import offcam
from envs import Barcode, play
from offcam_runs.run import read_run
from offcamd.video.files import count_fragments
from waiting import wait_until

LENGTH = 40


def removed(folder):
    renamed(folder)  # at once: what is written meanwhile cannot keep it from being removed
    shutil.rmtree(folder.with_name("moved"))


def renamed(folder):
    folder.rename(folder.with_name("moved"))


@pytest.mark.parametrize("happens", [removed, renamed])
def test_it_is_recorded_into_again(daemon, folder, happens):
    env = offcam.record(Barcode(LENGTH), folder, every=1, overflow="block")
    play(env, 2)
    assert env.flush()
    env.reset()
    for _ in range(30):
        env.step(0)
    part = folder / "rl-video-episode-2.mp4.part"
    wait_until(lambda: part.exists() and count_fragments(part) >= 3, "the video is being written")
    wait_until(lambda: films.clips(folder)["rl-video-episode-1.mp4"].state == "final", "the one before is final")
    happens(folder)
    for _ in range(LENGTH - 30):
        env.step(0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        play(env, 3)
        assert env.flush()
        env.close()
    assert ["is not whole" in str(each.message) for each in said] == [True]
    assert [row.episode for row in films.episodes(folder)] == list(range(6))
    clips = read_run(folder, "all").clips
    assert [clip.frames for clip in clips if clip.state == "final" and (folder / clip.file).exists()] == [
        LENGTH + 1
    ] * 3
    (cut,) = (clip for clip in clips if clip.state == "aborted")
    assert cut.frames == 0
    assert cut.dropped == {"io": LENGTH + 1}


def test_a_flush_alone_sees_it(daemon, folder):
    env = offcam.record(Barcode(LENGTH), folder, every=100)
    play(env, 3)
    assert env.flush()
    removed(folder)
    env.reset()  # so that there is something to ask about
    for _ in range(LENGTH):
        env.step(0)
    assert env.flush()
    assert len(films.episodes(folder)) == 4
    env.close()


def test_all_of_offcam_but_the_videos_is_removed(daemon, folder):
    """As a clean-up does; after a flush these are files alone, and after the next one the episodes since are there."""
    env = offcam.record(Barcode(4), folder, every=1)
    play(env, 2)
    assert env.flush()
    for path in folder.glob("offcam*"):
        path.unlink()
    play(env, 3)
    assert env.flush()
    assert [row.episode for row in films.episodes(folder)] == list(range(5))
    env.close()


def test_a_flush_with_nothing_to_wait_for_sees_it_too(daemon, folder):
    env = offcam.record(Barcode(4), folder, every=100)
    play(env, 3)
    assert env.flush()
    removed(folder)
    assert env.flush()
    assert len(films.episodes(folder)) == 3
    env.close()
