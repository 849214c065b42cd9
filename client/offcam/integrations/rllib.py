"""RLlib: each recorded episode's numbers, in the metrics of the algorithm.

Envs are recorded where they are made, in the processes that step them, all into one run::

    register_env("cartpole", lambda config: offcam.record(
        gym.make("CartPole-v1", render_mode="rgb_array"), "/runs/ppo", every=100,
        name_prefix=f"worker-{config.worker_index}"))
    config = PPOConfig().environment("cartpole").callbacks(OffcamCallback)

The folder's path is absolute, as Ray's workers have other working directories. The metrics of `OffcamCallback` are in
``result["env_runners"]["offcam"]`` of what ``train()`` returns.

It needs the package: ``pip install "offcam[rllib]"``.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from offcam.integrations.missing import needs
from offcam.wrappers import shared_stream
from offcam.wrappers.episode_values import values_of
from offcam.wrappers.statistics import RecordEpisodeStatistics

with needs("ray", "RLlib", "rllib"):
    from ray.rllib.callbacks.callbacks import RLlibCallback

__all__ = ["OffcamCallback"]

NAME = "offcam"
"""The key of the metrics below which all of these are."""

WINDOW = 100
"""Episodes over which numbers are averaged, the same as RLlib's own."""

PATHS = 10
"""Most paths of videos in each EnvRunner's results."""


class OffcamCallback(RLlibCallback):
    """Puts what offcam recorded of an episode into RLlib's metrics, at the episode's end.

    Below ``offcam`` are ``return``, ``length`` (steps) and ``seconds``, and the episode's values by name
    (``is_success``, those of ``info_keywords``), as means over the last 100 episodes; and ``video``, the path or paths
    of videos that became final, if any did. The envs must live in their EnvRunner's process, as they do by default: not
    with a ``gym_env_vectorize_mode`` of ``"async"``. Envs that are not recorded have no such metrics.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: WeakKeyDictionary[RecordEpisodeStatistics[Any, Any], str] = WeakKeyDictionary()

    def on_episode_end(
        self,
        *,
        episode: Any,  # noqa: ANN401 - RLlib's, as those below
        env: Any = None,  # noqa: ANN401
        env_index: int = 0,
        metrics_logger: Any = None,  # noqa: ANN401
        **_: Any,  # noqa: ANN401
    ) -> None:
        """As RLlib's."""
        recorder = _recorder(env, env_index)
        if recorder is None or metrics_logger is None:
            return
        infos = episode.get_infos()
        for name, number in _numbers(recorder, infos[-1] if len(infos) else {}).items():
            metrics_logger.log_value((NAME, name), number, reduce="mean", window=WINDOW)
        video = recorder.last_video
        if video is not None and video != self._told.get(recorder):
            self._told[recorder] = video
            metrics_logger.log_value((NAME, "video"), video, reduce="item_series", window=PATHS)


def _recorder(env: Any, index: int) -> RecordEpisodeStatistics[Any, Any] | None:  # noqa: ANN401 - a vector env
    """The wrapper with the statistics of a sub-environment; None where it cannot be reached."""
    envs = getattr(getattr(env, "unwrapped", None), "envs", None)
    if envs is None:
        return None
    return next(
        (each for each in shared_stream.beneath(envs[index]) if isinstance(each, RecordEpisodeStatistics)), None
    )


def _numbers(recorder: RecordEpisodeStatistics[Any, Any], info: object) -> dict[str, float]:
    """The numbers of the episode that has just ended, by name."""
    queues: dict[str, Any] = {
        "return": recorder.return_queue,
        "length": recorder.length_queue,
        "seconds": recorder.time_queue,
    }
    numbers = {name: float(queue[-1]) for name, queue in queues.items() if queue}
    return numbers | values_of(info, recorder._value_names)  # noqa: SLF001 - our own kind
