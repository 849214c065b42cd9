"""Videos and statistics of a VecEnv."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from offcam.integrations.recorded import Recorded, parted, sent
from offcam.integrations.stable_baselines3.terminal_frames import terminal_frames
from offcam.integrations.stable_baselines3.vec_envs import VecEnvs
from offcam.vector.statistics import RecordEpisodeStatistics
from offcam.vector.video import RecordVideo
from offcam.wrappers import arguments, shared_stream
from offcam.wrappers.triggers import no_episode
from offcam_proto.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from offcam.vector.terminal_frames import TerminalFrames

ENDLESS = 2**53
"""More frames than any video has: `StepVideos` counts steps instead."""


class RecordedVecEnv(Recorded, VecEnvWrapper):
    """A VecEnv whose videos and statistics are recorded; `record` and `VecRecordVideo` make it.

    Its sub-environments step in `step_wait`, so that whatever is recorded before a step comes before it. Without a
    Monitor beneath, ``infos[i]["episode"]`` has the statistics of an episode that ended, as VecMonitor puts them there.

    Thread: that of the VecEnv.

    Attributes:
        venv: the VecEnv.
        recorder: the `offcam.vector.RecordEpisodeStatistics`, whose ``env`` is the `offcam.vector.RecordVideo`.
        env: the same as ``recorder``, for `offcam.trace`.
    """

    recorder: VecEnvStatistics

    def __init__(self, recorder: VecEnvStatistics, envs: VecEnvs) -> None:
        VecEnvWrapper.__init__(self, envs.venv)
        self.env = self.recorder = recorder
        self._envs = envs
        self._actions: Any = None

    def reset(self) -> Any:  # noqa: ANN401 - whatever it observes
        """Reset the VecEnv, and start a video if one is to begin there."""
        seeds = getattr(self.venv.unwrapped, "_seeds", None)
        self.recorder.reset(seed=None if seeds is None else list(seeds))
        return self._envs.observations

    def step_async(self, actions: Any) -> None:  # noqa: ANN401 - the user's own
        """Note the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, Any, Any, Any]:
        """Step the VecEnv, and record the step."""
        *_, told = self.recorder.step(self._actions)
        envs = self._envs
        if not envs.monitored and (ended := envs.ended.nonzero()[0]).size:
            envs.infos = list(envs.infos)
            of_all = told["episode"]
            for index in ended.tolist():
                numbers = {name: of_all[name][index].item() for name in ("r", "l", "t")}
                envs.infos[index] = {**envs.infos[index], "episode": numbers}
        return envs.observations, envs.rewards, envs.dones, envs.infos

    def close(self) -> None:
        """Close the VecEnv, end the video, and return when all files are final.

        Raises:
            RecordingLost: if strict, where something is not recorded.
        """
        self.recorder.close()


class VecRecordVideo(RecordedVecEnv):
    """Record videos of a VecEnv, as Stable-Baselines3's VecVideoRecorder does, without slowing the loop.

    Statistics are recorded beside them.

    Arguments and file names are the same: ``<prefix>-step-<from>-to-step-<to>.mp4``. Where it differs:

    - Terminal frames are in the video, each before the first frame of the next episode: a step that ends an episode of
      the first sub-environment has two frames. This needs a DummyVecEnv or SubprocVecEnv.
    - The video has a reset's frame, too, if the VecEnv is reset while it is recorded.
    - A video of several sub-environments shows them in one grid, close to a square.
    - It is written by another process, and moviepy is not needed.

    For videos of whole episodes, rankings (``keep``) and the like, use `record`.

    Args:
        venv: the VecEnv; its ``render_mode`` must be ``"rgb_array"``.
        video_folder: folder of the videos, which is the run folder with the index.
        record_video_trigger: called with the number of steps taken, at each reset and step while no video is being
            recorded: whether to begin a video there.
        video_length: steps that a video shows; it has one frame more, that of its beginning.
        name_prefix: what file names start with.
        options: ``buffer_length``, ``info_keywords``, ``sync``, ``fps``, ``record_first_only``, and the arguments of
            `offcam.vector.RecordVideo` behind ``gc_trigger``, but for ``keep``.

    Raises:
        ConfigError: an argument is wrong.
        OffcamError, ValueError: as `offcam.vector.RecordVideo`.
    """

    def __init__(
        self,
        venv: VecEnv,
        video_folder: arguments.Folder,
        record_video_trigger: Callable[[int], bool],
        video_length: int = 200,
        name_prefix: str = "rl-video",
        **options: Any,  # noqa: ANN401 - as documented
    ) -> None:
        if options.get("keep") is not None:
            raise ConfigError(
                f"keep={options['keep']} judges videos of whole episodes, and VecRecordVideo makes others. Use "
                "`offcam.integrations.stable_baselines3.record(venv, folder, keep=...)`."
            )
        envs = _vec_envs(venv)
        begins = arguments.trigger("record_video_trigger", record_video_trigger)
        given, numbers, to = parted({**options, "name_prefix": name_prefix})
        length = int(arguments.video_length(video_length))
        super().__init__(
            VecEnvStatistics(StepVideos(envs, video_folder, begins, length, **given), envs, **numbers), envs
        )
        sent(self, to)

    @property
    def recording(self) -> bool:
        """Whether a video is being recorded."""
        return bool(self.recorder.env.recording)


