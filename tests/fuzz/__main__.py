"""Throw altered messages at the protocol, and say what became of them. Linux only.

    python tests/fuzz                          1,000,000 messages at each session, 50,000 at a daemon
    python tests/fuzz --messages N --sent M    other numbers; 0 leaves out what it is for
    python tests/fuzz --seed S                 others; the same seed alters the same way

Exits with 1, and a traceback, where a promise is broken: a crash, a message that takes longer than a second, memory
that grows, a refusal that is not counted, or a recording at the same time that is disturbed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

import sessions
import sockets

from rawpeer import resident_mib

if TYPE_CHECKING:
    from collections.abc import Callable

PROCESSES = 2
LONGEST_SECONDS = 1.0
MOST_GROWTH_MIB = 64.0


def main() -> None:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000, help="at each of the two sessions")
    parser.add_argument("--sent", type=int, default=50_000, help="over sockets, at a daemon")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    if options.messages:
        with ProcessPoolExecutor(PROCESSES) as pool:
            servers = pool.submit(partial(measured, sessions.fuzz_server, options.messages, options.seed))
            clients = pool.submit(partial(measured, sessions.fuzz_client, options.messages, options.seed))
            print(f"the daemon's session: {servers.result()}")
            print(f"the client's session: {clients.result()}")
    if options.sent:
        with tempfile.TemporaryDirectory(prefix="oc", dir="/tmp", ignore_cleanup_errors=True) as base:
            print(sockets.fuzz_with_witness(Path(base), options.sent, options.seed, within))


def within(took: float, most: float) -> None:
    """Nothing else runs here: seconds are what they are."""
    assert took <= most, f"it took {took:.2f} s, which is more than {most:g} s"


def measured(fuzz: Callable[[int, int], sessions.Tally], count: int, seed: int) -> str:
    """Run one of `sessions` in this process, check its bounds and describe it."""
    fuzz(min(count, 20_000), seed)  # what stays once is no growth
    before, began = resident_mib(os.getpid()), time.perf_counter()
    tally = fuzz(count, seed + 1)
    growth = resident_mib(os.getpid()) - before
    within(tally.slowest, LONGEST_SECONDS)
    assert growth < MOST_GROWTH_MIB, f"memory grew by {growth:.0f} MiB"
    return (
        f"{count:,} messages in {time.perf_counter() - began:.0f} s, the slowest {1000 * tally.slowest:.1f} ms; "
        f"{before:.0f} MiB before, {before + growth:.0f} after; "
        f"accepted {dict(tally.accepted)}, refused {dict(tally.refused)}"
    )


if __name__ == "__main__":
    main()
