"""W&B: videos and aggregates of an env in the training's own run, at the training's own steps.

In place of `offcam.record`, with its arguments::

    from offcam.integrations.wandb import record

    run = wandb.init(project="cartpole")
    env = record(gym.make("CartPole-v1", render_mode="rgb_array"), "runs/cartpole", every=25)
    ...
    run.log({"loss": loss})  # the next log of yours takes them along

Nothing here commits a step: all is logged with ``commit=False``, so each step that you log is there as you log it. Of
several videos that become final between two of your steps each waits for a step of its own, as a later one would
overwrite the one before. All of it is logged where an episode ends, on your thread, on which W&B copies the video, too.
With steps of your own (``run.log(..., step=n)``) it is in the row before that one.
``sync="wandb"`` of `offcam.record` does without both, in a run beside yours that has every episode.

It needs the package: ``pip install "offcam[wandb]"``.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from gymnasium.vector import VectorEnv

from offcam import logger, vector
from offcam.integrations.missing import needs
from offcam.integrations.recorded import parted
from offcam.sync import sync
from offcam.wrappers import arguments
from offcam.wrappers.statistics import RecordEpisodeStatistics
from offcam.wrappers.video import RecordVideo
from offcam_proto.errors import ConfigError

with needs("wandb", "W&B", "wandb"):
    import wandb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gymnasium import Env

    from offcam.wrappers.statistics_base import StatisticsBase

__all__ = ["record"]

PREFIX: Final = "offcam/"
"""Of all keys that are logged here."""


def record(
    env: Env[Any, Any] | VectorEnv[Any, Any, Any],
    folder: arguments.Folder,
    *,
    run: Any = None,  # noqa: ANN401 - W&B's
    **options: Any,  # noqa: ANN401 - as of `offcam.record`
) -> RecordEpisodeStatistics[Any, Any] | vector.RecordEpisodeStatistics[Any, Any]:
    """As `offcam.record`, and log into a W&B run: ``offcam/video``, and means over the last ``buffer_length`` episodes.

    ``offcam/return`` and ``offcam/length`` are those means, the latter in steps, ``offcam/episodes`` how many there
    were. Videos that become final when the env is closed are logged by that, as a list where they are several.

    Args:
        env: as of `offcam.record`.
        folder: as of `offcam.record`.
        run: the run, by default the one that ``wandb.init`` has begun in this process.
        options: as of `offcam.record`.

    Raises:
        ConfigError: no run has begun, or as `offcam.record`.
    """
    run = wandb.run if run is None else run
    if run is None:
        raise ConfigError("no run of W&B's has begun in this process: call wandb.init() first, or pass `run=`.")
    videos, statistics, to = parted(options)
    own = _OwnRun(run, videos.pop("on_video", None))
    videos["on_video"] = own.add
    recorded: _Logged | _LoggedVector
    if isinstance(env, VectorEnv):
        recorded = _LoggedVector(vector.RecordVideo(env, arguments.folder(folder), **videos), **statistics)
    else:
        recorded = _Logged(RecordVideo(env, arguments.folder(folder), **videos), **statistics)
    recorded.own = own
    if to is not None:
        sync(recorded, to)
    return recorded


class _OwnRun:
    """What is still to be logged into a run of the user's, on the user's thread.

    Args:
        run: W&B's; without one nothing is logged.
        on_video: the user's own callback.
    """

    def __init__(self, run: Any = None, on_video: Any = None) -> None:  # noqa: ANN401 - W&B's, and what can be called
        self._run = run
        self._on_video = on_video
        self._paths: deque[str] = deque()
        self._at: int | None = None  # the run's step that has a video
        self._episodes = 0

    def __reduce__(self) -> Any:  # noqa: ANN401 - as Python has it
        """A copy, of a planner's or in another process, logs nothing: the run is the training's."""
        return _OwnRun, ()

    def add(self, path: str) -> None:
        """A video is final."""
        self._paths.append(path)
        if self._on_video is not None:
            self._on_video(path)

    def step(self, recorder: StatisticsBase) -> None:
        """After a step of the env: log what is due where an episode has ended; each is a question to W&B's process."""
        if self._run is None or recorder.episode_count == self._episodes:
            return
        self._episodes = recorder.episode_count
        means = {"return": recorder.return_queue, "length": recorder.length_queue}
        values = {f"{PREFIX}{name}": float(np.mean(queue)) for name, queue in means.items() if queue}
        with self._letting_be():
            self._log({**values, f"{PREFIX}episodes": self._episodes})
            if self._paths and self._run.step != self._at:
                self._at = self._run.step
                self._log_videos([self._paths.popleft()])

    def end(self) -> None:
        """Log the videos that are left; no step comes any more that could have one each."""
        if self._run is not None and self._paths:
            with self._letting_be():
                self._log_videos(list(self._paths), several=len(self._paths) > 1 or self._run.step == self._at)
        self._paths.clear()

    def _log_videos(self, paths: list[str], *, several: bool = False) -> None:
        """Log one, or by another key a list of several."""
        videos = [
            wandb.Video(path, caption=os.path.basename(path), format="mp4")
            for path in paths
            if os.path.exists(path)  # a rule of `keep=` may have let it go
        ]
        if videos:
            self._log({f"{PREFIX}videos": videos} if several else {f"{PREFIX}video": videos[0]})

    def _log(self, values: dict[str, Any]) -> None:
        self._run.log(values, commit=False)

    @contextlib.contextmanager
    def _letting_be(self) -> Iterator[None]:
        """Warn of a run that refuses, as one that is finished does, and let it be: nothing is raised into the loop."""
        try:
            yield
        except (wandb.Error, OSError, TimeoutError, ValueError) as error:
            self._run = None
            logger.warn(f"W&B's run takes nothing more of what is recorded: {error} Close the env before `finish()`.")


class _Logged(RecordEpisodeStatistics[Any, Any]):
    own = _OwnRun()

    def step(self, action: Any) -> Any:  # noqa: ANN401 - the env's
        stepped = super().step(action)
        self.own.step(self)
        return stepped

    def close(self) -> None:
        try:
            super().close()
        finally:  # the env may raise
            self.own.end()


class _LoggedVector(vector.RecordEpisodeStatistics[Any, Any]):
    own = _OwnRun()

    def step(self, actions: Any) -> Any:  # noqa: ANN401 - the env's
        stepped = super().step(actions)
        self.own.step(self)
        return stepped

    def close(self, **kwargs: Any) -> None:  # noqa: ANN401 - as Gymnasium's
        try:
            super().close(**kwargs)
        finally:  # the env may raise
            self.own.end()
