"""Record reinforcement-learning agents off camera.

Drop-in twins of Gymnasium's recording wrappers, which hand frames and episode records to a recorder daemon::

    from offcam import RecordVideo, RecordEpisodeStatistics

    env = RecordVideo(gym.make("CartPole-v1", render_mode="rgb_array"), "videos")
    env = RecordEpisodeStatistics(env)

or, for both at once, ``env = offcam.record(env, "videos")``. The vector twins are in `offcam.vector`.
``offcam.load("videos")`` reads what was recorded.
"""

from offcam import vector
from offcam.load import load
from offcam.record import record
from offcam.statistics import RecordEpisodeStatistics
from offcam.video import RecordVideo
from offcam_proto import __version__
from offcam_proto.errors import OffcamError

__all__ = ["OffcamError", "RecordEpisodeStatistics", "RecordVideo", "__version__", "load", "record", "vector"]
