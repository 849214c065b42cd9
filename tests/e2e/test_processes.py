"""Many recordings at once, in this process and others; processes that fork, and that leave without a word."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv

import films
import offcam
from envs import Barcode, play
from offcam_runs.run import read_run
from offcam_runs.streams import number_of_envs
from waiting import Process, wait_until

PEERS = Path(__file__).parents[1] / "peers"
LENGTH = 30
WHOLE = list(range(LENGTH + 1))
SUFFIX_WARNING = "has 'rl-video' videos of another recording"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def record_and_play(folder: str, prefix: str = "rl-video", episodes: int = 1) -> None:
    env = offcam.record(Barcode(LENGTH), folder, every=1, overflow="block", name_prefix=prefix)
    play(env, episodes)
    env.close()


# --- at the same time -----------------------------------------------------------------------------------------


def test_two_recorders_with_the_same_folder_and_prefix(folder, daemon, recwarn):
    first = offcam.RecordVideo(Barcode(LENGTH), str(folder), overflow="block")
    second = offcam.RecordVideo(Barcode(LENGTH, offset=1000), str(folder), overflow="block")
    assert not recwarn.list
    for env in (first, second):
        env.reset()
    for _ in range(LENGTH):
        first.step(0)
        second.step(0)
    second.close()
    first.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4") == WHOLE
    assert films.numbers(folder / "rl-video-episode-0-s2.mp4") == [1000 + number for number in WHOLE]
    films.check(folder)


def test_two_processes_with_the_same_folder_and_prefix(folder, daemon):
    script = (
        "import sys, offcam; from envs import Barcode, play\n"
        "env = offcam.RecordVideo(Barcode(30), sys.argv[1], lambda _: True, overflow='block')\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "play(env, 3); env.close()\n"
    )
    with python(script, daemon, str(folder)) as one, python(script, daemon, str(folder)) as other:
        for process in (one, other):
            assert process.stdout.readline() == "ready\n"
        for process in (one, other):
            process.stdin.write("go\n")
            process.stdin.flush()
        errors = [process.communicate()[1] for process in (one, other)]
    assert sum(SUFFIX_WARNING in error for error in errors) == 1
    expected = [f"rl-video-episode-{n}{suffix}.mp4" for n in range(3) for suffix in ("", "-s2")]
    assert films.videos(folder) == sorted(expected)
    for name in expected:
        assert films.numbers(folder / name) == WHOLE
    films.check(folder)


def test_one_after_the_other_are_two_sessions_with_videos_of_their_own(folder, daemon):
    record_and_play(str(folder))
    with pytest.warns(UserWarning, match="which stay: this one's file names carry the suffix -s2"):
        record_and_play(str(folder))
    assert films.videos(folder) == ["rl-video-episode-0-s2.mp4", "rl-video-episode-0.mp4"]
    films.check(folder)
    newest, both = offcam.load(folder), offcam.load(folder, session="all")
    assert (newest.session, newest.sessions, both.session) == (2, (1, 2), None)
    assert [clip.file for clip in newest.clips] == ["rl-video-episode-0-s2.mp4"]
    assert [clip.file for clip in both.clips] == ["rl-video-episode-0.mp4", "rl-video-episode-0-s2.mp4"]
    with pytest.raises(offcam.ConfigError, match="no session 3: its sessions are 1, 2"):
        offcam.load(folder, session=3)


def test_a_script_that_is_killed_and_run_again_is_two_sessions(folder, daemon):
    """The daemon waits a moment for a client that is gone; a new one does not join what that left."""
    script = (
        "import offcam; from envs import Barcode, play; env = offcam.record(Barcode(4), {!r}, every=1); play(env, 2)"
    )
    for last in ("; import os; os.kill(os.getpid(), 9)", "; env.close()"):
        subprocess.run([sys.executable, "-c", script.format(str(folder)) + last], cwd=PEERS.parent, check=False)
    assert offcam.load(folder).sessions == (1, 2)
    assert len(offcam.load(folder).episodes) == 2


def test_one_that_is_killed_with_its_daemon_is_gone_on_with(folder, serve, tmp_path):
    """As by an interrupt that takes both: what there is of the video that was open stays, and its number is used up."""
    script = (
        "import sys, offcam, offcam.connection.timeouts; from envs import Barcode, play\n"
        "offcam.connection.timeouts.START_SECONDS = 60.0\n"  # the daemon opens the folder late where it has to recover
        f"env = offcam.record(Barcode(30), {str(folder)!r}, every=1, overflow='block', resume=True)\n"
        "play(env)\nenv.flush()\nenv.reset()\nfor _ in range(20): env.step(0)\n"
        "print('ready', flush=True); sys.stdin.readline(); env.close()\n"
    )
    daemon, _ = serve()
    part, whole = folder / "rl-video-episode-1.mp4.part", folder / "rl-video-episode-0.mp4"
    pipes = {"stdout": subprocess.PIPE, "stdin": subprocess.PIPE, "text": True}
    with Process([sys.executable, "-c", script], cwd=PEERS.parent, **pipes) as agent:
        assert agent.stdout.readline() == "ready\n"
        wait_until(lambda: part.exists() and part.stat().st_size > whole.stat().st_size / 4, "frames are in the file")
        for process in (agent, daemon):
            process.kill()
            process.wait()
    serve()
    subprocess.run([sys.executable, "-c", script], cwd=PEERS.parent, input="", text=True, check=True)
    run = offcam.load(folder)
    assert (run.sessions, number_of_envs(run.streams)) == ((1,), 1)
    assert run.episodes.episode.tolist() == [0, 2]
    assert [(clip.episode, clip.state, clip.partial) for clip in run.clips if clip.part == 1] == [
        (0, "final", False), (1, "recovered", True), (2, "final", False), (3, "final", False),
    ]  # fmt: skip
    waiting = [clip for clip in run.clips if clip.part > 1]  # frames that lay in memory when both were killed, if any
    assert {(clip.episode, clip.state, clip.partial) for clip in waiting} <= {(1, "recovered", True)}
    assert sorted(films.videos(folder)) == sorted(
        [f"rl-video-episode-{number}.mp4" for number in range(4)] + [clip.file for clip in waiting]
    )
    films.check(folder)


@pytest.fixture
def hasty_threads():
    """Threads that give way to each other all the time."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_threads_with_envs_of_their_own(folder, daemon, hasty_threads, recwarn):
    failed = []

    def work(index: int) -> None:
        try:
            record_and_play(str(folder / str(index)), episodes=6)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    for index in range(4):
        assert [films.numbers(folder / str(index) / name) for name in films.videos(folder / str(index))] == [WHOLE] * 6
        films.check(folder / str(index))
        assert len(films.episodes(folder / str(index))) == 6
    assert not recwarn.list


