"""What is no arena, or none that a daemon may use."""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

import pytest

from arenas import LAYOUT, NOBODY, SLOT_BYTES, WRONG
from offcam_proto.arena import (
    FREE,
    TAKEN,
    WRITTEN,
)
from offcamd.daemon.shared_memory import Arena, ArenaUnusable

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no anonymous files here")


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_what_is_no_arena_is_refused(stack, memory, tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    pid, offer = wrong(stack, memory)
    before = len(list(Path("/proc/self/fd").iterdir())), Path("/proc/self/maps").read_text().count("memfd:offcam")
    with pytest.raises(ArenaUnusable):
        Arena(pid, offer)
    after = len(list(Path("/proc/self/fd").iterdir())), Path("/proc/self/maps").read_text().count("memfd:offcam")
    assert after == before


def test_what_another_user_may_not_open_is_refused(memory):
    """A daemon that is not root, whose client says the pid of somebody else's process."""
    if os.getuid():
        pytest.skip("only root can become another user")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            Arena(os.getppid(), memory.offer())
        except ArenaUnusable as error:
            code = 0 if "Permission denied" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_python_without_seals_refuses_all(memory, monkeypatch):
    monkeypatch.delattr(fcntl, "F_GET_SEALS")
    with pytest.raises(ArenaUnusable, match="cannot tell"):
        Arena(os.getpid(), memory.offer())


def test_what_it_takes_it_marks_and_gives_back(memory):
    arena = Arena(os.getpid(), memory.offer())
    memory.write(2, 7, index=9)
    memory.write(5, 8, index=4)
    memory.write(6, 9, state=TAKEN)
    memory.write(7, 9, state=99)
    assert arena.unnamed() == [(0, 4, 5), (0, 9, 2)]
    ((pixels, layout),) = arena.take(2, (LAYOUT,))
    assert (bytes(pixels), layout) == (bytes([7]) * SLOT_BYTES, LAYOUT)
    assert memory.states() == [0, 0, TAKEN, 0, 0, WRITTEN, TAKEN, 99]
    arena.free(2)
    assert memory.states()[2] == FREE
    memory.close()
    assert pixels[0] == 7, "it is there for as long as anybody looks at it"
    memory.map, memory.descriptor = mmap.mmap(-1, 1), os.dup(0)  # for its fixture to close
