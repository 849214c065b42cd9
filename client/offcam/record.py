"""``offcam.record``: video and statistics of any env in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import gymnasium as gym
from gymnasium.vector import VectorEnv

from offcam import vector
from offcam.statistics import RecordEpisodeStatistics
from offcam.video import RecordVideo
from offcam_proto.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

AnyEnv = TypeVar("AnyEnv", gym.Env[Any, Any], VectorEnv[Any, Any, Any])


def record(
    env: AnyEnv,
    folder: str,
    *,
    every: int | None = None,
    episode_trigger: Callable[[int], bool] | None = None,
    buffer_length: int = 100,
    strict: bool = False,
    **video: Any,  # noqa: ANN401 - RecordVideo's own arguments
) -> AnyEnv:
    """Record an env's videos and statistics into a folder.

    Args:
        env: a single or a vector env whose ``render_mode`` yields images.
        folder: the run folder.
        every: record each ``every``-th episode, beginning with the first; 1 records all.
        episode_trigger: instead of ``every``, from the episode's number whether to record it. With neither, and
            no ``step_trigger``, Gymnasium's schedule: episodes 0, 1, 8, 27, ... 729, 1000, 2000, ...
        buffer_length: length of the queues of `RecordEpisodeStatistics`.
        strict: whether to raise rather than warn where something is not recorded: see `RecordVideo`.
        video: further arguments of `RecordVideo` (or `offcam.vector.RecordVideo`).

    Returns:
        The env in a RecordVideo in a RecordEpisodeStatistics. It has the queues; the RecordVideo is its ``env``.

    Raises:
        ConfigError: ``every`` is no positive integer, or given beside ``episode_trigger``.
        OffcamError, ValueError: as `RecordVideo`.
    """
    if every is not None:
        if episode_trigger is not None or type(every) is not int or every < 1:
            raise ConfigError(f"every must be a positive integer, given without episode_trigger, got {every!r}.")
        stride = every
        episode_trigger = lambda episode: episode % stride == 0  # noqa: E731 - a trigger is what it is called
    if isinstance(env, VectorEnv):
        videos: Any = vector.RecordVideo(env, folder, episode_trigger=episode_trigger, strict=strict, **video)
        return vector.RecordEpisodeStatistics(videos, buffer_length, strict=strict)
    single: Any = RecordVideo(env, folder, episode_trigger=episode_trigger, strict=strict, **video)
    return RecordEpisodeStatistics(single, buffer_length, strict=strict)
