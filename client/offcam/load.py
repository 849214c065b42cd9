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
        folder: a run folder, the ``video_folder`` of a ``RecordVideo``, for one run; or where one was sent to in object
            storage, such as ``"s3://bucket/run"``. Or a list of these and of patterns, such as ``["runs/ppo-*"]``, for
            all of these runs in that order; those of one pattern are sorted by name.
        session: which session to read, where a script was run several times into one folder: its number, from 1, or
            ``"all"``; by default the newest. `Run.sessions` has their numbers.

    Returns:
        What is recorded at this moment, even while a daemon writes the folder; call again for more. Of a run in object
        storage, what was sent of it by now: a copy of its index is in ``$XDG_CACHE_HOME/offcam/objects``, and a video
        or steps come there when they are asked for (`Clip.fetch`, `Clip.steps`, `Run.steps`).

    Raises:
        ConfigError: there is no such session; or the object storage refuses it, or obstore is not installed.
        NotARunFolder: there is no index in the folder, or no run folder matches a pattern.
        RunFormatTooNew: a newer offcam wrote the run.
        RunFolderError: the run's index is damaged or cannot be read, or the object storage cannot be reached.
    """
    from offcam_runs.discover import matching  # noqa: PLC0415 - a training that only records need not load it
    from offcam_runs.objects.copies import local  # noqa: PLC0415 - as above
    from offcam_runs.run import Runs, load_run  # noqa: PLC0415 - as above

    if isinstance(folder, (str, os.PathLike)):
        return load_run(local(os.fspath(folder)), session)
    return Runs(tuple(load_run(path, session) for path in matching([local(os.fspath(path)) for path in folder])))
