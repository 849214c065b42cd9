"""``offcam.sync``: sends a run to a tracker, such as W&B or TensorBoard, from a process of its own.

That process uses this interpreter and this environment, which have the tracker's package and its key; the daemon has
neither. This module starts it. What it does is in `offcam.sync.worker`, and what is sent next in `offcam.sync.core`.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from offcam.recorder import settings
from offcam.sync.surroundings import options_of
from offcam.wrappers import shared_stream
from offcam_proto.errors import ConfigError, NotARunFolder
from offcam_runs.discover import is_run
from offcam_runs.idle import give_way, hurry
from offcam_runs.sync.process import END, SyncRequest, parse_place, start, with_options

if TYPE_CHECKING:
    from offcam.recorder.env_stream import EnvStream

LEAVE_SECONDS: Final = 5.0
"""How many seconds `close` of an env waits for the sending. After that it goes on in the background."""


class Sync:
    """A process that sends a run. For the thread that made it.

    Attributes:
        pid: of the process; 0 for none, as where recording is off.
        process: the process; None for none.
    """

    def __init__(self, request: SyncRequest | None) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._streams: set[int] = set()  # ids of the objects of streams that are not closed yet
        self.pid = 0
        if request is not None:
            self.process = start(request, sys.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.pid = self.process.pid
            if not request.owner:
                self._say_end()

    @property
    def running(self) -> bool:
        """Whether the process is still sending: it ends when all is sent; for an env, not before the env is closed."""
        return self._owner == os.getpid() and self.process is not None and self.process.poll() is None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most so many seconds until the process ends. Returns whether all was sent. Close an env first."""
        if self.process is None or self._owner != os.getpid():
            return False
        hurry(self.process.pid)
        try:
            sent = self.process.wait(timeout) == 0
        except subprocess.TimeoutExpired:
            give_way(self.process.pid)
            return False
        self._say_end()
        return sent

    def end(self, timeout: float = LEAVE_SECONDS) -> bool:
        """The training is over: have all of it sent, and wait for that at most ``timeout`` seconds.

        Returns whether all was sent. The process goes on sending the rest, even after this process has ended.
        """
        process = self.process
        if process is None or self._owner != os.getpid():  # in a forked child it is the parent's
            return False
        self._say_end()
        return self.wait(timeout)

    def follow(self, stream: EnvStream) -> None:
        """End the sending when this stream, and all others that it follows, are closed."""
        if id(stream) not in self._streams:
            self._streams.add(id(stream))
            stream.when_closed.append(partial(self._closed, id(stream)))

    @property
    def follows(self) -> bool:
        """Whether any stream is followed that is not closed yet."""
        return self.running and bool(self._streams)

    def __del__(self) -> None:
        """Where `end` was not called, the process ends by itself once all is sent."""
        process = self.__dict__.get("process")
        if process is None:
            return
        if self._owner == os.getpid():
            self._say_end()
        elif process.stdin is not None:
            process.stdin.close()
        if process.returncode is None:
            _left[:] = [each for each in _left if each.poll() is None]
            _left.append(process)  # keeps subprocess from warning that it still runs

    def _say_end(self) -> None:
        assert self.process is not None and self.process.stdin is not None  # noqa: S101, PT018 - started, with a pipe
        if not self.process.stdin.closed:
            with suppress(OSError):  # the process has ended already
                self.process.stdin.write(END)
                self.process.stdin.flush()
            with suppress(OSError):
                self.process.stdin.close()

    def _closed(self, stream: int) -> None:
        self._streams.discard(stream)
        if not self._streams:
            self.end()


_running: dict[tuple[str, str, tuple[tuple[str, str], ...]], Sync] = {}
_left: list[subprocess.Popen[bytes]] = []


@atexit.register
def _leave_all() -> None:
    """This process ends: sending goes on, and nobody waits for it."""
    for found in _running.values():
        found.end(0)
    for process in (*_left, *(found.process for found in _running.values())):
        if process is not None and process.poll() is None:
            process.returncode = 0  # keeps subprocess from warning that it still runs


def sync(
    env_or_folder: Any,  # noqa: ANN401 - an Env or a VectorEnv, or a folder
    to: str,
    /,
    *,
    session: int | None = None,
    **options: object,
) -> Sync:
    """Send a run to a tracker, its episodes' values and its videos once they are final; or itself to object storage.

    A process at idle priority sends, with this interpreter and environment; nothing in the training waits for it. It
    sends what is in the run's folder, and notes there how far it came: after a kill or a network failure the next
    process goes on from there. For an env it ends once the env is closed, or this process gone, and all is sent.
    Closing the env waits for it for at most `LEAVE_SECONDS`.

    Args:
        env_or_folder: an env that is recorded; or a run folder, of which everything that it has now is sent.
        to: the tracker: ``"tensorboard"``, ``"wandb"``, and those that packages add. Options may follow, as in
            ``"tensorboard:logdir=runs"``. Or a URL, as ``"s3://bucket/runs/{name}"``, for the run itself; or that of a
            hub, as ``"tcp://head:8721"``, for its statistics.
        session: for a folder, the number of the session; by default the newest.
        **options: of the tracker; and ``timeout``, the seconds that one batch may take, 300 by default.

    Returns:
        The sending process, to wait for.

    Raises:
        ConfigError: there is no such tracker, its package is not installed, or the env is not recorded, or records on
            another host.
        NotARunFolder: the folder has no run.
    """
    tracker, given = with_options(to, options)
    check_tracker(to)
    if isinstance(env_or_folder, (str, os.PathLike)):
        folder = os.path.abspath(env_or_folder)
        if not is_run(folder):
            raise NotARunFolder(f"{folder} is no run folder: give the one you passed as video_folder")
        return Sync(SyncRequest(folder=folder, tracker=tracker, options=given, session=session))
    if not settings.enabled():
        return Sync(None)
    stream = shared_stream.stream_beneath(env_or_folder)
    if stream is None:
        raise ConfigError(
            f"{env_or_folder} is not recorded, or only from its first reset on: give what offcam.record returned, or a "
            "run folder"
        )
    return _follow(stream, tracker, {**options_of(tracker), **given})


def check_tracker(to: str) -> None:
    """Check that there is such a tracker, and its package.

    Raises:
        ConfigError: there is not; the message says what to install.
    """
    from offcam.sync.sinks import check  # noqa: PLC0415 - a training that sends nothing need not load it

    tracker, _ = parse_place(to)
    check(tracker)


def _follow(stream: EnvStream, tracker: str, options: dict[str, str]) -> Sync:
    """The process that sends an env's session. Envs of one run share one."""
    if not os.path.isabs(stream.folder):
        raise ConfigError(
            f"the run {stream.folder!r} is on the daemon's machine: run `offcam sync` there, or of a copy of its folder"
        )
    key = (stream.folder, tracker, tuple(sorted(options.items())))
    found = _running.get(key)
    if found is None or not found.follows:
        request = SyncRequest(
            folder=stream.folder,
            tracker=tracker,
            options=options,
            stream=stream.wire().info.stream.hex(),
            follow=True,
            owner=os.getpid(),
        )
        found = _running[key] = Sync(request)
    found.follow(stream)
    return found
