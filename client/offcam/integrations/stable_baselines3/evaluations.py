"""Recording the evaluations during a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.vec_env import VecEnvWrapper

from offcam.integrations.stable_baselines3.recording import RecordedVecEnv, record
from offcam.wrappers.episode_values import value_names
from offcam_proto.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import gymnasium as gym
    from stable_baselines3.common.vec_env import VecEnv

    from offcam.wrappers import arguments

TIMESTEPS = "timesteps"
"""The value of each episode that says how many steps of training came before it."""


class RecordEvaluations(EvalCallback):
    """An EvalCallback whose evaluations are recorded: videos, and statistics by the training's steps.

    Each episode has a value ``timesteps``, as in `evaluations.npz`, and the return and length that are in that file.
    The recording is put beneath the wrappers of the evaluation env, so that VecNormalize stays in sync as without it.
    Everything is final when the training ends. Whoever made the env closes it, as with EvalCallback, or calls `close`.

    Args:
        eval_env: as EvalCallback takes it; its ``render_mode`` must be ``"rgb_array"``, and it should have a Monitor.
        folder: the run folder; by default as in `offcam.record`.
        recording: options of `offcam.integrations.stable_baselines3.record`; by default a video of each episode of the
            first sub-environment, ``eval-episode-<n>.mp4``.
        evaluation: all other arguments of EvalCallback: ``n_eval_episodes``, ``eval_freq``, ``log_path``...

    Attributes:
        recorded: the recorded VecEnv inside ``eval_env``.

    Raises:
        ConfigError: an argument is wrong.
        OffcamError, ValueError: as `offcam.vector.RecordVideo`.
    """

    eval_env: VecEnv

    def __init__(
        self,
        eval_env: gym.Env[Any, Any] | VecEnv,
        folder: arguments.Folder | None = None,
        *,
        recording: Mapping[str, Any] | None = None,
        **evaluation: Any,  # noqa: ANN401 - as documented
    ) -> None:
        super().__init__(eval_env, **evaluation)
        options = {"name_prefix": "eval", **(recording or {})}
        if not {"every", "episode_trigger", "step_trigger", "keep", "last_seconds"} & options.keys():
            options["every"] = 1
        value_names((*options.get("info_keywords", ()), TIMESTEPS))  # one more may be too many
        outer, inner = None, self.eval_env
        while isinstance(inner, VecEnvWrapper) and not isinstance(inner, RecordedVecEnv):
            outer, inner = inner, inner.venv
        if isinstance(inner, RecordedVecEnv):
            if folder is not None or recording is not None:
                raise ConfigError(
                    "eval_env is recorded already. Leave folder and recording out, or give it unrecorded."
                )
            self.recorded = inner
            return
        self.recorded = record(inner, folder, **options)
        if outer is None:
            self.eval_env = self.recorded
        else:
            outer.venv = self.recorded

    def _init_callback(self) -> None:
        given = self.eval_env
        if given is self.recorded and not isinstance(self.training_env, RecordedVecEnv):
            self.eval_env = self.recorded.venv  # EvalCallback would warn that its type differs from the training env's
        try:
            super()._init_callback()
        finally:
            self.eval_env = given

    def _on_step(self) -> bool:
        self.recorded.recorder.also[TIMESTEPS] = float(self.num_timesteps)
        return bool(super()._on_step())

    def _on_training_end(self) -> None:
        super()._on_training_end()
        self.recorded.flush()

    def close(self) -> None:
        """Close the evaluation env, and return when all files are final."""
        self.eval_env.close()
