"""The process that sends a run: it finds what is new, has a sink send it, notes how far it came, and waits."""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from offcam.recorder.settings import absolute
from offcam.sync import index
from offcam.sync.copies import Copies
from offcam.sync.core import Position, after_clip, after_episodes, refusal, wait_seconds
from offcam.sync.sinks import sink_class
from offcam_proto.errors import (
    ConfigError,
    NotARunFolder,
    RunFolderError,
    SyncElsewhere,
)
from offcam_proto.limits import MIB
from offcam_runs.database import not_writable
from offcam_runs.file_lock import FileLock
from offcam_runs.format import SYNC_NAME
from offcam_runs.replay.recipe import make_key
from offcam_runs.sync.process import END
from offcam_runs.sync.state import (
    Sending,
    SyncState,
    file_of,
    lock_of,
    read_all,
    read_state,
    to_go_on_with,
    write_state,
)

if TYPE_CHECKING:
    from offcam.sync.core import ClipSent
    from offcam.sync.index import RunFacts, Unsent
    from offcam.sync.sinks.sink import Sink
    from offcam_runs.sync.process import SyncRequest

LOOK_SECONDS: Final = 1.0
"""How often the worker checks whether an index has changed, in seconds."""

LOOK_ANYWAY_SECONDS: Final = 30.0
"""How often an index is read even if it has not changed, in seconds."""

SEND_SECONDS: Final = 300.0
"""How many seconds a sink may take for a batch, by default."""

CLOSE_SECONDS: Final = 30.0
"""How many seconds a sink may take to close."""

LOOK_AT_END_SECONDS: Final = 2.0
"""How often to read an unchanged index once the training is over."""

AFTER_END_SECONDS: Final = 7 * 86_400.0
"""How long failed sending is tried again after the training has ended, in seconds; after that use `offcam sync`."""

MOST_COPIES: Final = 1024 * MIB
"""Bytes of copies for a sink that reads them later; beyond these it is to have for certain what it was sent."""

LONGEST_ERROR: Final = 500
"""Most characters of an error that are kept."""

TIMEOUT: Final = "timeout"
"""The option that every tracker has: most seconds for a batch."""


