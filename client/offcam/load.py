"""``offcam.load``: recorded runs as numpy arrays, pandas or polars frames, and videos in a notebook."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from offcam_runs.run import Run, Runs
    from offcam_runs.sessions import Session


@overload
def load(folder: str | os.PathLike[str], *, session: Session = ...) -> Run: ...  # type: ignore[overload-overlap]  # a str is also a Sequence[str]


@overload
def load(folder: Sequence[str | os.PathLike[str]], *, session: Session = ...) -> Runs: ...


def load(folder: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, session: Session = None) -> Run | Runs:
    """Read a recorded run, or several. Needs no daemon and changes nothing in the folders.

    Args:
        folder: a run folder, the ``video_folder`` of a ``RecordVideo``: then the run is returned. Or a list of run
            folders and patterns, such as ``["runs/ppo-*"]``: then all of them in that order, a pattern's by name.
        session: of trainings that were recorded into one folder, each by a script that was run again, the number of one
            from 1 on, or ``"all"``; by default the newest. `Run.sessions` says which there are.

    Returns:
        What there is at this moment, also while a daemon writes it; call again for more.

    Raises:
        ConfigError: there is no such session.
        NotARunFolder: there is no index in it, or no run folder matches a pattern.
        RunFormatTooNew: a newer offcam wrote it.
        RunFolderError: its index is damaged or cannot be read.
    """
    from offcam_runs.discover import matching  # noqa: PLC0415 - a training that only records need not load it
    from offcam_runs.run import Runs, load_run  # noqa: PLC0415 - as above

    if isinstance(folder, (str, os.PathLike)):
        return load_run(os.fspath(folder), session)
    return Runs(tuple(load_run(path, session) for path in matching([os.fspath(path) for path in folder])))
