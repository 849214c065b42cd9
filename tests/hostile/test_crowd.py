"""Five hundred clients, and one that floods: everybody's statistics arrive, and nobody waits long for an ack."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import zmq

from offcam_proto import messages as msg
from offcamd.store.index import RunIndex
from rawpeer import WAIT_SECONDS, RawPeer, episode
from witnesses import witnessed

HERE = Path(__file__).parent
PROCESSES = 4
MOST_ACK_SECONDS = 1.0
MOST_MIB = 600.0
HEARTBEATS_SECONDS = 2.5
BODIES = tuple(episode(number) for number in range(1024))


def start(stack, script, *arguments):
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    environment = {"PYTHONPATH": str(HERE.parent), "PATH": ""}
    process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
    stack.callback(process.kill)
    return process


def said(process):
    words, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0
    return json.loads(words.splitlines()[-1])


def crowd(base, within, clients, episodes, kinds):
    """Let a crowd record, with somebody who floods where ``kinds`` says how; returns what was seen of it."""
    began = time.monotonic()
    each = clients // PROCESSES
    with ExitStack() as stack, witnessed(base, pause="0.03") as observed:
        flooder = None
        if kinds:
            options = ("--until", base / "enough", "--kinds", *kinds)
            flooder = start(stack, "flooder.py", observed.address, base / "flood", *options)
            assert flooder.stdout.readline() == "flooding\n"
        numbers = ("--peers", each, "--episodes", episodes)
        parts = [
            start(stack, "crowd.py", observed.address, base / "crowd", "--first", number * each, *numbers)
            for number in range(PROCESSES)
        ]
        told = [said(part) for part in parts]
        descriptors = len(list(Path(f"/proc/{observed.pid}/fd").iterdir()))
        (base / "enough").touch()
        flood = said(flooder) if flooder else {}
    stored = 0
    for folder in (base / "crowd").iterdir():
        with closing(RunIndex.open(folder)) as index:
            stored += index._db.execute("SELECT count(*) FROM episodes").fetchone()[0]
    worst = max(part["worst_ack"] for part in told)
    print(
        f"{clients} clients, {stored} episodes, the slowest ack after {1000 * worst:.0f} ms; flood {flood}; "
        f"{descriptors} descriptors; {time.monotonic() - began:.0f} s\n{observed}"
    )
    assert stored == sum(part["episodes"] for part in told) == clients * episodes
    within(worst, MOST_ACK_SECONDS)
    observed.check(within)
    return observed, flood


def test_five_hundred_clients_and_a_flood_of_records(runtime, within):
    observed, flood = crowd(runtime / "crowd", within, 500, 5, ["records"])
    assert flood["records"] > 10
    assert observed.mib[2] < MOST_MIB


def test_frames_without_credit_and_questions_without_end(runtime, within):
    observed, flood = crowd(runtime / "crowd", within, 20, 5, ["frames", "questions"])
    assert observed.stats["breaches"]["limit"] > 10
    assert flood["questions"] > 1000
    assert observed.mib[2] < MOST_MIB


def test_clients_that_are_held_up_and_leave(runtime):
    """libzmq would abort the daemon here, if it had heartbeats beside a limit to what it takes in ahead."""
    with witnessed(runtime / "left") as observed:
        with zmq.Context() as context:
            peers = [RawPeer(observed.address, context) for _ in range(8)]
            for peer in peers:
                peer.greet()
                peer.open_stream(1, runtime / "flood")
            for peer in peers:
                peer.say(*(msg.Records(1, 1 + 1024 * number, BODIES) for number in range(64)))
            for peer in peers:
                peer.await_(msg.Ack)  # by now as much of it has arrived as is let in
            for peer in peers:
                peer.close()
        with zmq.Context() as context, RawPeer(observed.address, context) as peer:
            began = time.monotonic()
            while time.monotonic() < began + HEARTBEATS_SECONDS:
                peer.greet()
                time.sleep(0.05)
    assert observed.witness["whole_clips"] == observed.witness["episodes"] > 0


@pytest.mark.slow
def test_five_hundred_clients_and_every_flood(runtime, within):
    observed, _ = crowd(runtime / "crowd", within, 500, 40, ["records", "frames", "questions"])
    assert observed.mib[2] < MOST_MIB