def test_many_envs_in_one_process(folder, daemon):
    envs = [offcam.record(Barcode(10), str(folder), every=1, name_prefix=f"env{n}") for n in range(20)]
    for env in envs:
        env.reset()
    for _ in range(10):
        for env in envs:
            env.step(0)
    for env in envs:
        env.close()
    assert len(films.videos(folder)) == 20
    assert len(films.episodes(folder)) == 20
    films.check(folder)


# --- worker processes -----------------------------------------------------------------------------------------


class Maker:
    """Makes a recorded env in a worker. A class, so that it can be pickled for spawn."""

    def __init__(self, folder: str, index: int, *, same_prefix: bool = False) -> None:
        self.folder, self.index, self.same_prefix = folder, index, same_prefix

    def __call__(self):
        prefix = "rl-video" if self.same_prefix else f"worker{self.index}"
        return offcam.record(
            Barcode(LENGTH, offset=100 * self.index),
            self.folder,
            every=1,
            overflow="block",
            name_prefix=prefix,
            strict=True,
        )


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_eight_workers_with_wrappers_of_their_own(folder, daemon, context):
    workers = 8 if context == "fork" else 3  # as many interpreters are started
    envs = AsyncVectorEnv([Maker(str(folder), index) for index in range(workers)], context=context)
    envs.reset()
    for _ in range(2 * LENGTH + 1):  # NEXT_STEP: one step resets
        envs.step(np.zeros(workers, int))
    envs.close()
    for index in range(workers):
        for episode in range(2):
            shown = films.numbers(folder / f"worker{index}-episode-{episode}.mp4")
            assert shown == [100 * index + number for number in WHOLE]
    assert len(films.videos(folder)) == 2 * workers
    assert len(films.episodes(folder)) == 2 * workers
    films.check(folder)


