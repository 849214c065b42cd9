"""The wrappers for vector envs, with the names and arguments of those in `gymnasium.wrappers.vector`."""

from offcam.vector.statistics import RecordEpisodeStatistics
from offcam.vector.video import RecordVideo

__all__ = ["RecordEpisodeStatistics", "RecordVideo"]
