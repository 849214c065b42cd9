"""The tasks that the service gives the store, and the events that the store sends back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from offcam_proto.errors import OffcamError, RemoteProtocolError
    from offcam_proto.messages import OpenClip, OpenStream
    from offcam_proto.pushing import ClipElsewhere, ClipsGone
    from offcam_runs.accounts import EncodedResult
    from offcamd.store.entries import Applied, Kept, StreamOwner
    from offcamd.store.rescue import RecoveredClip


class OpenStreamTask(NamedTuple):
    """A stream opens; answered by `StreamReady`."""

    folder: str
    message: OpenStream
    owner: StreamOwner
    gone: tuple[str, ...]
    reply: object


class RecordsTask(NamedTuple):
    """Records came; answered by `Committed`."""

    folder: str
    stream: bytes
    first_seq: int
    bodies: tuple[bytes, ...]
    reply: object


class ClipOpenedTask(NamedTuple):
    """A clip was opened, or is saved from a ring for a reason; answered by `ClipNoted`."""

    folder: str
    stream: bytes
    message: OpenClip
    file: str
    reply: object
    saved: str = ""


class ClipEncodedTask(NamedTuple):
    """A clip's file is final; answered by `ClipStored`."""

    folder: str
    stream: bytes
    clip: int
    result: EncodedResult
    reply: object


class PushedTask(NamedTuple):
    """A host has told of a clip that it has, or of clips that are gone there; answered by `Pushed`."""

    folder: str
    stream: bytes
    message: ClipElsewhere | ClipsGone
    reply: object


class CloseStreamTask(NamedTuple):
    """A stream and all its clips have ended."""

    folder: str
    stream: bytes
    lost: bool
    reply: object = None


class BarrierTask(NamedTuple):
    """A barrier: answered by `Passed` once all tasks before it are committed or stuck."""

    reply: object


class LookTask(NamedTuple):
    """Asks to take in what dead clients and daemons left of a run, though nobody opens a stream of it."""

    folder: str


Task = (
    OpenStreamTask
    | RecordsTask
    | ClipOpenedTask
    | ClipEncodedTask
    | PushedTask
    | CloseStreamTask
    | BarrierTask
    | LookTask
)

_TASK_BYTES, _BODY_BYTES = 1024, 64  # memory of the objects, beyond the bytes in them


def cost(task: Task) -> int:
    """About how many bytes of memory a task takes, which is also a measure of its work."""
    bodies = task.bodies if isinstance(task, RecordsTask) else ()
    return _TASK_BYTES + sum(len(body) + _BODY_BYTES for body in bodies)


class StreamReady(NamedTuple):
    """A stream is in the index, with its last committed record and its suffix; or the folder cannot be used."""

    reply: object
    last_seq: int
    suffix: int
    error: OffcamError | None = None


class Committed(NamedTuple):
    """Records are committed; or they were refused, and ``error`` says why."""

    reply: object
    applied: Applied | None
    error: RemoteProtocolError | None = None


class ClipNoted(NamedTuple):
    """A clip is in the index, so that its file is found if the daemon dies; or the index cannot be written.

    Attributes:
        found: how many frames were counted as lost, as no daemon had opened the clip, and are still to come.
    """

    reply: object
    found: int = 0


class Recovered(NamedTuple):
    """What a dead daemon left in a folder was finished, or what clients left in their journals was taken in."""

    clips: list[RecoveredClip]
    episodes: int = 0


class ClipStored(NamedTuple):
    """A clip's final row is committed, or will be once the index can be written; then this event comes twice.

    Attributes:
        error: why the row never will be committed, or empty.
        lost: how many frames its client sent that no daemon received, as far as is known.
    """

    reply: object
    error: str = ""
    lost: int = 0


class Pushed(NamedTuple):
    """What another host has told of its clips is committed; or never will be, and ``error`` says why."""

    reply: object
    message: ClipElsewhere | ClipsGone
    error: str = ""


class Passed(NamedTuple):
    """The answer to a `BarrierTask`.

    Attributes:
        gone: folders that lost their index, where it could not be made anew: acked records are missing in them.
        stuck: folders whose indexes cannot be written: what came before the task is missing in them.
    """

    reply: object
    gone: frozenset[str] = frozenset()
    stuck: frozenset[str] = frozenset()


Event: TypeAlias = "StreamReady | Committed | ClipNoted | ClipStored | Pushed | Recovered | Passed | Kept"


def failed(task: Task, error: OffcamError) -> Event | None:
    """The event that tells whoever waits for a task that it failed. Videos are made all the same."""
    match task:
        case OpenStreamTask():
            return StreamReady(task.reply, 0, 0, error)
        case ClipOpenedTask():
            return ClipNoted(task.reply)
        case ClipEncodedTask():
            return ClipStored(task.reply, str(error))
        case PushedTask():
            return Pushed(task.reply, task.message, str(error))
        case BarrierTask():
            return Passed(task.reply)
    return None  # of records: they are not acked, so their client keeps them
