"""What one wrapped env sends: its episodes and its clips, in one stream that survives forks and lost daemons."""

from __future__ import annotations

import os
import time
import uuid
from typing import TYPE_CHECKING, Any

from offcam.connection import process, settings, timeouts
from offcam.connection.connection import kept
from offcam.recorder.journal_thread import journal_of
from offcam.recorder.resuming import is_another
from offcam.recorder.steps import StepLog
from offcam.recorder.stream_videos import StreamVideos
from offcam.recorder.training import training
from offcam_proto.client_session import State
from offcam_proto.errors import DaemonError, DaemonNotInstalled, DaemonUnavailable, OffcamError, RemoteProtocolError
from offcam_proto.limits import MAX_BYTES_IN_FLIGHT, MIB
from offcam_proto.messages import OpenStream
from offcam_runs.format import INDEX_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcam.connection.connection import Connection
    from offcam.recorder.journal import Journal
    from offcam.recorder.journal_thread import ThreadedJournal
    from offcam.recorder.stream_videos import Abandoned
    from offcam.recorder.tail import Tail
    from offcam_proto.client_stream import ClientStream
    from offcam_proto.records import Record, StepRecord
    from offcam_runs.resuming import Before

STEPS_WAITING_BYTES = 1024 * MIB
"""Most bytes of records that may wait for a daemon before steps are dropped, unless the wrapper sets another bound."""


