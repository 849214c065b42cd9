"""What goes wrong never raises into the loop after construction, and every offered frame is accounted for."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

import films
import offcam
import offcam.connection.launch
import offcam.connection.timeouts
from commandline import WAIT_SECONDS
from envs import Barcode, Look, play
from offcam_runs.format import INDEX_NAME
from offcam_runs.run import read_run
from offcamd.video.probe import survey
from waiting import freeze, wait_until

PEERS = Path(__file__).parent.parent / "peers"


def warned_of(caught, text: str) -> list[str]:
    return [str(warning.message) for warning in caught if text in str(warning.message)]


def await_clip(folder: Path, name: str) -> None:
    """Wait until a video is being written, with a whole frame in it, and the index knows of it."""
    part = folder / f"{name}.part"
    wait_until(
        lambda: name in films.clips(folder) and part.exists() and survey(part).frames, "a video is being written"
    )


def until_recording(env, go_on) -> None:
    """Go on, slowly, until a daemon that was started meanwhile has been found."""
    wait_until(lambda: env.flush() or (go_on() and False), "a daemon has been found")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def never_in_vain(monkeypatch, *waits: str) -> None:
    """Make waits of the client so long that whoever waits for one of them waits until pytest ends the test."""
    for wait in waits:
        monkeypatch.setattr(offcam.connection.timeouts, wait, 1e6)


# --- no daemon ------------------------------------------------------------------------------------------------


def test_a_dead_socket_is_one_warning_and_the_loop_runs(folder, runtime, monkeypatch, recwarn):
    monkeypatch.setenv("OFFCAM_ADDR", f"ipc://{runtime}/r/nobody.sock")
    never_in_vain(monkeypatch, "START_SECONDS", "REOPEN_SECONDS", "SILENCE_SECONDS", "PATIENCE_SECONDS")
    env = offcam.record(Barcode(5), str(folder), every=1)
    infos = play(env, 20)  # no step waits for a daemon that is not there
    env.close()
    assert [info["episode"]["l"] for info in infos] == [5] * 20
    assert len(warned_of(recwarn, "no recorder daemon answers at")) == 1
    assert len(warned_of(recwarn, "offcam serve")) == 1
    assert len(recwarn) <= 2, [str(warning.message) for warning in recwarn]  # the other: frames are missing
    assert films.videos(folder) == []


def test_a_daemon_that_comes_late_gets_all_statistics_and_the_drops(folder, serve, recwarn, monkeypatch, endpoint):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    env = offcam.record(Barcode(5), str(folder), every=1, overflow="block")
    play(env, 3)
    serve()
    until_recording(env, env.reset)
    played = env.env.episode_id + 1
    play(env, 2)
    env.close()
    films.check(folder)
    rows = films.episodes(folder)
    assert [row.episode for row in rows] == [0, 1, 2, played, played + 1]
    clips = films.clips(folder)
    for episode in range(3):
        clip = clips[f"rl-video-episode-{episode}"]
        assert (clip.offered, clip.frames, clip.dropped) == (6, 0, {"no_daemon": 6})
    for episode in (played, played + 1):
        assert films.numbers(folder / f"rl-video-episode-{episode}.mp4") == list(range(6))


def test_a_video_that_begins_before_its_daemon(folder, serve, recwarn, monkeypatch, endpoint):
    """What came before is counted; the rest is recorded, each frame at its time."""
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    env = offcam.record(Barcode(4000), str(folder), overflow="block")
    env.reset()
    for _ in range(10):
        env.step(0)
    serve()
    until_recording(env, lambda: env.step(0))
    for _ in range(20):
        env.step(0)
    last = env.unwrapped.number
    env.close()
    films.check(folder)
    (clip,) = films.clips(folder).values()
    assert clip.offered == last + 1
    assert clip.dropped.keys() == {"no_daemon"}
    missing = clip.dropped["no_daemon"]
    assert films.numbers(folder / str(clip.file)) == list(range(missing, last + 1))


# --- a daemon that dies ---------------------------------------------------------------------------------------


def test_a_daemon_killed_in_the_middle_and_restarted(folder, serve, recwarn, monkeypatch, endpoint):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)  # or the client would start one of its own meanwhile
    process, _ = serve()
    env = offcam.record(Barcode(200), str(folder), every=1, overflow="block")
    play(env, 1)
    env.reset()
    assert env.flush()
    for _ in range(100):
        env.step(0)
    await_clip(folder, "rl-video-episode-1.mp4")
    process.kill()
    process.wait()
    for _ in range(50):
        env.step(0)
    serve()
    until_recording(env, lambda: None)
    for _ in range(50):
        env.step(0)
    play(env, 1)
    env.close()

    clips = films.clips(folder)
    assert sum(clip.offered for clip in clips.values() if clip.episode == 1) == 201
    for clip in clips.values():
        assert clip.offered == clip.frames + sum(clip.dropped.values()), clip
        assert clip.state in ("final", "recovered"), clip
        if clip.file:
            assert len(films.numbers(folder / clip.file)) == clip.frames
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(201))
    first = films.numbers(folder / "rl-video-episode-1.mp4")
    assert first == list(range(len(first)))
    second = films.numbers(folder / "rl-video-episode-1-part2.mp4")
    assert second == list(range(201 - len(second), 201))
    assert films.numbers(folder / "rl-video-episode-2.mp4") == list(range(201))
    assert [row.episode for row in films.episodes(folder)] == [0, 1, 2]
    films.check(folder)


def test_a_daemon_killed_for_good(folder, serve, endpoint, recwarn, monkeypatch):
    """Nobody has listened for a while: that is no silence to wait through."""
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    process, _ = serve()
    env = offcam.record(Barcode(20), str(folder), every=1)
    other = offcam.record(Barcode(20), str(folder / "other"), every=1)
    play(env, 2)
    play(other, 1)
    process.kill()
    process.wait()
    play(env, 5)
    never_in_vain(monkeypatch, "SILENCE_SECONDS")
    monkeypatch.setattr(offcam.connection.timeouts, "GONE_SECONDS", 1.0)
    started = time.monotonic()
    env.close()
    assert time.monotonic() - started > offcam.connection.timeouts.GONE_SECONDS
    with monkeypatch.context() as patch:
        patch.setattr(env.env._stream._connection, "wait", lambda *_: pytest.fail("it is known by now"))
        other.close()
    assert list(env.length_queue) == [20] * 7
    (said,) = warned_of(recwarn, "gave up waiting for the recorder daemon")
    assert "it is gone, and no other one has come" in said
    assert "Start it with `offcam start`" in said
    assert env.env._stream._connection.unacked >= 5, "they are kept, to be counted when the process leaves"


def test_records_that_went_with_their_index_are_counted_in_a_warning(folder, serve, endpoint, recwarn, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    process, _ = serve()
    env = offcam.record(Barcode(20), str(folder), episode_trigger=lambda _: False)
    play(env, 3)
    assert env.flush()
    process.kill()
    process.wait()
    for file in folder.glob(f"{INDEX_NAME}*"):
        file.unlink()
    serve()
    play(env, 2)
    env.close()
    assert [row.episode for row in read_run(folder, "all").episodes] == [3, 4]
    assert len(warned_of(recwarn, "3 records of episodes or videos that ended are in no index")) == 1


def test_a_daemon_that_comes_back_while_close_waits(folder, serve, endpoint, recwarn, monkeypatch):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    never_in_vain(monkeypatch, "GONE_SECONDS")
    process, _ = serve()
    env = offcam.record(Barcode(20), str(folder), every=1)
    play(env, 2)
    process.kill()
    process.wait()
    play(env, 2)
    service_manager = threading.Timer(1.0, serve)
    service_manager.start()
    env.close()
    service_manager.join()
    assert not warned_of(recwarn, "gave up waiting")
    assert [row.episode for row in films.episodes(folder)] == [0, 1, 2, 3]
    films.check(folder)


def start_embedded(offcam_command) -> None:
    """Start what a wrapper would, and be certain that it listens: a wrapper waits for it two seconds at most."""
    assert offcam_command("start", "--embedded").returncode == 0


def kill_embedded(offcam_command) -> None:
    os.kill(json.loads(offcam_command("status", "--json").stdout)["pid"], signal.SIGKILL)


def test_close_starts_an_embedded_daemon_that_died(folder, embedded, offcam_command, recwarn):
    start_embedded(offcam_command)
    env = offcam.record(Barcode(20), str(folder), every=1)
    play(env, 2)
    kill_embedded(offcam_command)
    play(env, 1)
    env.close()
    assert not warned_of(recwarn, "gave up waiting")
    assert [row.episode for row in films.episodes(folder)] == [0, 1, 2]
    films.check(folder)


def test_close_gives_up_on_an_embedded_daemon_that_cannot_be_started(
    folder, embedded, offcam_command, recwarn, monkeypatch
):
    start_embedded(offcam_command)
    env = offcam.record(Barcode(20), str(folder), every=1)
    play(env, 2)
    kill_embedded(offcam_command)
    monkeypatch.setenv("OFFCAM_CRF", "99")
    never_in_vain(monkeypatch, "SILENCE_SECONDS", "GONE_SECONDS")
    play(env, 1)
    env.close()
    assert len(warned_of(recwarn, "could not be started again")) == 1
    assert len(warned_of(recwarn, "gave up waiting")) == 1


def test_a_daemon_is_started_by_one_thread_at_a_time(folder, embedded, offcam_command, monkeypatch, recwarn):
    start_embedded(offcam_command)
    env = offcam.record(Barcode(20), str(folder), every=1)
    play(env, 1)
    kill_embedded(offcam_command)
    starts, go_on = [], threading.Event()

    def start(*_) -> None:
        starts.append(threading.current_thread())
        go_on.wait()

    with monkeypatch.context() as patch:
        patch.setattr(offcam.connection.launch, "start_embedded", start)
        wait_until(lambda: starts or (play(env, 1) and False), "one is being started")
        until = time.monotonic() + 2 * offcam.connection.timeouts.RETRY_SECONDS
        while time.monotonic() < until:
            play(env, 1)
        assert len(starts) == 1
        go_on.set()
        starts[0].join()
    env.close()


def test_an_embedded_daemon_that_died_is_started_again(folder, embedded, offcam_command, recwarn, monkeypatch):
    monkeypatch.setattr(offcam.connection.timeouts, "SILENCE_SECONDS", 1.0)
    start_embedded(offcam_command)
    env = offcam.record(Barcode(20), str(folder), every=1)
    play(env, 1)
    os.kill(json.loads(offcam_command("status", "--json").stdout)["pid"], signal.SIGKILL)
    wait_until(lambda: play(env, 1) and env.flush(), "the new daemon, which is being started, has been found")
    monkeypatch.setattr(offcam.connection.timeouts, "SILENCE_SECONDS", WAIT_SECONDS)  # this one answers
    play(env, 1)
    env.close()
    last = env.env.episode_id
    assert films.numbers(folder / f"rl-video-episode-{last}.mp4") == list(range(21))
    assert [row.episode for row in films.episodes(folder)] == list(range(last + 1))
    films.check(folder)


def test_a_daemon_that_hangs_is_given_up_on(folder, serve, recwarn, monkeypatch):
    """But later than one that is gone."""
    monkeypatch.setattr(offcam.connection.timeouts, "SILENCE_SECONDS", 3.0)
    monkeypatch.setattr(offcam.connection.timeouts, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(offcam.connection.timeouts, "GONE_SECONDS", 0.0)
    process, _ = serve()
    env = offcam.record(Barcode(100, Look(400, 600)), str(folder), every=1)
    other = offcam.record(Barcode(10), str(folder / "other"), every=1)
    play(env, 1)
    play(other, 1)
    env.flush()  # a video is final, so that no step waits for a daemon that has yet to load its encoders
    freeze(process.pid)
    try:
        play(env, 3)
        started = time.monotonic()
        env.close()
        closed = time.monotonic() - started
        play(other, 1)
        before = time.monotonic()
        other.close()
        again = time.monotonic() - before
    finally:
        process.send_signal(signal.SIGCONT)
    assert closed > offcam.connection.timeouts.SILENCE_SECONDS
    assert again < closed, "it was silent just now"
    assert len(warned_of(recwarn, "gave up waiting")) == 1


def test_stop_while_recording_keeps_what_came(folder, serve, recwarn, monkeypatch, endpoint):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)  # as above
    process, _ = serve()
    env = offcam.record(Barcode(500), str(folder), every=1, overflow="block")
    env.reset()
    for _ in range(99):
        env.step(0)
    process.terminate()
    assert process.wait() == 0
    for _ in range(100):
        env.step(0)
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(100))
    serve()
    until_recording(env, lambda: env.step(0))
    env.close()
    films.check(folder)
    first, *later = films.clips(folder).values()
    assert (first.frames, first.state) == (100, "aborted") or first.state == "final"
    assert sum(clip.offered for clip in (first, *later)) == env.unwrapped.number + 1


# --- a daemon that is slow or fails ---------------------------------------------------------------------------


def test_a_slow_encoder_under_drop(folder, serve, recwarn):
    """The loop goes on, each missing frame is counted, and those that are there are spread and in their place."""
    gate = folder.parent / "gate"
    serve("0", "--gate", str(gate), "--memory-limit", "4MiB", "--spool-limit", "0", script=PEERS / "slow_daemon.py")
    env = offcam.record(Barcode(200, Look(300, 400)), str(folder), every=1)
    env.reset()
    for _ in range(50):  # more than there is credit for
        env.step(0)
    gate.touch()
    while env.unwrapped.number < 200:
        env.step(0)
    env.close()
    films.check(folder)
    (clip,) = films.clips(folder).values()
    assert clip.offered == 201
    assert set(clip.dropped) == {"credit"}
    shown = films.numbers(folder / str(clip.file), 300, 400)
    assert shown == sorted(set(shown))
    assert len(shown) == clip.frames
    assert len(films.episodes(folder)) == 1
    assert warned_of(recwarn, "overflow='block'")


def test_a_slow_encoder_under_block_loses_nothing(folder, serve, recwarn):
    serve("0.005", "--memory-limit", "16MiB", "--spool-limit", "0", script=PEERS / "slow_daemon.py")
    env = offcam.record(Barcode(300, Look(300, 400)), str(folder), every=1, overflow="block")
    play(env, 1)
    env.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4", 300, 400) == list(range(301))
    films.check(folder)
    assert not recwarn.list


def test_a_slow_encoder_with_a_spool_loses_nothing(folder, serve, recwarn, monkeypatch):
    """The spool takes what does not fit the memory while nothing is encoded at all: every step goes on."""
    never_in_vain(monkeypatch, "BLOCK_SECONDS")
    gate = folder.parent / "gate"
    limits = ("--memory-limit", "16MiB", "--spool-limit", "1GiB")
    serve("0", "--gate", str(gate), *limits, script=PEERS / "slow_daemon.py")
    env = offcam.record(Barcode(300, Look(300, 400)), str(folder), every=1, overflow="block")
    play(env, 1)
    gate.touch()
    env.close()
    films.check(folder)
    (clip,) = films.clips(folder).values()
    assert (clip.offered, clip.frames) == (301, 301)
    assert not recwarn.list


def test_an_encoder_that_fails_is_said_and_counted(folder, serve):
    serve("0", "--fail-after", "20", script=PEERS / "slow_daemon.py")
    env = offcam.record(Barcode(50), str(folder), every=1, overflow="block")
    with pytest.warns(UserWarning, match="is not whole: no space left"):  # noqa: PT031 - whichever hears of it first
        play(env, 2)
        env.close()
    for clip in films.clips(folder).values():
        assert clip.offered == 51 == clip.frames + sum(clip.dropped.values())
        assert set(clip.dropped) == {"disk_full"}
        assert films.numbers(folder / str(clip.file))[:10] == list(range(10))
    assert len(films.episodes(folder)) == 2