def record(
    venv: VecEnv,
    folder: arguments.Folder | None = None,
    **options: Any,  # noqa: ANN401 - as documented
) -> RecordedVecEnv:
    """Record a VecEnv's videos and statistics into a folder, as `offcam.record` does those of a vector env.

    Terminal frames are in the videos of DummyVecEnv and SubprocVecEnv. The episodes that triggers are asked about are
    those of the first sub-environment, or with ``per_env=True`` those of each.

    Args:
        venv: the VecEnv, in whatever wrappers. Recorded is what these return: put VecNormalize around the recorded env.
        folder: as in `offcam.record`.
        options: all other arguments of `offcam.record` for a vector env: ``every``, ``record_envs``, ``keep``,
            ``steps``, ``sync``...

    Raises:
        ConfigError: ``venv`` is not a VecEnv, or an argument is wrong.
        OffcamError, ValueError: as `offcam.vector.RecordVideo`.
    """
    envs = _vec_envs(venv)
    given, numbers, to = parted(options)
    where = shared_stream.new_folder(envs) if folder is None else folder
    return sent(RecordedVecEnv(VecEnvStatistics(VecEnvVideos(envs, where, **given), envs, **numbers), envs), to)


class VecEnvVideos(RecordVideo[Any, Any]):
    """The videos of a VecEnv, with terminal frames where these can be reached."""

    env: VecEnvs
    _autoreset_waits = True  # after an evaluation's last episode the VecEnv resets once more, and no step follows

    def _find_terminal_frames(self) -> TerminalFrames | None:
        found = None if self._source == "obs" else terminal_frames(self.env)
        return found or super()._find_terminal_frames()


class StepVideos(VecEnvVideos):
    """Videos of a number of steps, which begin as VecVideoRecorder's do.

    Args:
        envs: the VecEnv.
        folder: the run folder.
        begins: is given the number of steps taken, and says whether a video begins there.
        length: number of steps that a video shows.
        options: other arguments of `offcam.vector.RecordVideo`.
    """

    def __init__(
        self,
        envs: VecEnvs,
        folder: arguments.Folder,
        begins: Callable[[int], bool] | None,
        length: int,
        **options: Any,  # noqa: ANN401 - as documented
    ) -> None:
        self._wanted = begins
        self._length = length
        self._end = 0  # the video ends when so many steps were taken in all
        super().__init__(envs, folder, step_trigger=no_episode, video_length=ENDLESS, **options)

    def _begins(self, which: str, number: int) -> bool:
        if which != "step_trigger":
            return super()._begins(which, number)
        self._answers.pop((which, number), None)
        return not self.recording and self._wanted is not None and bool(self._wanted(number + 1))

    def _begin_at_step(self) -> None:
        self._show_first()
        self._begin()

    def _begin(self) -> None:
        taken = self.step_id + 1
        self._end = taken + self._length
        self.start_recording(f"{self.name_prefix}-step-{taken}-to-step-{self._end}")

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401 - as above
        """Reset the VecEnv, and start a video if one is to begin there, ending one that is being recorded."""
        if self._wanted is not None and self._wanted(self.step_id + 1):
            self._begin()
        return super().reset(seed=seed, options=options)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401 - as above
        """Step the VecEnv, and end the video if it has all its steps."""
        result = super().step(actions)
        if self.recording and self.step_id + 1 >= self._end:
            self.stop_recording()
        return result


class VecEnvStatistics(RecordEpisodeStatistics[Any, Any]):
    """The episodes of a VecEnv, with Monitor's numbers where there is a Monitor.

    Args:
        videos: the wrapper with the videos, which this one is put around.
        envs: the VecEnv.
        options: other arguments of `offcam.vector.RecordEpisodeStatistics`.

    Attributes:
        also: by name, further values to record with each episode that ends.
    """

    def __init__(self, videos: VecEnvVideos, envs: VecEnvs, **options: Any) -> None:  # noqa: ANN401 - as documented
        self._envs = envs
        self.also: dict[str, float] = {}
        super().__init__(videos, **options)

    def _finish(
        self,
        ended: NDArray[np.intp],
        dones: NDArray[np.bool_],
        terminations: NDArray[np.bool_],
        truncations: NDArray[np.bool_],
        infos: dict[str, Any],
        values: Mapping[str, NDArray[np.float64]] | None,
    ) -> None:
        if self._envs.monitored:
            for index in ended.tolist():
                told = self._envs.infos[index]["episode"]
                self.episode_returns[index], self.episode_lengths[index] = told["r"], told["l"]
        if self.also:
            values = {**(values or {}), **{name: np.full(ended.size, value) for name, value in self.also.items()}}
        super()._finish(ended, dones, terminations, truncations, infos, values)


def _vec_envs(venv: VecEnv) -> VecEnvs:
    if not isinstance(venv, VecEnv):
        raise ConfigError(
            f"this is for VecEnvs of Stable-Baselines3, got {type(venv)}. Make one by `make_vec_env`, or record an env "
            "of Gymnasium's by `offcam.record`."
        )
    return VecEnvs(venv)