class EnvStream:
    """The stream of one env, shared by the wrappers around it. Thread: that of the env.

    It survives a daemon that comes late, dies or is replaced, a fork (the child gets a stream of its own), and use
    after `release`.

    Args:
        folder: absolute path of the run folder.
        env_id: id of the env, for people.
        num_envs: number of sub-environments.
        vector: whether it is a vector env.
        prefix: name prefix of its videos; empty for a stream without video.
        before: how far the resumed session has come; None for a new session. An attribute, too.
        steps_limit: most bytes of steps that the run is to have on the disk; 0 for the daemon's own bound.
        replays: id of the stream whose episodes are replayed into it; zeros for none.

    Attributes:
        videos: its videos, and what is lost of them.
        steps: its steps, where they are recorded.
        has_statistics: whether a wrapper has joined it that records episodes.
        when_closed: functions that the last `release` calls once the stream is closed; they must not raise.
    """

    def __init__(
        self,
        folder: str,
        *,
        env_id: str,
        num_envs: int,
        vector: bool,
        prefix: str = "",
        before: Before | None = None,
        steps_limit: int = 0,
        replays: bytes = bytes(16),
    ) -> None:
        self.folder = folder
        self.prefix = prefix
        self.when_closed: list[Callable[[], object]] = []
        self.before = before
        self._steps_limit = steps_limit
        self._replays = replays
        self._env_id = env_id[:200].encode(errors="backslashreplace").decode().replace("\0", "\\0")
        self._num_envs = num_envs
        self._vector = vector
        self.has_statistics = not prefix
        self._users: set[int] = set()
        self._pid = 0
        self._suffix = 0  # number in the names of its videos, from before it was released
        self._copied = False
        self._strict = False
        self._opening = False
        self._awaited = False  # whether a warning said that recording has not begun
        self.videos = StreamVideos(folder)
        self.steps = StepLog(self._keep_steps, self._tail)
        self._connection: Connection | None = None
        self._wire: ClientStream | None = None
        self._journal: Journal | ThreadedJournal | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy of an env, as for a spawned process, gets a stream of its own, as an env in a forked child does."""
        fresh = {"_users": set(), "_pid": 0, "_connection": None, "_wire": None, "_journal": None}
        return {**self.__dict__, **fresh, "_copied": self._copied or self.attached}

    @property
    def attached(self) -> bool:
        """Whether it was ever opened, even if no daemon has answered yet."""
        return self._wire is not None

    @property
    def used(self) -> bool:
        """Whether a wrapper has joined it and not left; in a forked child the parent's wrappers count, too."""
        return bool(self._users)

    @property
    def connection(self) -> Connection:
        """The connection on which `wire` was opened."""
        assert self._connection is not None  # noqa: S101 - there is no wire without one
        return self._connection

    def acquire(self, user: object, *, strict: bool = False) -> EnvStream:
        """Join the stream: it stays open until each user has called `release`.

        With ``strict``, `open` and the last `release` raise where something is not recorded.
        """
        self._users.add(id(user))
        self._strict = self._strict or strict
        return self

    def open(self) -> None:
        """Connect, at construction. A wrong setting is raised here and nowhere else.

        A daemon that is slow, frozen or dying is only warned about, and waited for no longer than
        `timeouts.START_SECONDS`: recording begins when it answers. A stream that is open already is only waited for.

        Raises:
            ConfigError: ``OFFCAM_ADDR`` is malformed, or is ``tcp://`` and there is no key that can be used.
            KeyRefused: over ``tcp://``, the daemon does not take the key, or is not the one that the key is for.
            DaemonNotInstalled: videos are wanted, and no daemon can be had; with ``strict``, even without videos.
            FolderNotWritable: the daemon cannot use the run folder.
            DaemonUnavailable, VersionMismatch: only with ``strict``: recording did not begin within
            `timeouts.CERTAIN_SECONDS`.
        """
        connection = process.current()
        deadline = connection.handshake.deadline(strict=self._strict)
        self._opening = True
        try:
            there = self._connect(connection, deadline)
            wire = self._wire
            if wire is None or self._pid != connection.pid or self._connection is not connection:
                wire = self._attach(connection)
            if there:  # if the daemon dies in between, another one is waited for
                self._wait_opened(connection, wire, deadline)
            if wire.live and self.has_statistics:
                with connection.lock:
                    wire.backlog.begin()
        finally:
            self._opening = False

    def _connect(self, connection: Connection, deadline: float) -> bool:
        """Shake hands with a daemon. Returns whether there is one; if not, the user was told."""
        try:
            process.establish(connection, deadline, strict=self._strict)
        except DaemonNotInstalled as error:
            if self.prefix or self._strict:
                raise
            self._awaited = True
            connection.warn_once(
                f"episode statistics are kept in {self.folder} until a recorder daemon takes them in: {error}"
            )
        except DaemonUnavailable as error:
            self._not_yet(connection, error)
        except RemoteProtocolError:
            if self._strict:
                raise  # if not strict, a warning has said by now that nothing is recorded
        else:
            return connection.session.state is not State.REFUSED
        return False

    def _wait_opened(self, connection: Connection, wire: ClientStream, deadline: float) -> None:
        try:
            connection.handshake.wait_opened(wire, deadline)
        except (DaemonNotInstalled, DaemonUnavailable) as error:
            self._not_yet(connection, error)
        suffix = wire.info.suffix if wire.live else 0
        if suffix in (0, self.before and self.before.suffix):
            return
        if is_another(self.folder, wire.info.stream):
            connection.warn_once(
                f"{self.folder} has {self.prefix!r} videos of another recording, which stay: this one's file names "
                f"carry the suffix -s{suffix}. Give each its own `name_prefix`, or go on with the last one: "
                "resume=True. (Said once.)",
                about=f"suffix: {self.folder}",
            )

    def _not_yet(self, connection: Connection, error: DaemonError) -> None:
        """Warn that recording has not begun, or raise if strict."""
        if self._strict:
            raise error
        self._awaited = True
        connection.warn_once(
            f"nothing is recorded yet: {error} (Training goes on; statistics are kept, and recording begins when the "
            "daemon is there.)",
            about="no_daemon",
        )

    def wire(self) -> ClientStream:
        """The stream on the wire, which is opened if it is not, as after a fork or `release`. Never raises."""
        if self._wire is None or self._pid != os.getpid():
            connection = process.current()
            self._copied = self._copied or (self.attached and self._pid != os.getpid())  # by a fork
            reconnect = connection.reconnect
            with connection.lock:
                reconnect.doubt()
            wire = self._attach(connection)
            if not reconnect.hopeless:  # or the first frames would be lost although a daemon is there, or soon will be
                over = lambda: wire.live or wire.refused is not None or reconnect.failed  # noqa: E731
                connection.wait(over, timeouts.REOPEN_SECONDS)
            return wire
        return self._wire

    def record(self, *records: Record) -> None:
        """Keep records until the daemon has committed them. All records of the stream go this way.

        They are in the stream's journal when this returns. Never raises.
        """
        wire = self.wire()
        self.videos.take_over()
        connection = self.connection
        try:
            with connection.lock:
                all_kept = wire.keep(*records)
                if time.monotonic() >= connection.next_look + timeouts.RECORDS_SECONDS:
                    connection.pump()
                elif wire.live:
                    connection.records.soon(0 if self._vector else len(records))
        except OffcamError as error:
            connection.warn_once(f"a record could not be sent and is lost: {error}")
            return
        if not all_kept:
            connection.warn_once(
                "statistics are being lost: the recorder daemon has not answered for so long that there is no room for "
                "more of them. See `offcam status`, and start one with `offcam start` if none runs."
            )

    def _keep_steps(self, record: StepRecord) -> None:
        """Keep rows of steps, unless as many bytes wait for a daemon as may lie on the disk. Never raises."""
        limit = max(self._steps_limit or STEPS_WAITING_BYTES, MAX_BYTES_IN_FLIGHT)
        if self.wire().backlog.nbytes <= limit:
            self.record(record)
            return
        self.warn_once(
            f"steps are being lost: {limit:,} bytes of records wait for a recorder daemon. Start one (`offcam start`), "
            "or give a larger steps_limit.",
            about=f"steps wait: {self.folder}",
        )

    def warn_once(self, text: str, *, about: str) -> None:
        """Warn, once in the process, of a problem with a recording."""
        self.connection.warn_once(text, about=about)

    def flush(self, *, quiet: bool = True) -> bool:
        """Wait until everything that ended is final. Returns whether that is so."""
        if self._connection is None or self._pid != os.getpid():
            return True
        self.steps.seal()
        self._connection.pump()
        if self._wire is None:
            return True
        if self.videos.settled and not self._wire.unacked and self._index_there():
            self._rest()
            return True
        return self._wait_until_final(self._wire, quiet=quiet)

    def _wait_until_final(self, wire: ClientStream, *, quiet: bool) -> bool:
        if not wire.epoch and self.connection.reconnect.hopeless:
            return False  # there never was a daemon, as a warning said: waiting would be in vain
        final = self.connection.flush(quiet=quiet)
        if final:
            self._rest()
            return True
        what = "it finishes what it has by itself if it lives; see `offcam status` and"
        if self.connection.reconnect.hopeless and self.connection.session.state is not State.REFUSED:
            what = (
                "it is gone, and no other one has come. The next one takes in what is kept: episodes, and frames in "
                "shared memory or on its disk. Start it with `offcam start`; then see"
            )
        self.connection.warn_once(
            f"gave up waiting for the recorder daemon: {what} `offcam ls {self.folder}`.", about="gave up"
        )
        return False

    def _index_there(self) -> bool:
        """Whether acked records are still where they were stored, as far as can be seen from here."""
        here = self.connection.endpoint.path is not None and self._wire is not None and self._wire.epoch
        return not here or os.path.exists(os.path.join(self.folder, INDEX_NAME))

    def _rest(self) -> None:
        """Remove what is of no use from the run folder, for anybody who looks there after a flush."""
        with self.connection.lock:
            if self._wire is not None and self._journal is not None and not self._wire.unacked and not self.steps.busy:
                self._journal.rest()
                if not self._journal.has_tail:
                    self.steps.rest()

    def release(self, user: object, *, quiet: bool = True) -> None:
        """Leave the stream; the last user closes it and waits until its files are final. If used again, it opens again.

        Raises:
            RecordingLost: with ``strict``, if something is not recorded, or nobody can tell.
        """
        self._users.discard(id(user))
        if self._users or self._wire is None or self._pid != os.getpid():
            return
        try:
            self._close(self._wire, quiet=quiet)
        finally:
            while self.when_closed:
                self.when_closed.pop()()

    def _close(self, wire: ClientStream, *, quiet: bool) -> None:
        for clip in list(self.videos.clips):
            clip.end()
        self.steps.seal()
        self.steps.forget()
        left = self.videos.left
        if left:  # as long as the stream is open, another daemon can be told of what is left
            self._wait_until_final(wire, quiet=quiet)
        self.connection.close_stream(wire)
        if left:
            self._wait_until_final(wire, quiet=True)
        else:
            self.flush(quiet=quiet)
        self.connection.records.rest()
        self._wire = None
        self._suffix = wire.info.suffix
        with self.connection.lock:
            wire.backlog.look()
        place = wire.backlog.place
        if place and wire.kept_episodes and self.connection.warn_once(f"{kept([wire])}.", about=f"kept: {place}"):
            self.connection.told.add(wire)
        losses = self.videos.leave()
        if self._strict:
            losses.settle(wire, [name for name, *_ in self.videos.unfinished.values()])
            losses.raise_if_any(self.folder)
        elif wire.lost_records:
            self.connection.warn_once(
                f"{wire.lost_records} records of episodes or videos that ended are in no index of {self.folder}: too "
                "many waited for the recorder daemon, or the index that had them was replaced.",
                about=f"lost records: {self.folder}",
            )

    def leave(self, user: object, *clips: Abandoned | None) -> None:
        """Leave the stream without waiting, as a garbage-collected user does: what was recorded is kept."""
        self._users.discard(id(user))
        if self._connection is None or self._pid != os.getpid():
            return
        if not self._users:
            self._connection.later(self.abandon)
            return
        for clip in clips:
            if clip is not None:
                self._connection.later(clip.abandon)

    def answered(self, *, refused: str) -> None:
        """The daemon has opened the stream, or refused it: warned of here where no construction waits for that."""
        if self._opening or self._connection is None:
            return
        if refused:
            what = f"nothing is recorded into {self.folder}"
            self._connection.warn_once(f"{what}: {refused}", about=what)
        elif self._awaited:
            self._awaited = False
            self._connection.warn_once("the recorder daemon is there now: recording has begun.")

    def abandon(self) -> None:
        """The process is ending without `release`: keep what was recorded."""
        self.videos.end()
        if self._wire is not None and self._pid == os.getpid():
            if not self._wire.closed:
                self.steps.seal()
            self.steps.forget()
            self.connection.close_stream(self._wire)

    def _tail(self) -> Tail:
        """The stream's tail: it has the rows of steps that are not in a record yet."""
        self.wire()
        assert self._journal is not None  # noqa: S101 - a stream on the wire has one
        with self.connection.lock:
            return self._journal.tail()

    def _attach(self, connection: Connection) -> ClientStream:
        suffix = 2 if self._copied and self.prefix else 0  # so that a copy's files do not replace the original's
        resumes = self._pid == connection.pid  # the stream was released, and is used again
        if resumes:
            suffix = self._suffix
        elif self.before is not None and not self._pid and not self._copied:
            resumes, suffix = True, self.before.suffix
        info = OpenStream(
            handle=0,  # the session gives it
            stream=uuid.uuid4().bytes,
            folder=self.folder,
            prefix=self.prefix,
            suffix=suffix,
            video=bool(self.prefix),
            env_id=self._env_id,
            num_envs=self._num_envs,
            vector=self._vector,
            started=time.time(),
            training=training(),
            resumes=resumes,
            steps_limit=self._steps_limit,
            replays=self._replays,
        )
        self._connection = connection
        self._pid = connection.pid
        self.steps.forget()
        backlog = self._journal = journal_of(
            info, connection.session.hello, here=connection.endpoint.path is not None, said=self._elsewhere
        )
        wire = self._wire = connection.open_stream(info, self, backlog)
        self.videos.begin(connection, wire)
        return wire

    def _elsewhere(self, folder: str, why: str) -> None:
        """Warn that the journal cannot lie in a folder, and why."""
        self.connection.warn_once(
            f"records that no index has yet cannot be written into {folder} ({why}): they are kept elsewhere until the "
            "recorder daemon has them. `close()` says where, if they are left.",
            about=f"no journal: {folder}",
        )


def check_daemon(*, strict: bool = False) -> None:
    """Raise at construction what is wrong with ``OFFCAM_ADDR`` or its key; with ``strict``, any other problem, too.

    Raises:
        ConfigError, KeyRefused: as `EnvStream.open`.
        DaemonNotInstalled, DaemonUnavailable, VersionMismatch: only with ``strict``.
    """
    endpoint, _ = settings.daemon_endpoint()
    if strict or endpoint.path is None:
        connection = process.current()
        try:
            process.establish(connection, connection.handshake.deadline(strict=strict), strict=strict)
        except (DaemonUnavailable, RemoteProtocolError):  # the warning comes when the stream is opened
            if strict:
                raise
