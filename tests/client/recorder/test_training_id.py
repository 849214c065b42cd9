"""Which training a process is a part of: the one it was started in, one that it joins, or its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

GIVEN, OTHER = "a" * 32, "b" * 32

JOINS = f"""
import os, offcam
from offcam.recorder.training import join, training
own = training().hex()
join(bytes.fromhex({OTHER!r}))
joined = training().hex()
join(bytes.fromhex({"c" * 32!r}))
print(own, joined, training().hex(), os.environ["OFFCAM_SESSION"])
"""


def joining(**variables: str) -> list[str]:
    """The ids before, after, and after another join, and what children are given."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **variables}
    return subprocess.run(
        [sys.executable, "-c", JOINS], env=environment, text=True, capture_output=True, check=True
    ).stdout.split()


@pytest.mark.parametrize("malformed", ["", "x"])
def test_a_process_that_was_given_none_joins_another_with_its_children(malformed):
    own, *later = joining(OFFCAM_SESSION=malformed)
    assert later == [OTHER, "c" * 32, "c" * 32]
    assert own not in (OTHER, malformed)


def test_a_process_that_was_given_one_stays_in_it():
    assert joining(OFFCAM_SESSION=GIVEN) == [GIVEN] * 4