def test_workers_that_share_a_prefix_lose_nothing_and_one_says_that_there_are_older_videos(
    folder, daemon, recwarn, capfd
):
    for session in (1, 2):
        envs = AsyncVectorEnv([Maker(str(folder), index, same_prefix=True) for index in range(4)])
        envs.reset()
        for _ in range(LENGTH):
            envs.step(np.zeros(4, int))
        envs.close()
        shown = sorted(films.numbers(folder / clip.file) for clip in offcam.load(folder).clips)
        assert shown == [[100 * index + number for number in WHOLE] for index in range(4)]
        assert offcam.load(folder).session == session  # the env that AsyncVectorEnv makes first, and closes, is none
        assert [SUFFIX_WARNING in str(each.message) for each in recwarn] == [True] * (session - 1)
        assert "WARN" not in capfd.readouterr().err  # of the workers
    films.check(folder)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_worker_that_leaves_without_close(folder, daemon, context):
    worker = multiprocessing.get_context(context).Process(target=play_and_leave, args=(str(folder),))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    assert films.numbers(folder / "rl-video-episode-0.mp4") == WHOLE
    films.check(folder)
    assert [row.length for row in films.episodes(folder)] == [LENGTH]


def play_and_leave(folder: str) -> None:
    env = offcam.record(Barcode(LENGTH), folder, every=1, overflow="block")
    play(env)
    KEPT.append(env)  # alive to the end, as a module's global is


KEPT: list[object] = []


def test_a_fork_in_the_middle_of_a_video(folder, daemon):
    """The child's frames go into a file of its own; the parent's video goes on as if nothing had been."""
    env = offcam.record(Barcode(LENGTH), str(folder), every=1, overflow="block")
    env.reset()
    for _ in range(10):
        env.step(0)
    child = multiprocessing.get_context("fork").Process(target=finish, args=(env, 15))
    child.start()
    child.join()
    assert child.exitcode == 0
    finish(env, LENGTH)
    assert films.numbers(folder / "rl-video-episode-0.mp4") == WHOLE
    assert films.numbers(folder / "rl-video-episode-0-s2.mp4") == [11, 12, 13, 14, 15]
    films.check(folder)


def finish(env, until: int) -> None:
    while env.unwrapped.number < until:
        env.step(0)
    env.close()


def test_a_forked_child_that_only_dies_hurts_nobody(folder, daemon):
    env = offcam.record(Barcode(LENGTH), str(folder), every=1, overflow="block")
    env.reset()
    for _ in range(10):
        env.step(0)
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    finish(env, LENGTH)
    assert films.numbers(folder / "rl-video-episode-0.mp4") == WHOLE
    films.check(folder)


# --- leaving --------------------------------------------------------------------------------------------------


