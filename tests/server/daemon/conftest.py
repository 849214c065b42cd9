"""An arena that is given back."""

from __future__ import annotations

import contextlib

import pytest

from arenas import Memory


@pytest.fixture
def stack():
    with contextlib.ExitStack() as opened:
        yield opened


@pytest.fixture
def memory(stack):
    made = Memory()
    stack.callback(made.close)
    return made
