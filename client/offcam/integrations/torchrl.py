"""TorchRL: recorded envs, and its VideoRecorder's videos.

A recorded env goes into TorchRL's GymWrapper as any other, also within ParallelEnv::

    env = ParallelEnv(2, lambda: GymWrapper(offcam.record(gym.make("CartPole-v1", render_mode="rgb_array"), "runs/a")))

For videos that TorchRL renders itself there is a logger, whose `log_video` needs no torchcodec and does not wait::

    logger = OffcamLogger("cheetah", "runs")
    env = TransformedEnv(base_env, VideoRecorder(logger, tag="eval"))

It needs the package: ``pip install "offcam[torchrl]"``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from offcam.integrations.missing import needs
from offcam.save_video import Projector, projector_of
from offcam.wrappers import arguments

with needs("torchrl", "TorchRL", "torchrl"):
    from torchrl.record.loggers import Logger

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OffcamLogger"]


class OffcamLogger(Logger):
    """A logger of TorchRL whose videos are made by offcam: files and an index in a run folder.

    A video is called ``<exp_name>-<name>-<step>.mp4``. Everything else that is logged goes to ``others``, if given.

    Args:
        exp_name: name of the experiment, with which file names begin.
        log_dir: the run folder lies in this folder, and has the experiment's name.
        fps: frames per second of videos for which the VideoRecorder gives no other rate.
        others: a logger for scalars, hyperparameters and histograms; without it these are not kept.

    Raises:
        ConfigError: an argument is wrong.
        OffcamError: as `offcam.RecordVideo`.
    """

    def __init__(
        self,
        exp_name: str,
        log_dir: arguments.Folder,
        *,
        fps: arguments.Number = 30,
        others: Logger | None = None,
    ) -> None:
        self._fps = arguments.fps(fps)
        self._others = others
        self._counts: dict[str, int] = {}
        arguments.name("exp_name", exp_name, room=arguments.NUMBER_BYTES)
        super().__init__(exp_name=exp_name, log_dir=os.path.join(arguments.folder(log_dir), exp_name))

    def _create_experiment(self) -> Projector:
        return projector_of(self.log_dir, self.exp_name)

    def log_video(self, name: str, video: Any, step: int | None = None, **options: Any) -> None:  # noqa: ANN401
        """Have a video made; it becomes final in the background.

        Args:
            name: of the video.
            video: uint8 ``(T, C, H, W)``; with more dimensions before these, the videos are shown one after the other.
            step: number in the file name; by default one more than in the last video of this name.
            options: ``fps``; other loggers' options, for their encoders, are ignored.
        """
        number = self._counts.get(name, -1) + 1 if step is None else int(step)
        self._counts[name] = number
        frames = video.detach().cpu().flatten(0, -4).movedim(-3, -1).numpy()
        plain = "".join("-" if char in "/\\\0" else char for char in name)
        self.experiment.show(
            frames, f"{self.exp_name}-{plain}-{number}", fps=arguments.fps(options.get("fps", self._fps)), step=number
        )

    def log_scalar(self, name: str, value: float, step: int | None = None) -> None:
        """Hand a scalar on to the other logger, if there is one."""
        if self._others is not None:
            self._others.log_scalar(name, value, step=step)

    def log_hparams(self, cfg: Any) -> None:  # noqa: ANN401 - whatever they are
        """Hand hyperparameters on to the other logger, if there is one."""
        if self._others is not None:
            self._others.log_hparams(cfg)

    def log_histogram(self, name: str, data: Sequence[Any], **options: Any) -> None:  # noqa: ANN401 - as above
        """Hand a histogram on to the other logger, if there is one."""
        if self._others is not None:
            self._others.log_histogram(name, data, **options)

    def flush(self, timeout: float | None = None) -> None:
        """Return when the videos that ended are final."""
        self.experiment.video.flush()
        if self._others is not None:
            self._others.flush(timeout)

    def __repr__(self) -> str:
        return f"OffcamLogger({self.exp_name!r}, {self.log_dir!r})"
