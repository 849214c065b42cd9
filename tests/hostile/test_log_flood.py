"""Bad messages without end: each is counted, and the log stays short."""

from __future__ import annotations

import json
import time

import zmq

from offcam_proto import messages as msg
from offcamd.cli.query import ask_stats
from offcamd.process import log_throttle
from offcamd.process.log_throttle import Throttle
from rawpeer import WAIT_SECONDS, RawPeer, hello
from witnesses import a_daemon

BREACHES = 1500


def test_a_flood_of_bad_messages(runtime):
    with a_daemon(runtime / "flood") as (address, _, log):
        began = time.monotonic()
        with zmq.Context() as context, RawPeer(address.url, context) as peer:
            for _ in range(BREACHES):
                peer.say(hello())
                peer.send([b"\xc1"])  # no message at all
                assert peer.await_(msg.Refused).code == "malformed"
            peer.say(hello(), msg.CloseStream(7))
            assert isinstance(peer.await_(msg.Refused), msg.Refused)
        assert ask_stats(address, WAIT_SECONDS)["breaches"] == {"malformed": BREACHES + 1}
        seconds = time.monotonic() - began
    lines = [json.loads(line) for line in log.read_text().splitlines() if "refused" in line]
    first, *later = [line for line in lines if line["event"] == "a client was refused"]
    assert (first["reason"], first["user"]) == ("malformed", "local")
    told = [line for line in lines if line["event"] == "more clients were refused"]
    assert len(later) + len(told) <= seconds / log_throttle.SECONDS + 1
    assert 1 + len(later) + sum(line["count"] for line in told) <= BREACHES + 1


def test_what_was_not_said_is_said_later_and_in_full(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(log_throttle.time, "monotonic", lambda: clock[0])
    quiet = Throttle(10.0)
    assert [quiet.admit("a", "x") for _ in range(5)] == [True, False, False, False, False]
    assert quiet.admit("b", "x")
    assert quiet.unsaid() == {}
    clock[0] = 10.0
    assert quiet.unsaid() == {("a", "x"): 4}
    assert not quiet.admit("a", "x")
    clock[0] = 20.0
    assert quiet.unsaid() == {("a", "x"): 1}
    clock[0] = 31.0
    assert quiet.unsaid() == {}
    assert quiet.admit("a", "x")


def test_kinds_without_end_take_no_memory():
    quiet = Throttle(1000.0)
    for number in range(2000):
        assert quiet.admit(str(number))
        assert not quiet.admit(str(number))
    assert len(quiet._told) == len(quiet._unsaid) == log_throttle.MOST_KEYS
