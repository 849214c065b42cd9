"""An index that cannot be written for long: the daemon keeps so much for it and no more, the rest waits in clients.

The disk is full by a limit of the daemon process for the size of its files, which is lifted again.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium as gym
import pytest
import zmq

import films
import offcam
from envs import play
from offcam_proto import messages as msg
from offcam_runs.run import read_run
from offcamd.reports.verify import verify
from rawpeer import RawPeer, episode, picture
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

CRAMPED_DAEMON = Path(__file__).parents[1] / "peers" / "cramped_daemon.py"
KEPT_BYTES = 1 << 20
EACH = 1024
BODIES = tuple(episode(number) for number in range(EACH))
MESSAGES = 30


def let_files_grow(pid: int, *, grow: bool) -> None:
    """Whether a process may write files at all, beyond their first page."""
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if grow else 4096, hard))


@pytest.fixture
def peer(daemons) -> Iterator[RawPeer]:
    with zmq.Context() as context, RawPeer(daemons.endpoint.url, context) as one:
        yield one


def test_what_is_kept_is_bounded_and_the_rest_is_asked_for_again(daemons, peer, tmp_path):
    daemon = daemons.start(CRAMPED_DAEMON, str(KEPT_BYTES))
    folder, stream = tmp_path / "run", b"r" * 16
    peer.greet()
    peer.open_stream(1, folder, "v", stream)
    peer.say(msg.Records(1, 1, BODIES))
    assert peer.await_(msg.Ack).seq == EACH

    let_files_grow(daemon.pid, grow=False)
    for number in range(1, MESSAGES):
        peer.say(msg.Records(1, 1 + number * EACH, BODIES))
    # once it has refused a record it refuses a stream and a clip of that folder as well
    wait_until(lambda: isinstance(peer.open_stream(2, folder), msg.StreamRefused), "it takes no more")
    peer.open_clip(1, 0, "late")
    peer.say(*(picture(1, 0, index) for index in range(5)), msg.EndClip(1, 0, True))
    done = peer.await_(msg.ClipDone)
    assert (done.encoded, done.file) == (0, "")
    assert "no room" in done.error
    assert daemons.stats()["frames"]["dropped"] == {"disk_full": 5}

    let_files_grow(daemon.pid, grow=True)
    asked, acked = set[int](), EACH
    while asked != {1, 2} or acked == EACH:
        answer = peer.await_(msg.Again, msg.Ack)
        if isinstance(answer, msg.Ack):
            acked = answer.seq
        else:
            asked.add(answer.handle)
    cost = sum(map(len, BODIES)) // EACH
    assert EACH < acked < EACH + KEPT_BYTES // cost, "what it kept it has committed, and it was not much"
    assert isinstance(peer.open_stream(2, folder), msg.StreamOpened)
    peer.say(msg.Records(1, acked + EACH + 1, BODIES))  # was on its way: nothing may be committed before the first
    for first in range(acked + 1, MESSAGES * EACH + 1, EACH):
        peer.say(msg.Records(1, first, BODIES[: MESSAGES * EACH + 1 - first]))
    while acked < MESSAGES * EACH:
        acked = peer.await_(msg.Ack).seq
    stats = daemons.stats()
    assert (stats["episodes"], stats["breaches"]) == (MESSAGES * EACH, {})
    daemons.stop()
    assert len(read_run(folder, "all").episodes) == MESSAGES * EACH


class Short(gym.Env):
    """Episodes of a single step."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - as gymnasium's
    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)
    render_mode = "rgb_array"

    def reset(self, *, seed=None, options=None):
        return 0, {}

    def step(self, action):
        return 0, 1.0, True, False, {}


@pytest.mark.filterwarnings("ignore:.*gave up waiting")
def test_an_agent_loses_no_episode_by_it(daemons, tmp_path):
    daemon = daemons.start(CRAMPED_DAEMON, str(1 << 17))
    folder = tmp_path / "run"
    env = offcam.RecordEpisodeStatistics(offcam.RecordVideo(Short(), str(folder), lambda _: False))
    play(env, 10)
    assert env.env.flush()
    let_files_grow(daemon.pid, grow=False)
    play(env, 1000)
    wait_until(lambda: daemons.stats()["runs"][0]["problem"], "the index cannot be written")
    let_files_grow(daemon.pid, grow=True)
    wait_until(lambda: play(env, 1) and daemons.stats()["episodes"] >= 1010, "all statistics are stored")
    env.close()
    stored = [each.episode for each in films.episodes(folder)]
    assert stored == list(range(len(stored)))
    assert daemons.stats()["breaches"] == {}
    daemons.stop()
    assert verify(folder).ok
