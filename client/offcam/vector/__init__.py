"""The wrappers for vector envs: the twins of `gymnasium.wrappers.vector`."""

from offcam.vector.statistics import RecordEpisodeStatistics
from offcam.vector.video import RecordVideo

__all__ = ["RecordEpisodeStatistics", "RecordVideo"]
