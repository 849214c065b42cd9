"""Run a command as on a file system without locks: the kernel answers each request for one with an error.

A seccomp filter does it, for the command and all that it starts: ``nolocks.py ERRNO COMMAND...``. The processes that
this affects cannot tell it from a Lustre that is mounted without flock. Linux only, and no privilege is needed.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import struct
import sys

NUMBERS = {"x86_64": (0xC000003E, 73, 72), "aarch64": (0xC00000B7, 32, 25)}
"""By machine: what the kernel calls it, and the numbers of flock and fcntl."""

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF: load a word, jump if equal, return
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _MACHINE, _SECOND_ARGUMENT = 0, 4, 24  # offsets in struct seccomp_data
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
_OPEN_FILE_LOCKS = (36, 37, 38)  # F_OFD_GETLK and its like


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def program(number: int) -> bytes:
    """The filter: flock, and fcntl where it is about locks, fail with an error number."""
    machine, flock, fcntl_ = NUMBERS[platform.machine()]
    commands = (fcntl.F_GETLK, fcntl.F_SETLK, fcntl.F_SETLKW, *_OPEN_FILE_LOCKS)
    lines: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 0, len(commands) + 4, machine),
        (_LOAD, 0, 0, _NUMBER),
        (_EQUAL, len(commands) + 3, 0, flock),
        (_EQUAL, 0, len(commands) + 1, fcntl_),
        (_LOAD, 0, 0, _SECOND_ARGUMENT),
    ]
    lines += [(_EQUAL, len(commands) - place, 0, command) for place, command in enumerate(commands)]
    lines += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO | number)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def main(name: str, *command: str) -> None:
    code = program(getattr(errno, name))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(_Program(len(code) // 8, code)), 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.execv(command[0], command)  # noqa: S606 - there is none to be had


if __name__ == "__main__":
    main(*sys.argv[1:])
