"""``offcam`` and ``python -m offcamd``: the command line, or what to install where it cannot run.

Only the standard library is imported up here, so that a bare `pip install offcam` gets an answer.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

SERVER_MODULES = ("av", "cv2", "msgpack", "platformdirs", "rich", "starlette", "structlog", "typer", "uvicorn", "zmq")


def missing_modules() -> list[str]:
    """The libraries of the ``server`` extra that are not there, looked up without importing them."""
    needed = SERVER_MODULES if sys.version_info >= (3, 11) else (*SERVER_MODULES, "tomli")
    return [name for name in needed if importlib.util.find_spec(name) is None]


def working_directory() -> str:
    """The working directory, empty where it was removed under our feet."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def main() -> int:
    """Run the command line. Returns the exit code: 0 fine, 1 found a problem, 2 usage or cannot."""
    if missing := missing_modules():
        sys.stderr.write(
            f"offcam: the recorder daemon and its command line need {', '.join(missing)}, not installed in "
            f'{sys.prefix}. Run: {sys.executable} -m pip install "offcam[server]"\n',
        )
        return 2
    match sys.argv[1:]:
        case ["start", "--embedded", "--endpoint", endpoint, "--timeout", seconds]:  # a wrapper's words, to the letter
            from offcamd.launch import for_wrapper  # noqa: PLC0415 - a training waits: not all of the command line

            return for_wrapper(endpoint, float(seconds))
    from offcamd.cli import run  # noqa: PLC0415 - needs typer, see above

    return run()


if __name__ == "__main__":
    # `python -m` puts the working directory first: a training's own logging.py is none of our libraries
    if sys.path and sys.path[0] in ("", working_directory()) and not getattr(sys.flags, "safe_path", False):
        del sys.path[0]
    sys.exit(main())
