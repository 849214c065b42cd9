"""How the command line ends: its exit codes, their meaning, and errors as one line or one JSON object.

Standard library only, as a base install, which has no command line, says so by these functions, too.
"""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from offcam_proto.errors import OffcamError

FINE, PROBLEM, CANNOT, LOSSY = 0, 1, 2, 3
INTERRUPTED = 128 + signal.SIGINT
NO_READER = 128 + signal.SIGPIPE
"""The exit code that a shell shows for a program ended by a closed pipe, as in ``| head``."""

MEANINGS = {
    FINE: "fine",
    PROBLEM: "found a problem, or nothing",
    CANNOT: "wrong usage, or it cannot be done",
    LOSSY: "done, but something is lost",
    INTERRUPTED: "interrupted",
    NO_READER: "nobody reads its output any more",
}


def wants_json(words: Iterable[str]) -> bool:
    """Whether a command line asks for JSON, even if it is otherwise wrong."""
    return "--json" in itertools.takewhile(lambda word: word != "--", words)


class _Output(io.FileIO):
    """Stdout, which remembers failed writes: whoever printed does not always learn of them."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:  # noqa: ANN401 - a buffer
        """Write some of the data; see `io.FileIO`."""
        try:
            return super().write(data)
        except OSError as error:
            type(self).failure = error
            raise


def open_streams(*, as_json: bool) -> bool:
    """Set up the standard streams so that printing cannot fail, except where nobody reads the output any more.

    Characters that the stream's encoding lacks are written as escapes. JSON is UTF-8 whatever the locale; there the
    escape of a byte that is no UTF-8 is valid JSON.

    A closed standard stream is opened as the null device. Else the next file that is opened would get its number, and
    what is printed.

    Returns:
        Whether stdout is open.
    """
    there = sys.stdout is not None
    while (lowest := os.open(os.devnull, os.O_RDWR)) <= 2:  # fills closed ones: a new file gets the lowest free number
        os.set_inheritable(lowest, True)  # noqa: FBT003 - positional in os
    os.close(lowest)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives
    given = sys.__stdout__
    if given is not None and sys.stdout is given:  # not where a test has replaced it
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Output(1, "w", closefd=False)),
            encoding="utf-8" if as_json else given.encoding,
            errors="backslashreplace",
            line_buffering=given.line_buffering,
        )
    return there


def as_dict(error: BaseException, code: int, text: str | None = None) -> dict[str, Any]:
    """An error for programs, ready for JSON; its ``error`` is the text that people would read."""
    return {
        "error": text or str(error),
        "type": type(error).__name__,
        "exit_code": code,
        "meaning": MEANINGS.get(code, ""),
    }


def say(error: BaseException, code: int, *, as_json: bool, text: str | None = None) -> int:
    """Report an error, on stderr in a line or on stdout as JSON. Returns the exit code that it was given."""
    if os.environ.get("OFFCAM_LOG", "").lower() == "debug":
        traceback.print_exception(type(error), error, error.__traceback__)
    with suppress(OSError):
        if as_json:
            sys.stdout.write(json.dumps(as_dict(error, code, text), ensure_ascii=False, indent=2) + "\n")
        else:
            sys.stderr.write(f"offcam: {text or error}\n")
    return code


def after(error: BaseException, *, as_json: bool) -> int:
    """The exit code after the error that ended a verb; the error is reported if there is something to say."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, OffcamError):
        return say(error, CANNOT, as_json=as_json)
    if isinstance(error, OSError):
        return output_failure() or say(error, CANNOT, as_json=as_json, text=_of_system(error))
    traceback.print_exception(type(error), error, error.__traceback__)
    what = next(iter(str(error).splitlines()), "")
    text = f"a bug in offcam, please report it: {type(error).__name__}: {what}"
    return say(error, CANNOT, as_json=as_json, text=text)


def output_failure() -> int:
    """Flush stdout. Returns 0, or the exit code if stdout did not take everything; the rest is lost then."""
    with suppress(OSError):
        sys.stdout.flush()
    error, _Output.failure = _Output.failure, None
    if error is None:
        return FINE
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the interpreter would try again at its exit
    if error.errno == errno.EPIPE:
        return NO_READER
    return say(error, CANNOT, as_json=False, text=f"cannot write to stdout ({error.strerror})")


def leave(code: int) -> int:
    """End with an exit code: return it if no other thread runs, else end the process here.

    A thread that still works, such as a self-test overtaken by a stop, is not waited for. Python's own shutdown would
    unwind it where it next asks for the interpreter, and C++ libraries answer that with an abort.
    """
    if threading.active_count() > 1:
        with suppress(OSError, ValueError):  # stderr is closed, or its disk is full
            sys.stderr.flush()
        os._exit(code)
    return code


def _of_system(error: OSError) -> str:
    if error.filename is None:
        return str(error)
    fix = ": check its permissions" if isinstance(error, PermissionError) else ""
    return f"{os.fsdecode(error.filename)}: {error.strerror}{fix}"
