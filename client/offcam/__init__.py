"""Record reinforcement-learning agents off camera.

Drop-in twins of Gymnasium's recording wrappers, which hand frames and episode records to a recorder daemon::

    from offcam import RecordVideo, RecordEpisodeStatistics

    env = RecordVideo(gym.make("CartPole-v1", render_mode="rgb_array"), "videos")
    env = RecordEpisodeStatistics(env)

or, for both at once, ``env = offcam.record(env, "videos")``. The vector twins are in `offcam.vector`.
``offcam.load("videos")`` reads what was recorded, ``offcam.show("videos")`` shows it in a notebook, and
``offcam.compare`` says which of several algorithms is better.
``offcam.sync("videos", "tensorboard")`` sends it to where you look at your trainings.
``offcam.flush_on_signal()`` has SIGTERM, as Slurm and Kubernetes send it, wait until what was recorded is safe.

Every error of offcam is an `OffcamError`, one of these. None is raised by ``step`` or ``reset``::

    OffcamError
    ├── ConfigError             an argument or an environment variable is wrong; a ValueError, too
    ├── PackageMissing          the package that an adapter is for is not installed; an ImportError, too
    ├── NotReplayable           an episode cannot be made to happen again
    ├── RecordingLost           with ``strict=True``: something was not recorded, or is not rendered
    ├── SyncFailed              a run could not be sent to a tracker
    ├── VersionMismatch         the daemon that runs is of another version
    ├── DaemonError
    │   ├── DaemonUnavailable   nobody answers at the daemon's endpoint; a ConnectionError, too
    │   ├── DaemonNotInstalled  no daemon runs and none can be started: `pip install "offcam[server]"`
    │   └── KeyRefused          over tcp://, the daemon does not take this client's key, or has not the expected one
    └── RunFolderError
        ├── FolderNotWritable   the run folder cannot be made or written; a PermissionError, too
        ├── NotARunFolder       `load` found no index there; a FileNotFoundError, too
        └── RunFormatTooNew     `load` found a run that a newer offcam wrote

An env of the wrong kind is a TypeError, and a ``render_mode`` that yields no images a ValueError, as in Gymnasium.
"""

from offcam import keep, replay, vector
from offcam.compare import compare
from offcam.connection.signals import flush_on_signal
from offcam.load import load
from offcam.record import record
from offcam.save_video import save_video
from offcam.show import show
from offcam.sync import sync
from offcam.trace import trace
from offcam.wrappers.statistics import RecordEpisodeStatistics
from offcam.wrappers.video import RecordVideo
from offcam_proto import __version__
from offcam_proto.errors import (
    ConfigError,
    DaemonError,
    DaemonNotInstalled,
    DaemonUnavailable,
    FolderNotWritable,
    KeyRefused,
    NotARunFolder,
    NotReplayable,
    OffcamError,
    PackageMissing,
    RecordingLost,
    RunFolderError,
    RunFormatTooNew,
    SyncFailed,
    VersionMismatch,
)

__all__ = [
    "ConfigError",
    "DaemonError",
    "DaemonNotInstalled",
    "DaemonUnavailable",
    "FolderNotWritable",
    "KeyRefused",
    "NotARunFolder",
    "NotReplayable",
    "OffcamError",
    "PackageMissing",
    "RecordEpisodeStatistics",
    "RecordVideo",
    "RecordingLost",
    "RunFolderError",
    "RunFormatTooNew",
    "SyncFailed",
    "VersionMismatch",
    "__version__",
    "compare",
    "flush_on_signal",
    "keep",
    "load",
    "record",
    "replay",
    "save_video",
    "show",
    "sync",
    "trace",
    "vector",
]
