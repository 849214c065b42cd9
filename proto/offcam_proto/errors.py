"""Every error offcam raises, in one tree.

Each message says what happened, whose fault it is and the fix, with the actual values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class OffcamError(Exception):
    """The root of the tree: catch this to catch everything offcam raises."""


class ConfigError(OffcamError, ValueError):
    """A setting, argument or environment variable is wrong."""


class QueryError(ConfigError):
    """What is asked of runs cannot be understood.

    Attributes:
        column: of the character, from 1, at which it is wrong.
    """

    def __init__(self, message: str, *, column: int) -> None:
        super().__init__(message)
        self.column = column


class FrameError(OffcamError, ValueError):
    """A rendered frame has a shape, dtype or range that cannot become video."""


class ActionError(OffcamError, ValueError):
    """An action is not in the env's action space, or cannot be read. Used inside offcam: no wrapper raises it."""


class ProtocolError(OffcamError):
    """The wire protocol was broken, by us or by the peer."""


class LocalProtocolError(ProtocolError):
    """Our own side used the session wrongly: a bug in offcam, please report it."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something the protocol does not allow.

    Attributes:
        reason: a word from a closed set, fit for a counter's label.
    """

    reason = "protocol"


class MalformedMessage(RemoteProtocolError):
    """Bytes that are not a message of this protocol."""

    reason = "malformed"


class LimitExceeded(RemoteProtocolError):
    """A message, a name or a frame larger than its limit in `offcam_proto.limits`."""

    reason = "limit"


class VersionMismatch(RemoteProtocolError):
    """The peer speaks another version of the protocol."""

    reason = "version"


class PackageMissing(OffcamError, ImportError):
    """A third-party package that the call needs is not installed."""


class NotReplayable(OffcamError):
    """An env, or one of its episodes, cannot be replayed."""


class DaemonError(OffcamError):
    """The recorder daemon could not be reached, started or used."""


class DaemonUnavailable(DaemonError, ConnectionError):
    """Nobody answers at the daemon's endpoint."""


class DaemonNotReady(DaemonUnavailable):
    """A daemon is being started and does not listen yet, or the one before it is still finalising its videos."""


class KeyRefused(DaemonError, PermissionError):
    """Over ``tcp://``: the daemon does not take this client's key, or has not the key that the client expects."""


class DaemonNotInstalled(DaemonError, ImportError):
    """The libraries of the `server` extra are not installed, and no daemon is running."""


class DaemonAlreadyRunning(DaemonError):
    """Another daemon owns the endpoint or the run folder.

    Attributes:
        pid: its process id, or None where it could not be read.
    """

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class RunFolderError(OffcamError):
    """A run folder cannot be used."""


class FolderNotWritable(RunFolderError, PermissionError):
    """A run folder cannot be created or written."""


class NotARunFolder(RunFolderError, FileNotFoundError):
    """A folder without offcam's index database."""


class RunFormatTooNew(RunFolderError):
    """A run folder written by a newer version of offcam."""


class SyncFailed(OffcamError):
    """A run could not be sent to a tracker. How far it was sent is kept: the next call goes on from there."""


class SyncElsewhere(SyncFailed):
    """Another process sends the same run to the same place already."""


class RecordingLost(OffcamError):
    """Something that was to be recorded is not, or nobody can tell. Raised by ``close()`` under ``strict=True``.

    Attributes:
        records: episodes and videos whose numbers are not known to be in the index.
        frames: frames that were dropped, by the reason.
        videos: names of videos that are not whole, or not known to be.
    """

    def __init__(
        self, message: str, *, records: int = 0, frames: Mapping[str, int], videos: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.records = records
        self.frames = dict(frames)
        self.videos = tuple(videos)


class EncodeError(OffcamError):
    """A frame could not be encoded, or its file not written.

    Attributes:
        reason: a word from a closed set, fit for a counter's label and a clip's row.
    """

    def __init__(self, message: str, reason: str = "encoder") -> None:
        super().__init__(message)
        self.reason = reason
