"""Construction waits for no daemon longer than it says, and raises for none that is slow, frozen or dying.

What a daemon lacks it is given by the test: a gate that it waits at, or a signal. So nothing here is fast or slow.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gymnasium
import pytest
from scenes import TESTS, python, stopped

import films
import offcam
import offcam.connection.launch
import offcam.connection.process
from commandline import WAIT_SECONDS
from envs import Barcode, play
from offcam.connection import timeouts
from offcam_proto.client_session import State
from offcamd.process.instance_lock import daemon_paths
from offcamd.store.left_frames import arenas_of
from offcamd.store.recovery import recover_folder
from waiting import wait_until

PEERS = TESTS / "peers"
WAITS = """
import sys, time
from pathlib import Path
if "serve" in sys.orig_argv:
    while not Path({gate!r}).exists():
        time.sleep(0.01)
"""
SLEEPS = """
import sys, time
if "serve" in sys.orig_argv:
    time.sleep({seconds})
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def imports(tmp_path, embedded, monkeypatch):
    """Have the imports of a daemon, and nobody else's, run this first."""
    place = tmp_path / "imports"
    place.mkdir()

    def first(code: str) -> None:
        (place / "sitecustomize.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(place))

    return first


@pytest.fixture
def gate(tmp_path, imports):
    """A daemon that is started imports until this file is there."""
    path = tmp_path / "gate"
    imports(WAITS.format(gate=str(path)))
    yield path
    path.touch()


def said(caught) -> list[str]:
    """The warnings about the recorder daemon."""
    return [str(warning.message) for warning in caught if "recorder daemon" in str(warning.message)]


def starting(endpoint) -> int:
    """The pid of the daemon that is being started."""
    lock = daemon_paths(endpoint).launch_lock
    return int(wait_until(lambda: lock.exists() and lock.read_text(), "a daemon is being started"))


def until_recording(env) -> None:
    """Play whole episodes until they arrive."""
    wait_until(lambda: env.env._stream._wire.live or (play(env, 1) and False), "its stream is open")


# --- a daemon that starts slowly ------------------------------------------------------------------------------


def test_a_daemon_that_imports_for_long_is_neither_waited_for_nor_ended(folder, gate, endpoint, recwarn, monkeypatch):
    monkeypatch.setattr(timeouts, "START_SECONDS", 0.5)
    env = offcam.record(Barcode(5), str(folder), every=1)
    assert not offcam.connection.launch.listening(endpoint)
    (only,) = said(recwarn)
    assert "nothing is recorded yet: the recorder daemon is still starting" in only
    pid = starting(endpoint)
    infos = play(env, 3)
    another = offcam.RecordEpisodeStatistics(Barcode(5), folder=f"{folder}-another")
    play(another, 1)
    assert starting(endpoint) == pid
    assert len(said(recwarn)) == 1

    gate.touch()
    until_recording(env)
    assert "the recorder daemon is there now" in said(recwarn)[1]
    lasts = env.env.episode_id + 1
    play(env, 2)
    env.close()
    another.close()
    assert Path(f"/proc/{pid}").exists(), "it is the one that was started first"
    assert len(said(recwarn)) == 2, said(recwarn)
    assert [info["episode"]["l"] for info in infos] == [5] * 3
    assert [row.episode for row in films.episodes(folder)] == list(range(lasts + 2))
    films.check(folder)
    clips = films.clips(folder)
    assert [clips[f"rl-video-episode-{n}"].dropped for n in range(3)] == [{"no_daemon": 6}] * 3
    for episode in (lasts, lasts + 1):
        assert films.numbers(folder / f"rl-video-episode-{episode}.mp4") == list(range(6))


def test_the_first_video_waits_once_more(folder, gate, recwarn, monkeypatch):
    monkeypatch.setattr(timeouts, "START_SECONDS", 0.2)
    env = offcam.record(Barcode(5), str(folder), every=1)
    handshake = offcam.connection.process.current().handshake
    monkeypatch.setattr(timeouts, "START_SECONDS", 1e6)
    with ThreadPoolExecutor(1) as other:

        def open_the_gate() -> None:
            wait_until(lambda: not handshake._second_chance, "the video waits")
            gate.touch()

        opened = other.submit(open_the_gate)
        play(env, 2)
        opened.result()
    env.close()
    assert [clip.frames for clip in films.clips(folder).values()] == [6, 6]
    films.check(folder)
    assert len(said(recwarn)) == 2, said(recwarn)


def test_no_other_video_waits(folder, gate, monkeypatch):
    monkeypatch.setattr(timeouts, "START_SECONDS", 0.2)
    env = offcam.record(Barcode(5), str(folder), every=1)
    play(env, 1)
    monkeypatch.setattr(timeouts, "START_SECONDS", 1e6)
    play(env, 2)
    other = offcam.RecordVideo(Barcode(5), str(folder / "other"))
    play(other, 1)
    gate.touch()
    env.close()
    other.close()
    assert sum(clip.offered for clip in films.clips(folder).values()) == 18


@pytest.mark.slow
def test_imports_of_28_seconds(folder, imports, recwarn, monkeypatch):
    monkeypatch.setattr(timeouts, "START_SECONDS", 2.0)
    imports(SLEEPS.format(seconds=28))
    env = offcam.record(Barcode(5), str(folder), every=1)
    play(env, 3)
    env.close()
    assert [row.episode for row in films.episodes(folder)] == [0, 1, 2]
    films.check(folder)
    assert not [text for text in said(recwarn) if "gave up" in text]


@pytest.mark.parametrize("ending", ["env.close()", ""], ids=["close", "exit"])
def test_a_script_that_is_over_before_its_daemon_is_there(folder, gate, ending):
    script = f"""
import sys, offcam, offcam.connection.timeouts
from envs import Barcode, play
offcam.connection.timeouts.START_SECONDS = 0.2
env = offcam.record(Barcode(5), sys.argv[1], every=1)
play(env, 3)
print("played", flush=True)
{ending}
"""
    with python(script, folder) as agent:
        assert agent.stdout.readline() == "played\n"
        assert agent.poll() is None
        gate.touch()
        _, error = agent.communicate(timeout=60)
    assert agent.returncode == 0, error
    assert "not confirmed" not in error
    assert "gave up" not in error
    assert [row.episode for row in films.episodes(folder)] == [0, 1, 2]
    films.check(folder)


def test_a_daemon_that_ends_as_it_starts_is_said_at_once(folder, imports, recwarn):
    imports("import sys\nif 'serve' in sys.orig_argv: sys.exit('offcam: no luck today')")
    env = offcam.RecordVideo(Barcode(3), str(folder))
    play(env, 1)
    env.close()
    (only,) = (text for text in said(recwarn) if "did not start" in text)
    assert "no luck today" in only


def test_a_daemon_that_ends_after_construction_left_it_alone(folder, gate, imports, recwarn, monkeypatch):
    monkeypatch.setattr(timeouts, "START_SECONDS", 0.2)
    imports(WAITS.format(gate=str(gate)) + "    sys.exit('offcam: no luck today')")
    env = offcam.RecordVideo(Barcode(3), str(folder))
    play(env, 1)
    gate.touch()
    env.close()
    assert ["still starting" in said(recwarn)[0], "no luck today" in said(recwarn)[1]] == [True, True]


# --- a daemon that is frozen, dies, or is slow ----------------------------------------------------------------


def single(folder):
    return offcam.RecordVideo(Barcode(5), str(folder))


def statistics(folder):
    return offcam.RecordEpisodeStatistics(Barcode(5))


def both(folder):
    return offcam.record(Barcode(5), str(folder))


def vector(folder):
    return offcam.record(gymnasium.vector.SyncVectorEnv([lambda: Barcode(5)]), str(folder))


WRAPPERS = [single, statistics, both, vector]


def train(make, folder) -> None:
    """Construct, and go on for a while; no daemon is needed for either."""
    env = make(folder)
    env.reset()
    for _ in range(12):
        env.step([0] if make is vector else 0)
        if make is not vector and env.unwrapped.number % 5 == 0:
            env.reset()


@pytest.fixture
def impatient(monkeypatch, endpoint):
    """Nobody waits for long, and no daemon is started."""
    monkeypatch.setattr(timeouts, "START_SECONDS", 0.3)
    monkeypatch.setattr(timeouts, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(timeouts, "EXIT_SECONDS", 3.0)
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    monkeypatch.setenv("OFFCAM_HTTP", "off")


def test_a_frozen_daemon_raises_in_no_constructor(tmp_path, serve, impatient, recwarn):
    process, _ = serve()
    with stopped(process):
        for make in WRAPPERS:
            train(make, tmp_path / make.__name__)
        (only,) = said(recwarn)
        assert "does not answer" in only
        assert "offcam stop" not in only
    env = both(tmp_path / "later")
    until_recording(env)
    env.close()
    assert "there now" in said(recwarn)[1]


@pytest.mark.parametrize("moment", ["mute", "greeted", "welcomed"])
def test_a_daemon_that_dies_in_that_moment_raises_in_no_constructor(moment, tmp_path, serve, impatient, recwarn):
    for make in WRAPPERS:
        process, _ = serve(moment, script=PEERS / "dying_daemon.py")
        train(make, tmp_path / make.__name__)
        process.kill()
        process.wait()
        Path(offcam.connection.process.current().endpoint.path).unlink(missing_ok=True)
    assert len(said(recwarn)) == 1, said(recwarn)
    assert "nothing is recorded yet" in said(recwarn)[0]


def test_an_index_that_opens_slowly_raises_in_no_constructor(tmp_path, serve, impatient, recwarn):
    gate = tmp_path / "gate"
    serve(str(gate), script=PEERS / "slow_index_daemon.py")
    connection = offcam.connection.process.current()
    wait_until(
        lambda: connection.pump() or connection.session.state is State.OPEN,
        "the daemon has answered, which opens no folder",
    )
    for make in WRAPPERS:
        train(make, tmp_path / make.__name__)
    (only,) = said(recwarn)
    assert "has not opened the run folder yet" in only
    env = both(tmp_path / "both")
    gate.touch()
    until_recording(env)
    env.close()
    assert "there now" in said(recwarn)[1]


def test_a_folder_that_a_late_daemon_cannot_use_is_said(folder, serve, impatient, recwarn):
    env = both(folder)
    (folder / "offcam.sqlite3").write_text("this is no database" * 100)
    serve()
    wait_until(
        lambda: play(env, 1) and [text for text in map(str, recwarn) if "nothing is recorded into" in text],
        "it is said",
    )


def test_it_is_waited_for_once(tmp_path, serve, impatient, recwarn, monkeypatch):
    """Sixty-four envs in a row do not wait sixty-four times."""
    monkeypatch.setattr(timeouts, "START_SECONDS", 1.0)
    process, _ = serve()
    with stopped(process):
        offcam.RecordVideo(Barcode(), str(tmp_path / "first"))
        handshake = offcam.connection.process.current().handshake
        assert handshake.deadline() <= time.monotonic()
        assert handshake.deadline(strict=True) > time.monotonic()
    env = both(tmp_path / "run")
    until_recording(env)
    assert handshake.deadline() > time.monotonic()


# --- strict ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["strict=True", "OFFCAM=require"])
def insist(request, monkeypatch):
    """What a constructor is given to be strict: an argument, or nothing as the environment says it."""
    if request.param == "strict=True":
        return {"strict": True}
    monkeypatch.setenv("OFFCAM", "require")
    return {}


STRICT = [
    lambda folder, **strict: offcam.RecordVideo(Barcode(3), str(folder), **strict),
    lambda folder, **strict: offcam.RecordEpisodeStatistics(Barcode(3), **strict),
    lambda folder, **strict: offcam.record(Barcode(3), str(folder), **strict),
    lambda folder, **strict: offcam.record(gymnasium.vector.SyncVectorEnv([Barcode]), str(folder), **strict),
    lambda folder, **strict: offcam.vector.RecordEpisodeStatistics(gymnasium.vector.SyncVectorEnv([Barcode]), **strict),
]


def test_strict_construction_raises_where_none_answers(folder, serve, impatient, insist, monkeypatch):
    monkeypatch.setattr(timeouts, "CERTAIN_SECONDS", 0.3)
    for make in STRICT:
        with pytest.raises(offcam.OffcamError, match="no recorder daemon answers"):
            make(folder, **insist)
    process, _ = serve()
    with stopped(process):
        for make in STRICT:
            with pytest.raises(ConnectionError, match="does not answer"):
                make(folder, **insist)


def test_strict_construction_waits_for_a_daemon_that_starts(folder, gate, endpoint):
    def open_gate() -> None:
        starting(endpoint)
        assert not offcam.connection.launch.listening(endpoint)
        gate.touch()

    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(open_gate)
        env = offcam.record(Barcode(5), str(folder), every=1, strict=True)
        opened.result()
    play(env, 2)
    env.close()
    assert [films.numbers(folder / f"rl-video-episode-{n}.mp4") for n in range(2)] == [list(range(6))] * 2
    assert len(films.episodes(folder)) == 2


def test_strict_close_raises_what_a_killed_daemon_lost(folder, serve, impatient, recwarn, monkeypatch):
    monkeypatch.setattr(timeouts, "GONE_SECONDS", 0.3)
    process, _ = serve()
    env = offcam.record(Barcode(5), str(folder), every=1, strict=True)
    play(env, 1)
    wait_until(env.flush, "it is final")
    connection = offcam.connection.process.current()
    process.kill()
    process.wait()

    def known():  # that it is gone: before, frames go into memory, where another daemon will find them
        connection.pump()
        return connection.session.state is not State.OPEN

    wait_until(known, "the client knows of it")
    play(env, 2)
    with pytest.raises(offcam.OffcamError, match="not everything was recorded") as raised:
        env.close()
    assert raised.value.records == 4  # two episodes and two videos, which ended with them
    left = bool(arenas_of(folder))  # what lies in memory with a name is not lost: whoever comes next records it
    assert raised.value.frames == ({} if left else {"no_daemon": 12})
    recover_folder(folder)
    assert sum(clip.frames for clip in films.clips(folder).values()) == (18 if left else 6)
    env.close()  # it was said


def test_strict_close_raises_what_an_encoder_failed_at(folder, serve, impatient, recwarn, monkeypatch):
    monkeypatch.setattr(timeouts, "SILENCE_SECONDS", WAIT_SECONDS)  # this daemon answers, however busy the machine is
    serve("0", "--fail-after", "3", script=PEERS / "slow_daemon.py")
    env = offcam.record(Barcode(5), str(folder), every=1, strict=True)
    play(env, 1)
    with pytest.raises(offcam.OffcamError, match="no space left") as raised:
        env.close()
    assert raised.value.videos == ("rl-video-episode-0",)
    assert raised.value.records == 0


def test_strict_statistics_around_a_video_that_is_not(folder, serve, impatient, monkeypatch):
    monkeypatch.setattr(timeouts, "CERTAIN_SECONDS", 0.3)
    with pytest.warns(UserWarning, match="no recorder daemon answers"):
        env = offcam.RecordVideo(Barcode(5), str(folder))
    with pytest.raises(offcam.OffcamError, match="no recorder daemon answers"):
        offcam.RecordEpisodeStatistics(env, strict=True)


def test_off_is_off_also_where_all_is_strict(folder, monkeypatch, impatient):
    monkeypatch.setenv("OFFCAM", "off")
    env = offcam.record(Barcode(5), str(folder), strict=True)
    play(env, 1)
    env.close()


def test_strict_is_in_the_spec(tmp_path, daemon):
    made = offcam.RecordVideo(gymnasium.make("CartPole-v1", render_mode="rgb_array"), str(tmp_path), strict=True)
    assert made.spec.additional_wrappers[-1].kwargs["strict"] is True
    made.close()


def test_a_daemon_loads_neither_arrays_nor_video_before_it_takes_records():
    code = "import sys, offcamd.serving, offcamd.daemon.service; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "offcam_runs.journal_reader" in loaded
    assert not {"numpy", "av", "typer", "starlette"} & set(loaded)


def test_what_launches_it_loads_no_library_but_pythons_own():
    code = "import sys, offcamd.process.launch; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "offcam_proto.host" in loaded
    assert not {"msgspec", "zmq", "numpy", "typer"} & set(loaded)
