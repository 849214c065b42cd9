"""Going on with a run that is on the daemon's host, over ``tcp://``: as where the folder can be read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from curve_scenes import add_client, dealer, hello, read, running, say
from gymnasium.vector import SyncVectorEnv

import films
import offcam
from envs import Barcode, play
from offcam.connection import timeouts
from offcam_proto.errors import DaemonUnavailable, RunFolderError, RunFormatTooNew
from offcam_proto.messages import CloseStream, Flush, Welcome
from offcam_proto.resuming import RunReply, RunRequest
from offcam_runs.format import INDEX_NAME
from offcamd.store import run_reader
from waiting import HANG_SECONDS, freeze, wait_until

FOLDER = "cartpole"
PEERS = Path(__file__).parents[1] / "peers"


@pytest.fixture
def daemon(alice, serve, url):
    """A daemon of another process, whose client this one is."""
    process, _ = serve("--tcp", url)
    return process


@pytest.fixture
def run(runtime):
    """Where the run is on the daemon's host."""

    def found():
        (folder,) = (runtime / "home" / "offcam-runs" / "alice").iterdir()
        return folder

    return found


def training(episodes, folder=FOLDER, **options):
    env = offcam.record(Barcode(3), folder, every=2, overflow="block", **options)
    play(env, episodes)
    last = env.get_wrapper_attr("step_id")
    env.close()
    return last


# --- it goes on ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("how", [{"resume": True}, {"if_exists": "resume"}, {"resume": True, "strict": True}])
def test_the_last_session_goes_on(run, how):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert training(3, **how) == 8  # there is none yet
        assert training(4, **how) == 20
    found = offcam.load(run())
    assert found.sessions == (1,)
    assert found.episodes.episode.tolist() == list(range(7))
    assert films.videos(run()) == [f"rl-video-episode-{number}.mp4" for number in (0, 2, 4, 6)]
    assert [(clip.episode, clip.step) for clip in found.clips] == [(0, 0), (2, 5), (4, 11), (6, 17)]
    films.check(run())
    assert not Path(FOLDER).exists(), "nothing is made here"


