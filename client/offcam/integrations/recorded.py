"""What the adapters' envs share: properties of a recording, and how its options are divided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from offcam.sync import check_tracker, sync
from offcam.wrappers import arguments
from offcam.wrappers.episode_values import value_names

if TYPE_CHECKING:
    from collections import deque

    from offcam.wrappers.statistics_base import StatisticsBase


class Recorded:
    """An env of another library with offcam's wrappers in it.

    Attributes:
        recorder: the `RecordEpisodeStatistics` inside; its ``env`` is the `RecordVideo`.
    """

    recorder: StatisticsBase

    @property
    def run_folder(self) -> str | None:
        """Absolute path of the run folder, which has the videos and the index; see offcam's wrappers."""
        return self.recorder.run_folder

    @property
    def return_queue(self) -> deque[Any]:
        """Returns of the last episodes; their lengths and durations are in the queues of `recorder`."""
        return self.recorder.return_queue

    @property
    def episode_count(self) -> int:
        """How many episodes have finished."""
        return self.recorder.episode_count

    @property
    def last_video(self) -> str | None:
        """Path of the newest video that is final, or None."""
        return self.recorder.last_video

    def flush(self) -> bool:
        """Wait until what ended is final and in the index. Returns whether it is; False where the daemon is gone."""
        return self.recorder.flush()

    def wait_video(self, timeout: float) -> str | None:
        """Wait at most ``timeout`` seconds until videos that ended are final. Returns `last_video`, or None if not."""
        return self.recorder.wait_video(timeout)

    def save_clip(self, reason: str = "") -> str:
        """Have a video made of the last seconds, if ``last_seconds`` was given; returns its name."""
        return self.recorder.save_clip(reason)


Kind = TypeVar("Kind", bound=Recorded)


class Parted(NamedTuple):
    """The options of a recording, divided by who takes them.

    Attributes:
        videos: those of the RecordVideo.
        statistics: those of the RecordEpisodeStatistics.
        sync: the tracker that the run is sent to; None for none.
    """

    videos: dict[str, Any]
    statistics: dict[str, Any]
    sync: str | None


def parted(options: dict[str, Any]) -> Parted:
    """Divide the options of `offcam.record`.

    Raises:
        ConfigError: ``buffer_length``, ``info_keywords``, ``every`` or ``sync`` is wrong. Nothing is opened by then.
    """
    videos = dict(options)
    statistics = {name: videos.pop(name) for name in ("buffer_length", "info_keywords") if name in videos}
    if "buffer_length" in statistics:
        arguments.buffer_length(statistics["buffer_length"])
    value_names(statistics.get("info_keywords", ()))
    if "every" in videos:
        videos["episode_trigger"] = arguments.which_episodes(videos.pop("every"), videos.get("episode_trigger"))
    to = videos.pop("sync", None)
    if to is not None:
        check_tracker(to)
    return Parted(videos, statistics | {"strict": videos.get("strict", False)}, to)


def sent(recorded: Kind, to: str | None) -> Kind:
    """The recorded env; its run is sent to a tracker if one is given."""
    if to is not None:
        sync(recorded, to)
    return recorded
