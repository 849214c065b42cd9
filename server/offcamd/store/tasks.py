"""What the service asks of the store, and what the store answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from offcam_proto.errors import OffcamError, RemoteProtocolError
    from offcam_proto.messages import OpenClip, OpenStream
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
    """A clip opened, or is saved of a ring, and why; answered by `ClipNoted`."""

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


class CloseStreamTask(NamedTuple):
    """A stream and all its clips have ended."""

    folder: str
    stream: bytes
    lost: bool
    reply: object = None


class BarrierTask(NamedTuple):
    """Answered by `Passed` when everything before it is committed or stuck."""

    reply: object


class LookTask(NamedTuple):
    """What clients and daemons that died left of a run is to be taken in, though nobody opens a stream of it."""

    folder: str


Task = OpenStreamTask | RecordsTask | ClipOpenedTask | ClipEncodedTask | CloseStreamTask | BarrierTask | LookTask

_TASK_BYTES, _BODY_BYTES = 1024, 64  # what objects cost beyond the bytes within


def cost(task: Task) -> int:
    """About how much memory a task takes, and so how long its work."""
    bodies = task.bodies if isinstance(task, RecordsTask) else ()
    return _TASK_BYTES + sum(len(body) + _BODY_BYTES for body in bodies)


class StreamReady(NamedTuple):
    """A stream is in the index, with its last committed record and suffix; or the folder cannot be used."""

    reply: object
    last_seq: int
    suffix: int
    error: OffcamError | None = None


class Committed(NamedTuple):
    """Records are committed; ``error`` says what was wrong with them where they were refused."""

    reply: object
    applied: Applied | None
    error: RemoteProtocolError | None = None


class ClipNoted(NamedTuple):
    """A clip is in the index, so that its file is found again if the daemon dies; or the index cannot be written.

    Attributes:
        found: frames that were counted as lost, as no daemon had opened the clip, and are still to come.
    """

    reply: object
    found: int = 0


class Recovered(NamedTuple):
    """What a dead daemon left in a folder is finished, or what clients left in their journals is taken in."""

    clips: list[RecoveredClip]
    episodes: int = 0


class ClipStored(NamedTuple):
    """A clip's last row is committed, or will be once the index can be written; may come twice then.

    Attributes:
        error: why it never will be, or empty.
        lost: frames that its client sent and no daemon received, as far as is known.
    """

    reply: object
    error: str = ""
    lost: int = 0


class Passed(NamedTuple):
    """The answer to a `BarrierTask`.

    Attributes:
        gone: the folders whose indexes lie there no more, and could not be made anew: what was acked is not in them.
        stuck: those whose indexes cannot be written: what came before the task is not in them.
    """

    reply: object
    gone: frozenset[str] = frozenset()
    stuck: frozenset[str] = frozenset()


Event: TypeAlias = "StreamReady | Committed | ClipNoted | ClipStored | Recovered | Passed | Kept"


def failed(task: Task, error: OffcamError) -> Event | None:
    """What tells whoever waits for a task that it cannot be done. Videos are made all the same."""
    match task:
        case OpenStreamTask():
            return StreamReady(task.reply, 0, 0, error)
        case ClipOpenedTask():
            return ClipNoted(task.reply)
        case ClipEncodedTask():
            return ClipStored(task.reply, str(error))
        case BarrierTask():
            return Passed(task.reply)
    return None  # records are not acked, so their client keeps them