@pytest.mark.usefixtures("daemon")
@pytest.mark.filterwarnings("ignore:.*videos of another recording")
def test_a_session_of_its_own_is_resumed_with_its_names(run):
    training(1)
    training(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is to be said of names that are its own
        training(2, resume=True)
    assert offcam.load(run()).sessions == (1, 2)
    assert offcam.load(run()).episodes.episode.tolist() == [0, 1, 2]
    names = [f"rl-video-episode-{name}.mp4" for name in ("0-s2", "0", "2-s2")]
    assert films.videos(run()) == names


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("vector", [False, True])
def test_statistics_alone_go_on(run, vector):
    for _ in range(2):
        if vector:
            made = SyncVectorEnv([lambda length=length: Barcode(length) for length in (1, 3)])
            env = offcam.vector.RecordEpisodeStatistics(made, folder=FOLDER, resume=True)
            env.reset()
            for _ in range(3):
                env.step(np.zeros(2, int))
        else:
            env = offcam.RecordEpisodeStatistics(Barcode(2), folder=FOLDER, if_exists="resume")
            play(env, 2)
        env.close()
    found = offcam.load(run())
    assert found.sessions == (1,)
    episodes = sorted(zip(found.episodes.env_index.tolist(), found.episodes.episode.tolist(), strict=True))
    assert episodes == ([(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)] if vector else [(0, n) for n in range(4)])


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("per_env", [False, True])
def test_videos_of_a_vector_env_go_on(run, per_env):
    for _ in range(2):
        made = SyncVectorEnv([lambda: Barcode(3), lambda: Barcode(2)])
        options = {"record_envs": 2, "per_env": True} if per_env else {}
        env = offcam.vector.RecordVideo(made, FOLDER, resume=True, overflow="block", **options)
        env.reset()
        for _ in range(4):
            env.step(np.zeros(2, int))
        env.close()
    found = offcam.load(run())
    assert found.sessions == (1,)
    files = [clip.file for clip in found.clips]
    assert len(files) == len(set(files)) == len(films.videos(run()))
    assert {clip.state for clip in found.clips} == {"final"}
    films.check(run())


def test_what_waits_to_be_sent_is_counted_too(service, alice, run, monkeypatch):
    """Of an env that nobody closed: the question must not overtake what it has to say."""
    dispatcher = service[0].dispatcher
    heard, held, act, committed = [], [], dispatcher._act, dispatcher._committed

    def hear(peer, message):
        heard.append(type(message))
        act(peer, message)
        while isinstance(message, Flush) and held:
            committed(held.pop(0))

    def acknowledge(event):
        """Only once somebody asks: else the stream may be over by then."""
        held.append(event)
        while Flush in heard and held:
            committed(held.pop(0))

    monkeypatch.setattr(dispatcher, "_act", hear)
    monkeypatch.setattr(dispatcher, "_committed", acknowledge)
    env = offcam.record(Barcode(1), FOLDER, episode_trigger=lambda _: False)
    play(env, 500)
    del env
    training(1, resume=True)
    assert offcam.load(run()).episodes.episode.tolist() == list(range(501))
    before = heard[: heard.index(RunRequest)]
    assert Flush in before[before.index(CloseStream) :], "its answer was waited for"


# --- after a kill -------------------------------------------------------------------------------------------

CUT_OFF = """
import sys, offcam
sys.path.insert(0, sys.argv[1])
from envs import Barcode, play
env = offcam.record(Barcode(9), "cartpole", every=1, overflow="block")
play(env, 2)
assert env.flush()
env.reset()
for _ in range(5):
    env.step(0)
print("in the midst", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def cut_off(daemon):
    """A training in the midst of its third episode."""
    tests = str(Path(__file__).parents[1])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", CUT_OFF, tests], **pipes) as process:
        assert process.stdout.readline() == "in the midst\n"
        yield process
        process.kill()


def test_a_killed_training_goes_on(cut_off, run):
    def ended():
        return [clip for clip in offcam.load(run()).clips if clip.state != "recording"]

    wait_until(lambda: "-episode-2" in str(films.videos(run())), "its third video is begun")
    cut_off.kill()
    cut_off.wait()
    wait_until(lambda: len(ended()) == 3, "the daemon has ended its videos")
    training(2, resume=True)
    assert films.videos(run()) == [f"rl-video-episode-{number}.mp4" for number in (0, 1, 2, 4)]
    assert offcam.load(run()).sessions == (1,)
    assert offcam.load(run()).episodes.episode.tolist() == [0, 1, 3, 4]
    films.check(run())


def test_a_killed_daemon_s_unfinished_video_keeps_its_number(cut_off, daemon, serve, url, run):
    wait_until(lambda: "-episode-2" in str(films.videos(run())), "its third video is begun")
    cut_off.kill()
    daemon.kill()
    daemon.wait()
    cut_off.wait()
    serve("--tcp", url)
    training(2, resume=True)
    names = [f"rl-video-episode-{number}.mp4" for number in (0, 1, 2, 4)]
    assert [name for name in films.videos(run()) if name != names[2]] == [names[0], names[1], names[3]]
    assert offcam.load(run()).episodes.episode.tolist() == [0, 1, 3, 4]
    films.check(run())


# --- what may be asked, and what is answered ----------------------------------------------------------------


@pytest.mark.usefixtures("daemon")
def test_what_exists_is_an_error_if_it_is_to_be(run):
    training(1, if_exists="error")
    for make in (offcam.record, offcam.RecordVideo):
        with pytest.raises(offcam.ConfigError, match="has a run already"):
            make(Barcode(3), FOLDER, if_exists="error")
    with pytest.raises(offcam.ConfigError, match="has a run already"):
        offcam.RecordEpisodeStatistics(Barcode(3), folder=FOLDER, if_exists="error")
    with pytest.raises(offcam.ConfigError, match="if_exists must be 'new'"):
        offcam.record(Barcode(3), FOLDER, if_exists="append")
    assert len(offcam.load(run(), session="all").episodes) == 1


def ask(url, key, folder, prefix="rl-video"):
    with dealer(url, key) as bare:
        assert isinstance(say(bare, hello(os.urandom(16))), Welcome)
        answer = say(bare, RunRequest(7, str(folder), prefix))
        assert isinstance(answer, RunReply)
        assert answer.token == 7
        return answer


def test_to_ask_makes_nothing_and_each_client_asks_about_its_own(service, store, alice, url, runtime, endpoint):
    bob = read(add_client(store, "bob"))
    root, folder = runtime / "home" / "offcam-runs", Path.cwd() / FOLDER
    assert not ask(url, read(alice), folder).found
    assert not root.exists()
    training(3)
    assert ask(url, read(alice), folder).last_episodes == {0: 2}
    (found,) = (root / "alice").iterdir()
    for key, asked in ((bob, folder), (bob, found), (read(alice), found)):  # a path on the daemon's host is no path
        answer = ask(url, key, asked)
        assert (answer.found, answer.code, answer.last_episodes) == (False, "", {})
    assert ask(endpoint.url, None, found).last_episodes == {0: 2}  # who is here may ask about what is here
    assert ask(url, read(alice), folder, "another").last_episodes == {}
    assert [path.name for path in root.iterdir()] == ["alice"]


def test_no_link_is_followed(service, alice, url, runtime):
    root = runtime / "home" / "offcam-runs"
    root.mkdir()
    (root / "alice").symlink_to(runtime)
    answer = ask(url, read(alice), "/cartpole")
    assert (answer.found, answer.code) == (False, "folder")
    assert "only a link elsewhere" in answer.text
    with pytest.raises(RunFolderError, match="only a link elsewhere"):
        offcam.record(Barcode(3), FOLDER, resume=True)


def test_an_index_that_cannot_be_read_is_an_error(service, alice, run):
    training(1)
    index = run() / INDEX_NAME
    wait_until(lambda: not (run() / f"{INDEX_NAME}-wal").exists(), "the index is closed")
    index.write_bytes(b"no database" * 1000)
    with pytest.raises(RunFolderError, match="damaged"):
        offcam.record(Barcode(3), FOLDER, resume=True)


def test_an_index_of_a_newer_offcam_is_an_error(service, alice, run, monkeypatch):
    training(1)

    def newer(*_):
        raise RunFormatTooNew("upgrade offcam")

    monkeypatch.setattr(run_reader, "run_before", newer)
    with pytest.raises(RunFormatTooNew, match="upgrade offcam"):
        offcam.record(Barcode(3), FOLDER, resume=True)


# --- nobody can say it --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize("if_exists", ["resume", "error"])
def test_without_a_daemon_it_is_a_session_of_its_own(url, endpoint, run, if_exists, recwarn, monkeypatch):
    with running(url):
        training(2)
    monkeypatch.setattr(timeouts, "START_SECONDS", 0.5)
    monkeypatch.setattr(timeouts, "HANDSHAKE_SECONDS", 0.5)
    env = offcam.record(Barcode(3), FOLDER, every=1, overflow="block", if_exists=if_exists)
    assert [str(warning.message) for warning in recwarn if "is not known" in str(warning.message)]
    with running(url):
        wait_until(lambda: play(env, 1) and env.env._stream._wire.live, "it is recorded")
        play(env, 1)
        env.close()
    found = offcam.load(run(), session="all")
    assert found.sessions == (1, 2)
    assert {"rl-video-episode-0.mp4"} < set(films.videos(run()))
    assert films.numbers(run() / "rl-video-episode-0.mp4") == list(range(4)), "nothing is overwritten"
    films.check(run())


@pytest.mark.usefixtures("alice")
def test_without_a_daemon_it_is_an_error_if_strict(monkeypatch):
    monkeypatch.setattr(timeouts, "CERTAIN_SECONDS", 0.5)
    monkeypatch.setattr(timeouts, "HANDSHAKE_SECONDS", 0.5)
    for wrap in (
        lambda: offcam.record(Barcode(3), FOLDER, resume=True, strict=True),
        lambda: offcam.RecordEpisodeStatistics(Barcode(3), folder=FOLDER, resume=True, strict=True),
    ):
        with pytest.raises(DaemonUnavailable, match="no recorder daemon answers"):
            wrap()


@pytest.fixture
def gate(monkeypatch):
    """Until it is set, no run is read."""
    opened, sound = threading.Event(), run_reader.run_before

    def slow(*arguments):
        assert opened.wait(HANG_SECONDS)
        return sound(*arguments)

    monkeypatch.setattr(run_reader, "run_before", slow)
    yield opened
    opened.set()


@pytest.mark.parametrize("strict", [False, True])
def test_a_daemon_that_takes_too_long(service, alice, run, gate, recwarn, monkeypatch, strict):
    """Whoever waits for it waits alone: others record meanwhile."""
    training(2)
    before = films.numbers(run() / "rl-video-episode-0.mp4")
    monkeypatch.setattr(timeouts, "RESUME_SECONDS", 0.3)
    if strict:
        monkeypatch.setattr(timeouts, "CERTAIN_SECONDS", 0.5)
        with pytest.raises(DaemonUnavailable, match=r"does not say how far the run in .*cartpole came: it is busy"):
            offcam.record(Barcode(3), FOLDER, resume=True, strict=True)
        return
    monkeypatch.setattr(timeouts, "START_SECONDS", 0.5)
    env = offcam.record(Barcode(3), FOLDER, every=1, overflow="block", resume=True)
    assert [warning for warning in recwarn if "how far the run came" in str(warning.message)]
    wait_until(lambda: play(env, 1) and env.env._stream._wire.live, "it is recorded")
    play(env, 1)
    env.close()
    assert offcam.load(run(), session="all").sessions == (1, 2)
    assert films.numbers(run() / "rl-video-episode-0.mp4") == before
    films.check(run())


@pytest.mark.parametrize("strict", [False, True])
def test_a_daemon_that_is_frozen(daemon, run, recwarn, monkeypatch, strict):
    training(2)
    freeze(daemon.pid)
    try:
        with monkeypatch.context() as patch:
            for name in ("START_SECONDS", "CERTAIN_SECONDS", "SILENCE_SECONDS"):
                patch.setattr(timeouts, name, 0.5)
            if strict:
                with pytest.raises(DaemonUnavailable):
                    offcam.record(Barcode(3), FOLDER, resume=True, strict=True)
                return
            env = offcam.record(Barcode(3), FOLDER, every=1, overflow="block", resume=True)
            assert [warning for warning in recwarn if "how far the run came" in str(warning.message)]
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    wait_until(lambda: play(env, 1) and env.env._stream._wire.live, "it is recorded")
    env.close()
    assert offcam.load(run(), session="all").sessions == (1, 2)


def test_a_daemon_that_stops_over_the_question_is_followed_by_another(alice, url, endpoint, run, monkeypatch):
    with running(url) as (service, _):
        training(2)
        asked = threading.Event()
        monkeypatch.setattr(service.dispatcher._questions, "passed", lambda *_: asked.set())
        thread = threading.Thread(target=training, args=(2,), kwargs={"resume": True})
        thread.start()
        assert asked.wait(HANG_SECONDS)
    with running(url):
        thread.join()
    assert offcam.load(run()).episodes.episode.tolist() == [0, 1, 2, 3]


def test_others_do_not_wait_for_an_answer(service, alice, url, gate, runtime):
    training(1)
    with dealer(url, read(alice)) as bare:
        assert isinstance(say(bare, hello(os.urandom(16))), Welcome)
        assert say(bare, RunRequest(7, str(Path.cwd() / FOLDER), "rl-video"), wait=0) is None
        training(2, "another")  # is recorded and flushed meanwhile
        assert not bare.poll(0)
        gate.set()
        assert bare.poll(int(1000 * HANG_SECONDS))


def test_a_daemon_of_an_earlier_offcam_says_that_it_cannot(alice, serve, url, run):
    serve("--tcp", url, script=PEERS / "earlier_daemon.py")
    env = offcam.record(Barcode(3), FOLDER, every=1, overflow="block")
    play(env, 1)
    for wrap in (
        lambda: offcam.record(Barcode(3), FOLDER, resume=True),
        lambda: offcam.RecordEpisodeStatistics(Barcode(3), folder=FOLDER, if_exists="error"),
    ):
        with pytest.raises(offcam.ConfigError, match="is of an earlier offcam, and cannot say how far a run came"):
            wrap()
    play(env, 1)  # what else this process records goes on
    env.close()
    assert offcam.load(run()).episodes.episode.tolist() == [0, 1]
    films.check(run())
