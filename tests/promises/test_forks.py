"""A process that forks while it records: the child has its own session, the parent loses and duplicates nothing."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import signal
import threading

import cloudpickle
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv

import films
import offcam
from envs import Barcode, play
from offcam_runs.run import read_run
from waiting import wait_until

LENGTH = 30
HALF = LENGTH // 2
WHOLE = list(range(LENGTH + 1))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def recorded(folder, prefix: str = "rl-video", offset: int = 0, most: int = 10**6):
    """An env of which the first so many episodes have videos."""
    env = Barcode(LENGTH, offset=offset)
    return offcam.record(env, str(folder), episode_trigger=most.__gt__, overflow="block", name_prefix=prefix)


def finish(env, until: int = LENGTH) -> None:
    while env.unwrapped.number < until:
        env.step(0)
    env.close()


@pytest.fixture
def parent(folder, daemon):
    """An env that is recording, in the midst of an episode."""
    env = recorded(folder, "parent")
    env.reset()
    for _ in range(HALF):
        env.step(0)
    yield env
    finish(env)
    assert films.numbers(folder / "parent-episode-0.mp4") == WHOLE
    films.check(folder)
    streams = read_run(folder, "all").streams
    own = [place for place, each in enumerate(streams) if each.pid == os.getpid() and each.prefix == "parent"]
    assert own[1:] == [] or streams[own[1]].suffix, "the copy that the parent made"
    rows = films.episodes(folder)
    assert [row.length for row in rows if row.stream == own[0]] == [LENGTH]
    assert len({(row.stream, row.env_index, row.episode) for row in rows}) == len(rows)


class Ready:
    """An env that was wrapped in the parent; it is handed to a worker as whatever the start method makes of it."""

    def __init__(self, env) -> None:
        self.env = env

    def __call__(self):
        return self.env


@pytest.mark.parametrize("context", ["fork", "forkserver", "spawn"])
def test_an_async_vector_env_of_envs_that_were_wrapped_before(parent, folder, context):
    ready = [Ready(recorded(folder, f"worker{index}", 100 * (index + 1))) for index in range(2)]
    envs = AsyncVectorEnv(ready, context=context)
    envs.reset()
    for _ in range(LENGTH):
        envs.step(np.zeros(2, int))
    envs.close()
    for each in ready:
        each.env.close()
    for index in range(2):
        (video,) = folder.glob(f"worker{index}-episode-0*.mp4")
        assert films.numbers(video) == [100 * (index + 1) + number for number in WHOLE]
    streams = read_run(folder, "all").streams
    workers = [streams[row.stream] for row in films.episodes(folder)]
    assert len(workers) == len({stream.pid for stream in workers}) == 2
    assert os.getpid() not in {stream.pid for stream in workers}


def test_os_fork_and_the_child_records_on(parent, folder):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            finish(parent)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert films.numbers(folder / "parent-episode-0-s2.mp4") == WHOLE[HALF + 1 :]
    streams = read_run(folder, "all").streams
    child = [place for place, stream in enumerate(streams) if stream.pid == pid]
    assert [streams[place].suffix for place in child] == [2]
    rows = [row for row in films.episodes(folder) if row.stream == child[0]]
    assert [row.length for row in rows] == [LENGTH], "the episode as the child saw it, once"


def test_a_forked_child_spares_what_its_parent_closed_meanwhile(parent, folder):
    """The parent's video is final, and nobody else writes such names any more, when the child begins with its own."""
    over, begin = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(begin)
            assert os.read(over, 1) == b""
            finish(parent)
            code = 0
        finally:
            os._exit(code)
    os.close(over)
    finish(parent)
    os.close(begin)
    assert os.waitpid(pid, 0)[1] == 0
    assert films.numbers(folder / "parent-episode-0.mp4") == WHOLE
    assert films.numbers(folder / "parent-episode-0-s2.mp4") == WHOLE[HALF + 1 :]


def load_data(tasks, results) -> None:
    """What a data loader's worker does; it inherits the env and never looks at it."""
    for task in iter(tasks.get, None):
        results.put(task * task)


def test_workers_of_a_data_loader(parent, folder):
    """Daemonic workers are forked again and again; some leave in good order, some are killed."""
    context = multiprocessing.get_context("fork")
    for epoch in range(3):
        tasks, results = context.SimpleQueue(), context.SimpleQueue()
        workers = [context.Process(target=load_data, args=(tasks, results), daemon=True) for _ in range(2)]
        for worker in workers:
            worker.start()
        for task in range(4):
            tasks.put(task)
            parent.step(0)
        assert sorted(results.get() for _ in range(4)) == [0, 1, 4, 9]
        if epoch == 1:
            for worker in workers:
                os.kill(worker.pid, signal.SIGKILL)
        else:
            for _ in workers:
                tasks.put(None)
        for worker in workers:
            worker.join()
            assert worker.exitcode == (-signal.SIGKILL if epoch == 1 else 0)
        parent.step(0)
    finish(parent)
    assert len(read_run(folder, "all").streams) == 1, "the workers are no clients"


@pytest.mark.slow
def test_forks_while_another_thread_records(parent, folder):
    """A fork may catch the other thread anywhere, holding any lock: a child must not wait for it."""
    stop, failed, played, most = threading.Event(), [], [], 100

    def record_on() -> None:
        env = recorded(folder, "thread", most=most)  # of many more than that, decoding would take long
        try:
            while not stop.wait(0.02):
                played.append(play(env))
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            env.close()

    thread = threading.Thread(target=record_on)
    thread.start()
    wait_until((folder / "thread-episode-2.mp4").exists, "the thread records")
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=record_one, args=(str(folder), index)) for index in range(6)]
    for child in children:
        child.start()
        child.join()
    stop.set()
    thread.join()
    assert not failed
    assert [child.exitcode for child in children] == [0] * len(children)
    for index in range(len(children)):
        assert films.numbers(folder / f"child{index}-episode-0.mp4") == WHOLE
    episodes = [name for name in films.videos(folder) if name.startswith("thread")]
    assert len(episodes) == min(len(played), most)
    for name in episodes:
        assert films.numbers(folder / name) == WHOLE
    assert len(films.episodes(folder)) == len(played) + len(children)


def record_one(folder: str, index: int) -> None:
    env = recorded(folder, f"child{index}")
    play(env)
    env.close()


def pickled(env):
    return pickle.loads(cloudpickle.dumps(env))  # noqa: S301 - it is our own


def test_a_pickled_copy_of_an_env_records_into_files_of_its_own(parent, folder):
    """As a process that is spawned does."""
    finish(pickled(parent))
    assert films.numbers(folder / "parent-episode-0-s2.mp4") == WHOLE[HALF + 1 :]


def test_a_deep_copy_is_silent_until_its_own_reset(parent, folder):
    """A planner looks ahead with copies, also beyond the end; what it sees was not played."""
    ahead = copy.deepcopy(parent)
    for _ in range(2 * len(WHOLE)):
        ahead.step(0)
    again = copy.deepcopy(ahead)
    ahead.close()
    play(again)
    again.close()
    finish(parent)
    assert films.videos(folder) == ["parent-episode-0.mp4", "parent-episode-1-s2.mp4"]
    assert films.numbers(folder / "parent-episode-0.mp4") == WHOLE
    assert films.numbers(folder / "parent-episode-1-s2.mp4") == WHOLE
    assert [episode.length for episode in films.episodes(folder)] == [len(WHOLE) - 1] * 2
