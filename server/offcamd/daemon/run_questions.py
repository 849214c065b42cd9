"""Clients' questions how far runs came that they resume: put through the store, so that answers know all before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from offcam_proto.errors import FolderNotWritable, RunFolderError, RunFormatTooNew
from offcam_proto.resuming import DAEMON, FOLDER, FORMAT
from offcam_runs.database import IndexLocked
from offcamd.security import remote_folders
from offcamd.store.tasks import BarrierTask

if TYPE_CHECKING:
    from pathlib import Path

    from offcam_proto.errors import OffcamError
    from offcam_proto.resuming import RunRequest
    from offcamd.daemon.state import Peer
    from offcamd.store.run_reader import RunRead, RunReader
    from offcamd.store.store import Store
    from offcamd.store.tasks import Passed


class RunQuestion(NamedTuple):
    """A peer's question, on its way through the store and the reader."""

    peer: Peer
    token: int
    folder: str
    prefix: str


class RunQuestions:
    """All questions that are not answered. Belongs to the service's thread, which waits for none of them.

    Args:
        root: the folder that remote clients' folders are in.
        storage: the store.
        reader: reads the runs.
        speak: called with a peer that has something to be sent.
        is_here: whether a peer is still connected by its routing id, which may be another's by now.
    """

    def __init__(
        self,
        root: Path,
        storage: Store,
        reader: RunReader,
        speak: Callable[[Peer], None],
        is_here: Callable[[Peer], bool],
    ) -> None:
        self._root = root
        self._store = storage
        self._reader = reader
        self._speak = speak
        self._is_here = is_here

    def ask(self, peer: Peer, message: RunRequest) -> None:
        """Take in a peer's question, a remote one's for the folder that it would record into."""
        folder = message.folder
        if peer.user:
            try:
                folder = remote_folders.find_run_folder(self._root, peer.user, folder)
            except FolderNotWritable as error:
                peer.session.no_run(message.token, FOLDER, str(error))
                return
        self._store.put(BarrierTask(RunQuestion(peer, message.token, folder, message.prefix)))

    def passed(self, question: RunQuestion, event: Passed) -> None:
        """Give a question to the reader: all that came before it is in the index, or cannot be written."""
        if not self._is_here(question.peer):
            return
        if question.folder in event.gone | event.stuck:
            self._refuse(question, f"the index of {question.folder} cannot be written: is its disk full?")
        elif not self._reader.read(question.folder, question.prefix, question):
            self._refuse(question, "too many clients ask the daemon at the same time: start this one again later")

    def answered(self, question: RunQuestion, event: RunRead) -> None:
        """Answer a question with what the reader found."""
        if not self._is_here(question.peer):
            return
        if event.error is not None:
            self._refuse(question, str(event.error)[:1000], _code(event.error))
            return
        if event.before is None:
            question.peer.session.no_run(question.token)
        else:
            question.peer.session.run(question.token, **event.before._asdict())
        self._speak(question.peer)

    def _refuse(self, question: RunQuestion, why: str, code: str = DAEMON) -> None:
        question.peer.session.no_run(question.token, code, why)
        self._speak(question.peer)


def _code(error: OffcamError) -> str:
    match error:
        case RunFormatTooNew():
            return FORMAT
        case RunFolderError() if not isinstance(error, IndexLocked):
            return FOLDER
    return DAEMON
