"""A short run of what ``python tests/fuzz`` does at length."""

from __future__ import annotations

import pytest
import sessions
import sockets
from mutations import Mutator, corpus


@pytest.mark.parametrize("fuzz", [sessions.fuzz_server, sessions.fuzz_client])
def test_a_session_refuses_and_goes_on(fuzz, within):
    tally = fuzz(20_000, seed=1)
    assert tally.refused["malformed"] > 1000
    assert sum(tally.accepted.values()) > 100, "nothing gets past the decoder: the mutations are too wild"
    within(tally.slowest, 1.0)


def test_a_seed_tells_what_is_altered_and_how():
    first, second = (Mutator(corpus("client"), seed=7) for _ in range(2))
    assert [first.one() for _ in range(200)] == [second.one() for _ in range(200)]


def test_a_daemon_counts_each_refusal_and_disturbs_nobody(runtime, within):
    print(sockets.fuzz_with_witness(runtime / "fuzz", 3000, 1, within))


@pytest.mark.slow
def test_a_daemon_takes_fifty_thousand(runtime, within):
    print(sockets.fuzz_with_witness(runtime / "fuzz", 50_000, 2, within))
