"""An agent that goes on while a test looks at what it does."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP_SECONDS = 0.05
"""Slow enough that an episode of 4,000 steps lasts longer than a test on a busy machine."""


@contextmanager
def going(env: Any, *, on: bool = False) -> Iterator[None]:
    """Step an env on a thread of its own, until its episode ends; frames that are held back go with the next ones.

    With ``on`` the next episode follows.
    """
    over = threading.Event()

    def steps() -> None:
        while not over.wait(STEP_SECONDS):
            if any(env.step(0)[2:4]):
                if not on:
                    return
                env.reset()

    agent = threading.Thread(target=steps)
    agent.start()
    try:
        yield
    finally:
        over.set()
        agent.join()
