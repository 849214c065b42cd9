"""Which episodes are recorded where the caller does not say."""

from __future__ import annotations


def capped_cubic_video_schedule(episode_id: int) -> bool:
    """Gymnasium's default schedule, by 0-based numbers: each cube below 1000, then each thousandth episode.

    Gymnasium's own is in a module that cannot be imported without moviepy, which offcam does not need.
    """
    if episode_id < 1000:
        root: int = round(episode_id ** (1 / 3))
        return root**3 == episode_id
    return episode_id % 1000 == 0


def no_episode(episode_id: int) -> bool:  # noqa: ARG001 - a trigger's signature
    """Choose no episode: the default where only the last seconds are held."""
    return False


def each_episode(episode_id: int) -> bool:  # noqa: ARG001 - a trigger's signature
    """Choose every episode: the default where a rule decides afterwards which videos are kept."""
    return True
