"""Arenas as a client has them, or made wrongly, for a daemon that is to use them."""

from __future__ import annotations

import fcntl
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from offcam_proto import messages as msg
from offcam_proto.arena import (
    ENTRIES_AT,
    ENTRY,
    SLOTS_AT,
    STATES_AT,
    WRITTEN,
    arena_bytes,
)
from offcam_proto.layout import FrameLayout

SIDE = 64
LAYOUT = FrameLayout((SIDE, SIDE), (SIDE, 1), 0, SIDE * SIDE)
SLOT_BYTES, SLOTS = 4096, 8

NOBODY = 65534


class Memory:
    """An arena as a client has it, or one that is made wrongly."""

    def __init__(self, size: int = arena_bytes(SLOT_BYTES, SLOTS), seals: int = fcntl.F_SEAL_SHRINK) -> None:
        self.token = os.urandom(16)
        self.descriptor = os.memfd_create("offcam-test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.descriptor, size)
        if seals:
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)
        self.map = mmap.mmap(self.descriptor, size)
        self.map[: len(self.token)] = self.token

    def write(self, slot: int, value: int, state: int = WRITTEN, clip: int = 0, index: int = 0) -> None:
        start = SLOTS_AT + slot * SLOT_BYTES
        self.map[start : start + SLOT_BYTES] = bytes([value]) * SLOT_BYTES
        ENTRY.pack_into(self.map, ENTRIES_AT + slot * ENTRY.size, clip, index)
        self.map[STATES_AT + slot] = state

    def states(self) -> list[int]:
        return list(self.map[STATES_AT : STATES_AT + SLOTS])

    def offer(self, handle: int = 1) -> msg.OpenArena:
        return msg.OpenArena(handle, self.descriptor, self.token, SLOT_BYTES, SLOTS)

    def close(self) -> None:
        self.map.close()
        os.close(self.descriptor)


def unsealed(stack, memory):
    made = Memory(seals=0)
    stack.callback(made.close)
    return os.getpid(), made.offer()


def too_small(stack, memory):
    return os.getpid(), replace(memory.offer(), slots=SLOTS + 1)


def too_large(stack, memory):
    return os.getpid(), replace(memory.offer(), slots=SLOTS - 1)


def another_token(stack, memory):
    return os.getpid(), replace(memory.offer(), token=bytes(16))


def opened(stack, path, flags):
    descriptor = os.open(path, flags)
    stack.callback(os.close, descriptor)
    return descriptor


def regular_file(stack, memory):
    Path("file").write_bytes(memory.map[:])
    return os.getpid(), replace(memory.offer(), descriptor=opened(stack, "file", os.O_RDWR))


def directory(stack, memory):
    return os.getpid(), replace(memory.offer(), descriptor=opened(stack, ".", os.O_RDONLY))


def fifo(stack, memory):
    os.mkfifo("fifo")
    return os.getpid(), replace(memory.offer(), descriptor=opened(stack, "fifo", os.O_RDWR | os.O_NONBLOCK))


def device(stack, memory):
    return os.getpid(), replace(memory.offer(), descriptor=opened(stack, "/dev/zero", os.O_RDWR))


def sock(stack, memory):
    reader, _writer = os.pipe()
    stack.callback(os.close, reader)
    stack.callback(os.close, _writer)
    return os.getpid(), replace(memory.offer(), descriptor=reader)


def closed(stack, memory):
    return os.getpid(), replace(memory.offer(), descriptor=2**63 - 1)


def nobody_s_process(stack, memory):
    return 2**63 - 1, memory.offer()


def gone(stack, memory):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid, memory.offer()


def another_process(stack, memory):
    """Of another container, say, whose client has the number that this process has here."""
    process = stack.enter_context(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
    stack.callback(process.kill)
    return process.pid, replace(memory.offer(), descriptor=0)


def another_user_s(stack, memory):
    if os.getuid():
        pytest.skip("only root can make what is another user's")
    os.fchown(memory.descriptor, NOBODY, NOBODY)
    return os.getpid(), memory.offer()


WRONG = [
    unsealed, too_small, too_large, another_token, regular_file, directory, fifo, device, sock, closed,
    nobody_s_process, gone, another_process, another_user_s,
]  # fmt: skip
