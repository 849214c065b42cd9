"""Each episode is stored once, however often its daemon is killed and its connection cut.

Four agents play; the return of each episode says which one it is. The daemon at their address is killed and started
again and again, and one agent's connection is cut and healed in between. In the end the index must hold what the
agents say that they have finished: nothing less, nothing twice.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest
import zmq
from agent import STRIDE
from proxy import Proxy

import films
from offcam_proto.codec import decode_client
from offcam_runs.format import INDEX_NAME
from offcam_runs.run import read_run
from offcamd.process.instance_lock import read_lock
from waiting import HANG_SECONDS, wait_until

AGENTS = 4


def stored(folder: Path) -> int:
    """Episodes in the index, 0 where there is none yet."""
    return len(read_run(folder, "all").episodes) if (folder / INDEX_NAME).exists() else 0


@pytest.mark.parametrize(
    ("kills", "least"),
    [pytest.param(2, 40, id="short"), pytest.param(50, 1250, id="long", marks=pytest.mark.slow)],
)
@pytest.mark.timeout(900)
def test_stored_is_sent(kills, least, daemons, agents, endpoint, runtime, tmp_path, capsys, stack):
    rng = random.Random(kills)
    folder = tmp_path / "run"
    daemons.start()
    proxy = Proxy(runtime / "p.sock", endpoint.path)
    stack.callback(proxy.close)
    options = ("--length", "5", "--pause", "0.002", "--every", "50", "--least", str(least))
    for _ in range(AGENTS - 1):
        agents.start(folder, *options)
    agents.start(folder, *options, OFFCAM_ADDR=proxy.address)
    cuts = 0
    for _ in range(kills):
        before = stored(folder)
        wait_until(lambda before=before: stored(folder) > before, "the agents are back")
        time.sleep(rng.random() / 3)
        passed = proxy.passed
        cuts += proxy.cut()
        wait_until(lambda passed=passed: proxy.passed > passed, "the connection is healed")
        time.sleep(rng.random() / 3)
        daemons.kill()
        daemons.start()
    sent = agents.finish()

    run = read_run(folder, "all")
    found = Counter(int(episode.return_) for episode in run.episodes)
    expected = {STRIDE * number + episode for number, count in enumerate(sent) for episode in range(count)}
    assert min(sent) >= least
    assert cuts >= kills
    assert sorted(expected - found.keys()) == [], "missing"
    assert sorted(found.keys() - expected) == [], "never sent"
    assert [name for name, times in found.items() if times > 1] == [], "twice"
    assert len(run.streams) == AGENTS
    assert {stream.state for stream in run.streams} == {"closed"}
    films.check(folder)
    for number in range(AGENTS):
        assert "Traceback" not in agents.words(number)
    daemons.stop()
    assert read_lock(endpoint) is None
    with capsys.disabled():
        print(f"\n{kills} kills and {cuts} cuts: {sum(sent)} episodes sent, {len(run.episodes)} stored, each once")


def test_a_daemon_that_dies_of_the_greeting(daemons, agents, endpoint, tmp_path):
    """It takes the client's Hello and is gone before it answers: the client greets the next one."""
    folder = tmp_path / "run"
    daemons.start()
    agents.start(folder, "--length", "5", "--pause", "0.002")
    wait_until(lambda: stored(folder), "episodes are stored")
    daemons.kill()
    Path(endpoint.path).unlink()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.bind(endpoint.url)
        assert router.poll(1000 * HANG_SECONDS), "the client came"
        assert decode_client(router.recv_multipart()[1:]).MAGIC == "offcam"
        router.close(linger=0)
    before = stored(folder)
    daemons.start()
    wait_until(lambda: stored(folder) > before, "the client is back")
    assert agents.finish() == [len(read_run(folder, "all").episodes)]
    films.check(folder)
    daemons.stop()
