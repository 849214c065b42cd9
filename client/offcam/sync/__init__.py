"""``offcam.sync``: sends a run to a tracker, as W&B or TensorBoard, from a process of its own.

That process is of this interpreter and this environment, where the tracker's package and its key are; the daemon has
neither. Here is what starts it. What it does is in `offcam.sync.worker`, and what is sent next in `offcam.sync.core`.
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
from offcam_runs.sync.process import END, SyncRequest, parse_place, start, with_options

if TYPE_CHECKING:
    from offcam.recorder.env_stream import EnvStream

LEAVE_SECONDS: Final = 5.0
"""How long `close` of an env waits for what is sent of it. What is not sent then goes on being sent."""


class Sync:
    """A process that sends a run. It belongs to the thread that made it.

    Attributes:
        pid: of the process; 0 for none, as where recording is off.
        process: itself.
    """

    def __init__(self, request: SyncRequest | None) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._streams: set[int] = set()  # of envs that are not closed yet
        self.pid = 0
        if request is not None:
            self.process = start(request, sys.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.pid = self.process.pid
            if not request.owner:
                self._say_end()

    @property
    def running(self) -> bool:
        """Whether it is at it: it ends when all is sent, with an env not before that is closed."""
        return self._owner == os.getpid() and self.process is not None and self.process.poll() is None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it ends, at most so many seconds. Returns whether all was sent. Of an env, close that before."""
        if self.process is None or self._owner != os.getpid():
            return False
        try:
            sent = self.process.wait(timeout) == 0
        except subprocess.TimeoutExpired:
            return False
        self._say_end()
        return sent

    def end(self, timeout: float = LEAVE_SECONDS) -> bool:
        """The training is over: have all of it sent, and wait for that at most so many seconds.

        Returns whether all was sent. What is not goes on being sent by the process, after this one's end, too.
        """
        process = self.process
        if process is None or self._owner != os.getpid():  # a forked child has it of its parent
            return False
        self._say_end()
        return self.wait(timeout)

    def follow(self, stream: EnvStream) -> None:
        """Have it end with a stream, and any others that it follows."""
        if id(stream) not in self._streams:
            self._streams.add(id(stream))
            stream.when_closed.append(partial(self._closed, id(stream)))

    @property
    def follows(self) -> bool:
        """Whether there is a stream that it is to end with."""
        return self.running and bool(self._streams)

    def __del__(self) -> None:
        """Where nobody has ended it: the process does so once all is sent."""
        process = self.__dict__.get("process")
        if process is None:
            return
        if self._owner == os.getpid():
            self._say_end()
        elif process.stdin is not None:
            process.stdin.close()
        if process.returncode is None:
            _left[:] = [each for each in _left if each.poll() is None]
            _left.append(process)  # or it would be told of as one that still runs

    def _say_end(self) -> None:
        assert self.process is not None and self.process.stdin is not None  # noqa: S101, PT018 - started, with a pipe
        if not self.process.stdin.closed:
            with suppress(OSError):  # it has ended before
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
    """This process ends: what is sent goes on, and no one will wait for it."""
    for found in _running.values():
        found.end(0)
    for process in (*_left, *(found.process for found in _running.values())):
        if process is not None and process.poll() is None:
            process.returncode = 0  # or it would be told of as one that still runs


def sync(
    env_or_folder: Any,  # noqa: ANN401 - an Env or a VectorEnv, or a folder
    to: str,
    /,
    *,
    session: int | None = None,
    **options: object,
) -> Sync:
    """Send a run to where you look at your trainings: its episodes' values, and its videos once they are final.

    A process at idle priority does so, with this interpreter and environment; nothing here waits for it. It sends what
    the run's folder has, and notes there how far it is: where it was killed, or the network away, the next one goes on.
    An env's is over once the env is closed, or this process gone, and all is sent. `close` of the env waits for it for
    `LEAVE_SECONDS` at most.

    Args:
        env_or_folder: an env that is recorded; or a run folder, of which is sent what there is now.
        to: a tracker: ``"tensorboard"``, ``"wandb"``, and those that packages add. Options may follow, as in
            ``"tensorboard:logdir=runs"``.
        session: of a folder, which session; by default the newest.
        **options: of the tracker; and ``timeout``, the seconds that it may take for a batch, 300 by default.

    Returns:
        The process, to wait for.

    Raises:
        ConfigError: there is no such tracker or its package is not installed, the env is not recorded, or records
            elsewhere.
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
    """Make sure that there is such a tracker, and its package.

    Raises:
        ConfigError: there is not; the message has the command that installs it.
    """
    from offcam.sync.sinks import check  # noqa: PLC0415 - a training that sends nothing need not load it

    tracker, _ = parse_place(to)
    check(tracker)


def _follow(stream: EnvStream, tracker: str, options: dict[str, str]) -> Sync:
    """The process that sends an env's session. Envs of one run have one."""
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
