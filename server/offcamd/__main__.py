"""``offcam``, ``python -m offcam`` and ``python -m offcamd``: the command line, or what to install where it cannot run.

Only the standard library is imported at the top, so that a bare `pip install offcam` gets an answer.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from offcam_proto.errors import ConfigError, DaemonNotInstalled
from offcamd import __version__
from offcamd.process import exit_codes

NEEDED = ("av", "cv2", "msgspec", "platformdirs", "psutil", "rich", "starlette", "typer", "uvicorn", "zmq")


def missing_modules() -> list[str]:
    """The libraries of the ``server`` extra that are missing, found without importing them."""
    needed = NEEDED if sys.version_info >= (3, 11) else (*NEEDED, "tomli")
    return [name for name in needed if importlib.util.find_spec(name) is None]


def working_directory() -> str:
    """The working directory; empty if it was removed."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def main() -> int:
    """Run the command line. Returns the exit code, one of `offcamd.process.exit_codes`, which the process ends with."""
    words = sys.argv[1:]
    as_json = exit_codes.wants_json(words)
    try:
        if not exit_codes.open_streams(as_json=as_json):
            closed = ConfigError("stdout is closed: lead it somewhere, for example > /dev/null")
            return exit_codes.say(closed, exit_codes.CANNOT, as_json=False)
        code = _run(words)
    except SystemExit as leaving:  # raised by a signal's handler, or by a library that prints
        code = leaving.code if isinstance(leaving.code, int) else exit_codes.FINE
    except BaseException as error:  # noqa: BLE001 - nothing is swallowed: it is told, a bug with its traceback
        code = exit_codes.after(error, as_json=as_json)
    return exit_codes.leave(exit_codes.output_failure() or code)


def _run(words: list[str]) -> int:
    missing = missing_modules()
    if missing and set(words) & {"-V", "--version"}:
        sys.stdout.write(f"offcam {__version__}\n")
        return exit_codes.FINE
    if missing:
        raise DaemonNotInstalled(
            f"the recorder daemon and its command line need {', '.join(missing)}, not installed in {sys.prefix}. "
            f'Run: {sys.executable} -m pip install "offcam[server]"'
        )
    match words:
        case ["start", "--embedded", "--endpoint", endpoint, "--timeout", seconds]:  # exactly what a wrapper runs
            from offcamd.process.launch import for_wrapper  # noqa: PLC0415 - a training waits: not all of the command line

            return for_wrapper(endpoint, float(seconds))
        case ["serve", *flags, "--launch-lock", descriptor] if descriptor.isdecimal():  # what `launch` runs
            from offcamd.serving import launched  # noqa: PLC0415 - as above

            return launched(flags, int(descriptor))
    from offcamd.cli import run  # noqa: PLC0415 - needs typer, see above

    return run(words)


if __name__ == "__main__":
    # `python -m` puts the working directory first into sys.path, where a training's own logging.py would be imported
    # instead of the library. (In a working directory that was removed, the entry is "".)
    if sys.path and sys.path[0] in ("", working_directory()) and not getattr(sys.flags, "safe_path", False):
        del sys.path[0]
    sys.exit(main())
