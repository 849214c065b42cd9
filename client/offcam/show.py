"""``offcam.show``: a run shown in a notebook's cell or in a terminal."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offcam.recorder import settings
from offcam.wrappers import shared_stream
from offcam_proto.errors import ConfigError, RunFolderError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offcam_runs.filmed import Filmed
    from offcam_runs.run import Run
    from offcam_runs.sessions import Session


def show(
    what: Any,  # noqa: ANN401 - an Env or a VectorEnv, a folder, or what `load` returns
    *,
    quantity: str = "return",
    videos: int = 3,
    session: Session = None,
) -> None:
    """Show a run as it is now: its numbers, its learning curve, its newest videos, and those of its parts.

    Of one run there are the best, the median and the worst video of each of its eight parts, too.

    In a notebook (Jupyter, VS Code) the videos are part of the cell's output, which is at most 2 MB: a video that does
    not fit is named by its path. Colours are those of the notebook's theme. Anywhere else the same is printed as text.

    Args:
        what: an env that is recorded; a run folder, or a folder of runs, whose curves are drawn together, or the URL of
            either in object storage; a list of these and of patterns, as for `load`; or what `load` returned.
        quantity: what the curve shows: ``"return"``, ``"length"``, ``"duration"``, or a value by its name in
            ``episodes.info``.
        videos: how many of the newest videos to show at most.
        session: which session of the folders, as for `load`; by default the newest.

    Raises:
        ConfigError: the env is not recorded, or records on another host; no episode has such a value; an argument is
            wrong.
        NotARunFolder, RunFormatTooNew, RunFolderError: as `load`.
    """
    from offcam_runs.shown import Shown  # noqa: PLC0415 - a training that only records need not load it

    if isinstance(videos, bool) or not isinstance(videos, int) or videos < 0:
        raise ConfigError(f"videos is how many are shown at most, got {videos!r}")
    runs = _runs(what, session)
    shown = Shown(runs, quantity, videos, _filmed(runs))
    text = repr(shown)  # where there is no such quantity, that is raised here
    python = sys.modules.get("IPython")
    if python is not None and python.get_ipython() is not None:
        importlib.import_module("IPython.display").display(shown)
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))  # noqa: T201 - that is what it is for


def _runs(what: Any, session: Session) -> tuple[Run, ...]:  # noqa: ANN401 - see `show`
    from offcam_runs.discover import matching, run_folders  # noqa: PLC0415 - as above
    from offcam_runs.objects.copies import local  # noqa: PLC0415 - as above
    from offcam_runs.run import Run, Runs, load_run  # noqa: PLC0415 - as above

    if isinstance(what, Run):
        return (what,)
    if isinstance(what, Runs):
        return what.runs
    if isinstance(what, (list, tuple)):
        return tuple(load_run(path, session) for path in matching([local(os.fspath(each)) for each in what]))
    if isinstance(what, (str, os.PathLike)):
        (folders,) = run_folders([Path(local(os.fspath(what)))])
        return tuple(load_run(os.fspath(folder), session) for folder in folders)
    return tuple(load_run(folder, session) for folder in _recorded(what))


def _filmed(runs: Sequence[Run]) -> Filmed | None:
    """The run with its videos, if it is one and has some."""
    from offcam_runs.filmed import read_filmed  # noqa: PLC0415 - as above

    if len(runs) != 1 or not runs[0].clips:
        return None
    (run,) = runs
    sessions = {stream.session for stream in run.streams}
    with suppress(RunFolderError):  # of what was loaded the folder may be gone
        return read_filmed(run.folder, sessions.pop() if len(sessions) == 1 else "all")
    return None


def _recorded(env: Any) -> Sequence[str]:  # noqa: ANN401 - see `show`
    """The run folder of an env, if there is something in it yet."""
    from offcam_runs.discover import is_run  # noqa: PLC0415 - as above

    if not settings.enabled():
        return ()
    stream = shared_stream.stream_beneath(env)
    if stream is None:
        raise ConfigError(
            f"{env!r} is not recorded, or only from its first reset on: give what offcam.record returned, or a run "
            "folder"
        )
    if not os.path.isabs(stream.folder):
        raise ConfigError(
            f"the run {stream.folder!r} is on the daemon's machine: look at the daemon's page, or show a copy of its "
            "folder"
        )
    return [stream.folder] if is_run(stream.folder) else []
