"""Performs tasks on an index, within the transaction that the store has begun."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from offcam_proto.errors import LocalProtocolError, RemoteProtocolError, RunFolderError
from offcam_runs.format import LOST_DROP
from offcamd.process.health import STORE
from offcamd.store import tasks

if TYPE_CHECKING:
    from offcamd.process.health import Health
    from offcamd.store.index import RunIndex


def apply(index: RunIndex, task: tasks.Task) -> tasks.Event | None:  # noqa: PLR0911 - one case for each task
    """Do a task, and return the event to send once the transaction is committed."""
    match task:
        case tasks.OpenStreamTask():
            return tasks.StreamReady(task.reply, *index.open_stream(task.message, task.owner, task.gone))
        case tasks.RecordsTask():
            try:
                return tasks.Committed(task.reply, index.apply(task.stream, task.first_seq, task.bodies))
            except RemoteProtocolError as error:
                return tasks.Committed(task.reply, None, error)
        case tasks.ClipOpenedTask():
            return tasks.ClipNoted(task.reply, index.clip_opened(task.stream, task.message, task.file, task.saved))
        case tasks.ClipEncodedTask():
            count = index.clip_encoded(task.stream, task.clip, task.result)
            return tasks.ClipStored(task.reply, lost=count.dropped.get(LOST_DROP, 0))
        case tasks.PushedTask():
            index.elsewhere.apply(task.stream, task.message)
            return tasks.Pushed(task.reply, task.message)
        case tasks.CloseStreamTask():
            with suppress(LocalProtocolError):  # the stream could not be opened, and was closed before its client knew
                index.close_stream(task.stream, lost=task.lost)
        case tasks.BarrierTask() | tasks.LookTask():
            pass
    return None


def apply_alone(index: RunIndex, task: tasks.Task, health: Health) -> tasks.Event | None:
    """Do a task by itself, or undo it and give it a definite end: records that cannot be applied are set aside.

    Raises:
        RunFolderError: the index cannot be written.
    """
    try:
        with index.savepoint():
            return apply(index, task)
    except RunFolderError:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever made one task fail must not keep the others from going on
        health.unexpected(STORE, f"{type(task).__name__} of {index.folder}", error)
        failure = error
    if isinstance(task, tasks.RecordsTask):
        with suppress(LocalProtocolError), index.savepoint():  # suppressed: the index does not know the stream
            applied = index.set_aside(task.stream, task.first_seq, task.bodies, repr(failure))
            return tasks.Committed(task.reply, applied)
    return tasks.failed(task, unexpected(failure, index.folder))


def unexpected(error: BaseException, folder: object) -> RunFolderError:
    """An unexpected error of an index, as an error for whoever waits for the task."""
    return RunFolderError(f"unexpected {error!r} in the index of {folder}: please report it, the daemon's log has more")