def python(script: str, daemon, *arguments: str) -> Process:
    """Start a script that can import what the tests can."""
    path = str(Path(__file__).parent.parent)
    return Process(
        [sys.executable, "-c", script, *arguments],
        env={
            **daemon.environment,
            "OFFCAM": "require",  # on a busy machine a daemon may take longer than a construction waits
            "PYTHONPATH": os.pathsep.join([path, *filter(None, [os.environ.get("PYTHONPATH")])]),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def await_ended(folder: Path) -> None:
    """Wait until the daemon has ended the streams of who has vanished."""
    wait_until(lambda: all(clip.state != "recording" for clip in films.clips(folder).values()), "its clips have ended")


START = """
import sys, os, signal, time
import offcam
from envs import Barcode, play
env = offcam.record(Barcode(30), sys.argv[1], every=1, overflow="block")
"""


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("del env", 0),
        ("sys.exit(3)", 3),
        ("1 / 0", 1),
        ("env.reset(); [env.step(0) for _ in range(10)]; 1 / 0", 1),
        ("env.stop = env", 0),  # a cycle that only the collector finds
        ("import threading; threading.Thread(target=time.sleep, args=(0.1,)).start()", 0),
    ],
    ids=["end", "del", "exit", "error", "error-midway", "cycle", "thread"],
)
def test_leaving_without_close_leaves_final_files(folder, daemon, ending, code):
    with python(START + "play(env)\n" + ending, daemon, str(folder)) as process:
        _, error = process.communicate()
    assert process.returncode == code, error
    assert "offcam" not in error.replace("import offcam", "") or "Error" in error
    assert films.numbers(folder / "rl-video-episode-0.mp4") == WHOLE
    if "range(10)" in ending:
        assert films.numbers(folder / "rl-video-episode-1.mp4") == list(range(11))
    films.check(folder)
    assert [row.length for row in films.episodes(folder)] == [LENGTH]


@pytest.mark.parametrize("caught", [True, False])
def test_ctrl_c_in_the_loop(folder, daemon, caught):
    loop = "env.reset()\nprint('go', flush=True)\nwhile True:\n    env.unwrapped.length = 10**9; env.step(0)\n"
    if caught:
        loop = "try:\n" + "".join(f"    {line}\n" for line in loop.splitlines()) + "except KeyboardInterrupt: pass\n"
    with python(START + loop, daemon, str(folder)) as process:
        assert process.stdout.readline() == "go\n"
        wait_until((folder / "rl-video-episode-0.mp4.part").exists, "its video is being written")
        process.send_signal(signal.SIGINT)
        _, error = process.communicate()
    assert process.returncode == (0 if caught else -signal.SIGINT), error
    await_ended(folder)  # a message that was cut in two costs the connection, and an old one's clips end by themselves
    films.check(folder)
    (clip,) = films.clips(folder).values()
    shown = films.numbers(folder / "rl-video-episode-0.mp4")
    assert shown == [number % 4096 for number in range(len(shown))]
    assert clip.offered >= len(shown) >= 1
    assert set(clip.dropped) <= {"lost"}  # where a message was cut in two, what was under way is lost, and counted


def test_a_process_killed_in_the_loop_leaves_what_it_sent(folder, daemon):
    steps = "play(env)\nenv.reset()\n[env.step(0) for _ in range(5)]\nenv.flush()\nprint('go', flush=True)\n"
    with python(START + steps + "time.sleep(1e6)", daemon, str(folder)) as process:
        assert process.stdout.readline() == "go\n"
        process.kill()
    await_ended(folder)
    assert films.numbers(folder / "rl-video-episode-0.mp4") == WHOLE
    name = next(name for name in films.clips(folder) if "episode-1" in name)
    assert films.numbers(folder / name) == [0, 1, 2, 3, 4, 5]
    films.check(folder)
    assert [row.length for row in films.episodes(folder)] == [LENGTH]


def test_the_index_says_that_a_stream_is_closed_once_close_returns(folder, serve):
    serve(script=PEERS / "slow_to_close_daemon.py")
    env = offcam.record(Barcode(200), folder, every=1, overflow="block")
    play(env, 1)
    env.close()
    assert [stream.state for stream in read_run(folder).streams] == ["closed"]
