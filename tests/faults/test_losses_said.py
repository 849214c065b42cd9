"""What a daemon's death may have cost is said once, with the videos' names and numbers, when another one is there."""

from __future__ import annotations

import re

import pytest

import films
import offcam
from envs import Barcode, play
from waiting import wait_until

LENGTH = 20
MIDWAY = 10


@pytest.fixture
def said(monkeypatch):
    """The warnings of this process's client, in order."""
    texts = []
    monkeypatch.setattr("gymnasium.logger.warn", texts.append)
    return texts


def test_one_warning_for_all_streams(daemons, tmp_path, said):
    daemons.start()
    envs = [offcam.record(Barcode(LENGTH), tmp_path / f"run{number}", every=1) for number in range(3)]
    for number, env in enumerate(envs):
        env.env.start_recording(f"first-of-{number}")
        play(env)
        assert env.flush()
        env.reset()
        for _ in range(MIDWAY):
            env.step(0)
    daemons.kill()
    daemons.start()
    for env in envs:
        wait_until(lambda env=env: (env._stream.connection.pump(), env._stream._wire.live)[1], "it records again")
    for env in envs:
        env.close()
    (text,) = [text for text in said if "another one goes on" in text]
    frames, videos = map(int, re.findall(r"of (\d+) frames sent for (\d+) videos", text)[0])
    assert videos >= 3  # of the same name in three folders, and the one before it where its end was not heard of yet
    assert frames >= 3 * (MIDWAY + 1)
    assert text.count("rl-video-episode-1") == 1
    for number in range(3):
        films.check(tmp_path / f"run{number}")
        assert len(films.episodes(tmp_path / f"run{number}")) >= 1


def test_nothing_is_said_where_nothing_was_cut(daemons, tmp_path, said):
    daemons.start()
    env = offcam.record(Barcode(LENGTH), tmp_path / "run", every=100)
    play(env, 2)
    assert env.flush()
    daemons.kill()
    daemons.start()
    play(env, 2)
    env.close()
    assert not [text for text in said if "goes on" in text]
    assert len(films.episodes(tmp_path / "run")) == 4


def test_lost_frames_stay_in_the_statistics(daemons, tmp_path, said):
    """A video that the next daemon recovers: what its client sent and no file has is in the statistics from then on."""
    daemons.start()
    env = offcam.record(Barcode(LENGTH), tmp_path / "run", every=1)
    env.reset()
    for _ in range(MIDWAY):
        env.step(0)
    daemons.kill()
    daemons.start()
    wait_until(lambda: (env.step(0), env._stream._wire.live)[1], "it records again")
    env.close()
    films.check(tmp_path / "run")
    lost = sum(clip.dropped.get("lost", 0) for clip in films.clips(tmp_path / "run").values())
    assert daemons.stats()["lost"]["frames"] == lost
