"""Whoever wants to know hears of each final video: `last_video`, `wait_video` and ``on_video``."""

from __future__ import annotations

import copy
import os
import signal
import threading
from pathlib import Path

import pytest
from gymnasium.vector import SyncVectorEnv

import films
import offcam
from envs import Barcode, play
from offcam import RecordVideo
from offcamd.process.instance_lock import read_lock
from triggers import always
from waiting import freeze, wait_until

WHOLE = [0, 1, 2, 3]


def test_an_env_waits_for_its_last_video_if_asked(folder, daemon):
    env = offcam.record(Barcode(3), folder, every=1)
    assert env.wait_video(timeout=0) is None
    for episode in range(3):
        play(env)
        assert env.wait_video(timeout=60) == env.last_video == str(folder / f"rl-video-episode-{episode}.mp4")
        assert films.numbers(env.last_video) == WHOLE
    env.close()
    assert env.wait_video(timeout=0) == env.last_video


def test_who_waits_for_a_video_of_a_daemon_that_hangs_gets_none(folder, serve, monkeypatch, endpoint):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    process, _ = serve()
    env = RecordVideo(Barcode(3), str(folder), always)
    play(env)
    assert env.wait_video(timeout=60)
    freeze(process.pid)
    try:
        play(env)
        assert env.wait_video(timeout=0.2) is None
        assert env.last_video == str(folder / "rl-video-episode-0.mp4")
    finally:
        process.send_signal(signal.SIGCONT)
    assert env.wait_video(timeout=60) == str(folder / "rl-video-episode-1.mp4")
    env.close()


@pytest.mark.filterwarnings("ignore::UserWarning")  # that the daemon is gone
def test_who_waits_for_a_video_of_a_daemon_that_is_gone_does_not_wait_for_long(folder, serve, monkeypatch, endpoint):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    process, _ = serve()
    env = RecordVideo(Barcode(3), str(folder), always)
    play(env)
    assert env.wait_video(timeout=60)
    process.kill()
    process.wait()
    play(env)
    assert env.wait_video(timeout=1e6) is None
    env.close()
    assert env.last_video == str(folder / "rl-video-episode-0.mp4")


@pytest.mark.filterwarnings("ignore::UserWarning")  # that another daemon goes on
def test_who_waits_for_a_video_waits_for_the_next_daemon_too(folder, embedded, endpoint):
    env = RecordVideo(Barcode(3), str(folder), always)
    play(env)
    assert env.wait_video(timeout=60)
    os.kill(read_lock(endpoint).pid, signal.SIGKILL)
    play(env)
    found = env.wait_video(timeout=120)
    assert Path(found).name in ("rl-video-episode-1.mp4", "rl-video-episode-1-part2.mp4")
    assert films.numbers(found)[-1] == WHOLE[-1]
    env.close()


@pytest.mark.parametrize("wrap", [offcam.record, RecordVideo, "vector record", "vector video"])
def test_each_final_video_is_told_once_in_the_loop_and_at_close(folder, daemon, wrap):
    vector, action = isinstance(wrap, str), 0
    inner = Barcode(3)
    if vector:
        inner, action = SyncVectorEnv([lambda: Barcode(3)]), [0]
        wrap = offcam.record if wrap == "vector record" else offcam.vector.RecordVideo
    told, wanted = [], True

    def on_video(path):
        told.append((path, films.numbers(path), threading.current_thread()))

    env = wrap(inner, str(folder), episode_trigger=lambda _: wanted, on_video=on_video)

    def episode():
        env.reset()
        for _ in range(3):
            env.step(action)

    episode()
    assert told == []
    wanted = False
    wait_until(lambda: episode() or told, "it is told in the midst of the loop")
    wanted = True
    last = (env if isinstance(env, (RecordVideo, offcam.vector.RecordVideo)) else env.env).episode_id + 1
    episode()
    env.close()
    names = [str(folder / f"rl-video-episode-{number}.mp4") for number in (0, last)]
    assert told == [(name, WHOLE, threading.current_thread()) for name in names]


def test_what_on_video_raises_comes_through_before_the_env_takes_the_step(folder, daemon):
    told = []

    def on_video(path):
        told.append(path)
        raise LookupError(path)

    inner = Barcode(3)
    env = offcam.record(inner, folder, every=1, on_video=on_video)
    play(env)
    with pytest.raises(LookupError, match="rl-video-episode-0"):
        env.wait_video(timeout=60)
    play(env)
    wait_until(lambda: env.last_video.endswith("rl-video-episode-1.mp4"), "it is final, and was not told yet")
    with pytest.raises(LookupError, match="rl-video-episode-1"):
        env.reset()
    assert inner.number == 3, "the reset that raised did not touch the env"
    play(env)
    with pytest.raises(LookupError, match="rl-video-episode-2"):
        env.close()
    assert [Path(path).name for path in told] == films.videos(folder)
    assert [row.length for row in films.episodes(folder)] == [3, 3, 3]


def test_copies_tell_the_same_function_of_their_own_videos(folder, daemon):
    class Tracker:
        def __init__(self):
            self.told = []

        def log(self, path):
            self.told.append(Path(path).name)

    tracker = Tracker()
    env = RecordVideo(Barcode(3), str(folder), always, on_video=tracker.log)
    play(env)
    twin = copy.deepcopy(env)
    assert twin.last_video is None
    play(twin)
    twin.close()
    env.close()
    assert sorted(tracker.told) == films.videos(folder) == ["rl-video-episode-0.mp4", "rl-video-episode-1-s2.mp4"]


def test_a_forked_child_is_told_of_its_own_videos_alone(folder, daemon):
    told = []
    env = RecordVideo(Barcode(3), str(folder), always, on_video=told.append)
    play(env)
    wait_until(lambda: env.last_video, "it is final, and nobody was told")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            play(env)
            env.close()
            code = [Path(path).name for path in told] != ["rl-video-episode-1-s2.mp4"]
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    env.close()
    assert told == [str(folder / "rl-video-episode-0.mp4")]


def test_on_video_must_be_a_function(folder, daemon):
    with pytest.raises(offcam.ConfigError, match="on_video must be a function of a video's path, got 'print'"):
        offcam.record(Barcode(3), folder, on_video="print")
    assert not folder.exists()