class SyncWorker:
    """Sends one session of a run to one place. Thread: the main thread of a process of its own.

    Attributes:
        sending: the state of the sending; None before the session is there.

    Args:
        request: what is to be sent, and where to; its options are checked here.

    Raises:
        ConfigError: there is no such tracker, its package is missing, or an option is wrong.
    """

    def __init__(self, request: SyncRequest) -> None:
        self.sending: Sending | None = None
        self._request = request
        self._options = dict(request.options)
        self._send_seconds = _seconds(self._options.pop(TIMEOUT, str(SEND_SECONDS)))
        self._kind = sink_class(request.tracker)
        self._kind.check(request.tracker, self._options)
        own = {name: text for name, text in self._options.items() if name in self._kind.paths}
        self._options |= {name: absolute(os.path.expanduser(path)) for name, path in own.items()}
        self._sink: Sink | None = None
        self._copies = Copies(request.folder)
        self._end_known = False  # whether the tracker was told of the session's end by an earlier process
        self._key = make_key(os.environ, os.getuid())
        self._found = index.NOTHING  # what was to be sent at the last look
        self._in_a_row = 0  # number of failures since something was sent that had not been sent before
        self._reached = 0  # how many episodes and clips had been sent at the last failure
        self._ended: float | None = None if request.owner else time.monotonic()  # since when the owner is gone
        self._parent = os.getppid()

    def run(self) -> bool:
        """Send until all is sent. Returns whether it is; False where that was given up.

        Raises:
            RunFolderError: the run is not there any more, or cannot be read or written.
            SyncElsewhere: another process is sending the same session to the same place.
            ConfigError: the sink refuses its options.
        """
        run = self._wait_for_run()
        if run is None:
            return True  # the training is over, and recorded nothing
        lock = self._begin(run)
        try:
            return self._send_all(run)
        finally:
            self._close()
            lock.release(remove=True)
            assert self.sending is not None  # noqa: S101 - begun
            self.sending = replace(self.sending, working=False)

    def _wait_for_run(self) -> RunFacts | None:
        """Wait for the session. Returns the facts about its run; None where there will be no such session."""
        request = self._request
        while True:
            before = index.signature(request.folder)
            try:
                if found := index.facts_of(request.folder, request.session, request.stream):
                    return found
            except NotARunFolder:
                if not request.owner:
                    raise
            if self._over_for_owner():
                if request.owner:
                    return None
                raise RunFolderError(f"nothing was recorded into {request.folder} yet: there is nothing to be sent")
            self._wait(self._patience, before)

    def _begin(self, run: RunFacts) -> FileLock:
        """Take the lock, so that no other process sends the same, and read how far the sending came."""
        folder, tracker = Path(run.folder), self._request.tracker
        own = [each for each in read_all(folder) if each.state.is_sealed_by(self._key)]
        known = to_go_on_with(own, tracker, run.session, self._options)
        file = known.file if known else file_of(folder, tracker, run.session, self._options)
        try:
            file.parent.mkdir(exist_ok=True)
            lock = FileLock.take(lock_of(file), 0o644)
        except OSError as error:
            raise not_writable(folder, str(error.strerror)) from error
        state = read_state(file)  # with the lock held, so that no other process writes it
        if lock is None:
            raise SyncElsewhere(
                f"{run.folder} is sent to {tracker!r} by another process already, pid {state.pid if state else '?'}"
            )
        # a state of another user's, or of an index that is not there any more, is not used
        if state is None or state.created != run.created or not state.is_sealed_by(self._key):
            state = SyncState(tracker=tracker, options=self._options, session=run.session, created=run.created)
        self._options, self._end_known = state.options, state.over
        state = replace(state, **self._certain(state))
        self.sending = Sending(file, replace(state, over=False, pid=os.getpid()), working=True)
        self._write(self.sending.state, first=True)
        return lock

    def _send_all(self, run: RunFacts) -> bool:
        while True:
            before = index.signature(run.folder)
            try:
                sent, over = self._turn(run)
            except NotARunFolder:
                raise  # the run folder was removed, or moved
            except ConfigError as error:  # trying again changes nothing
                raise self._give_up(error) from error
            except Exception as error:  # whatever a tracker raises, it is tried again
                if (status := refusal(error)) is not None:
                    said = f"{self._request.tracker!r} refuses it with HTTP {status}: {_text(error)}"
                    raise self._give_up(ConfigError(f"{said}. To go on from there, {self._kind.key}")) from error
                if not self._failed(run, error):
                    return False
                continue
            if over:
                return True
            if not sent:
                self._wait(self._patience, before)

    def _turn(self, run: RunFacts) -> tuple[bool, bool]:
        """Send the next batch. Returns whether there was one, and whether there will be none any more."""
        assert self.sending is not None  # noqa: S101 - begun
        position = Position.parse(self.sending.state.position)
        ended = self._over_for_owner()  # before the index is read, which after the end of the training has everything
        found = self._found = index.look(run, position)
        if found.batch is not None:
            self._send(run, position, found)
            if self._copies.nbytes > MOST_COPIES:
                self._write(replace(self.sending.state, **self._finish(run)))  # closes the sink, and so removes them
            return True, False
        over = (found.over and ended) or not self._request.follow
        certain = self._finish(run) if over else {}
        self._note(found, over=over and found.over, **certain)
        return False, over

    def _connected(self, run: RunFacts) -> Sink:
        assert self.sending is not None  # noqa: S101 - begun
        if self._sink is None:
            self._sink = self._kind(run, self._options, self.sending.state.saved)
        return self._sink

    def _finish(self, run: RunFacts) -> dict[str, Any]:
        """Have the sink make certain that all is sent. Returns the changed fields of the state. Raises as `_send`."""
        assert self.sending is not None  # noqa: S101 - begun
        changes = dict[str, Any]()
        if self._sink is not None or (self._kind.ends and not self._end_known):
            with _Within(self._send_seconds):
                self._connected(run).finish()
            changes |= self._local()
            self._close()
        state = self.sending.state
        return changes | ({"certain": {"position": state.position, "saved": state.saved}} if self._kind.late else {})

    def _send(self, run: RunFacts, position: Position, found: Unsent) -> None:
        """Have a batch sent, and note that. Raises what the sink does, and TimeoutError where it takes too long."""
        assert self.sending is not None and found.batch is not None  # noqa: S101, PT018 - begun
        with _Within(self._send_seconds):
            sink = self._connected(run)
            clip = self._readable(sink, found.batch.clip)
            gone = found.row is not None and clip is None
            saved = self.sending.state.saved if gone else sink.send(found.batch._replace(clip=clip))
        if not sink.late:  # else it may read the file later
            self._copies.close()
        if found.row is not None:
            after = after_clip(position, found.rows, found.row, gone=gone)
        else:
            after = after_episodes(position, found.batch)
        if after.episodes + after.sent_clips > self._reached:  # a sink that is `late` sends some again
            self._in_a_row = 0
        left = replace(
            found,
            episodes=found.episodes - len(found.batch.episodes),
            clips=found.clips - (found.row is not None),
        )
        where = self._sink.where if self._sink else self.sending.state.where
        self._note(left, position=after.as_dict(), saved=saved, error="", where=where)

    def _readable(self, sink: Sink, clip: ClipSent | None) -> ClipSent | None:
        """A clip with a file that the sink can read, if it needs one; None where there is none any more."""
        if clip is None or os.path.exists(clip.path) or sink.has_clip(clip):
            return clip
        return self._copies.of(clip)

    def _local(self) -> dict[str, int]:
        """The fields of the state that say what is left on this host, where the sink removes some of it."""
        return {} if self._sink is None or self._sink.local is None else self._sink.local._asdict()

    def _note(self, found: Unsent, **changes: Any) -> None:  # noqa: ANN401 - fields of the state
        """Store how far the sending came. If it cannot be stored, the next process sends the batch again."""
        assert self.sending is not None  # noqa: S101 - begun
        position = Position.parse(changes.get("position", self.sending.state.position))
        state = replace(
            self.sending.state,
            sent_episodes=position.episodes,
            sent_clips=position.sent_clips,
            behind_episodes=found.episodes,
            behind_clips=found.clips,
            behind_since=found.since if found.episodes + found.clips else None,
            **(self._local() | changes),
        )
        if state == self.sending.state and self.sending.file.exists():
            return
        self._write(state)

    def _write(self, state: SyncState, *, first: bool = False) -> None:
        assert self.sending is not None  # noqa: S101 - begun
        state = replace(state, updated=time.time()).sealed(self._key)
        self.sending = replace(self.sending, state=state)
        try:
            write_state(self.sending.file, state)
        except FileNotFoundError as error:
            raise NotARunFolder(f"{self._request.folder} was removed while it was sent") from error
        except (
            OSError
        ) as error:  # as on a full disk: this process goes on, and a later one will send some batches again
            if first:
                raise not_writable(Path(self._request.folder), f"{SYNC_NAME}: {error.strerror}") from error

    def _give_up(self, error: ConfigError) -> ConfigError:
        """Note an error after which trying again is useless. Returns the error."""
        back = self._back()
        self._note(self._found, error=str(error)[:LONGEST_ERROR], error_at=time.time(), **back)
        return error

    def _failed(self, run: RunFacts, error: Exception) -> bool:
        """Note a failure, and wait. Returns whether to try again."""
        assert self.sending is not None  # noqa: S101 - begun
        self._close()
        self._in_a_row += 1
        text = _text(error)
        state = self.sending.state
        self._reached = max(self._reached, state.sent_episodes + state.sent_clips)
        changes: dict[str, Any] = {"failures": state.failures + 1, "error": text, "error_at": time.time()}
        back = self._back()
        self._note(self._found, **changes, **back)
        tries = self._request.tries
        given_up = bool(tries) and self._in_a_row >= tries
        if self._request.follow and self._ended is not None and self._request.owner:
            given_up |= time.monotonic() - self._ended > AFTER_END_SECONDS
        seconds = wait_seconds(self._in_a_row, random.random())  # noqa: S311 - of when to try again
        after = "it is given up" if given_up else f"it is tried again in {seconds:.0f} s"
        print(f"offcam: {run.folder} is not sent to {self._request.tracker}: {text}; {after}", file=sys.stderr)  # noqa: T201 - for `offcam sync`
        if not given_up:
            self._wait(seconds)
        return not given_up

    def _back(self) -> dict[str, Any]:
        """The changed fields of the state where the sink has failed; what is not certain waits to be sent again."""
        assert self.sending is not None  # noqa: S101 - begun
        state = self.sending.state
        if back := self._certain(state):
            sent, certain = Position.parse(state.position), Position.parse(back["position"])
            self._found = replace(
                self._found,
                episodes=self._found.episodes + sent.episodes - certain.episodes,
                clips=self._found.clips + sent.sent_clips - certain.sent_clips,
                since=self._found.since or time.time(),
            )
        return back

    def _certain(self, state: SyncState) -> dict[str, Any]:
        """The changed fields of a state whose sink is gone: it goes back to what is certain, see `Sink.late`."""
        if not self._kind.late:
            return {}
        return {"position": state.certain.get("position", {}), "saved": state.certain.get("saved", {})}

    def _close(self) -> None:
        """Close the sink, within `CLOSE_SECONDS`, as it may hang."""
        sink, self._sink = self._sink, None
        if sink is not None:
            with suppress(Exception), _Within(CLOSE_SECONDS):
                sink.close()
        self._copies.close()

    @property
    def _patience(self) -> float:
        """Seconds until an unchanged index is read again, as the end of its writer does not change it."""
        return LOOK_ANYWAY_SECONDS if self._ended is None else LOOK_AT_END_SECONDS

    def _over_for_owner(self) -> bool:
        """Whether the request's owner has said that its training is over, or has ended."""
        if self._ended is None and os.getppid() != self._parent:
            self._ended = time.monotonic()
        return self._ended is not None

    def _wait(self, seconds: float, before: tuple[object, ...] | None = None) -> None:
        """Wait ``seconds``, or until the index differs from ``before``, if given, or until the training is over."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._ended is None:
                ready, _, _ = select.select([0], [], [], min(left, LOOK_SECONDS))
                if ready and os.read(0, 1) in (b"", END):
                    self._ended = time.monotonic()
                if self._over_for_owner():
                    return
            else:
                time.sleep(min(left, LOOK_SECONDS))
            if before is not None and index.signature(self._request.folder) != before:
                return


def _text(error: Exception) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_ERROR]


class _Within:
    """A context whose block has so many seconds; then TimeoutError is raised in it, by a signal."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, self._late)
        signal.setitimer(signal.ITIMER_REAL, self._seconds, self._seconds)  # repeats, in case the error is swallowed

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _late(self, *_: object) -> None:
        raise TimeoutError(f"there was no answer within {self._seconds:g} s")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise ConfigError(f"{TIMEOUT} is how many seconds a tracker may take for a batch, got {text!r}")
    return seconds
