"""A VecEnv as one of Gymnasium's vector envs, so that offcam's own wrappers can be put around it."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecMonitor, is_vecenv_wrapped

from offcam.recorder import readings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

UNASKED = (AttributeError, NotImplementedError)
"""What VecEnvs raise that cannot call methods of sub-environments, as they have none."""


class VecEnvs(VectorEnv[Any, Any, Any]):
    """A VecEnv with Gymnasium's methods. It resets a sub-environment in the step in which its episode ends.

    If there is a Monitor, an episode ends where that says so: a wrapper above it, as Atari's EpisodicLifeEnv, may be
    done in the midst of an episode.

    Args:
        venv: the VecEnv.

    Attributes:
        venv: the VecEnv.
        monitored: whether there is a Monitor or VecMonitor beneath.
        observations: what the VecEnv's last step or reset returned.
        rewards, dones, infos: what the VecEnv's last step returned.
        ended: bool ``(num_envs,)``, where the last step ended an episode; all False after a reset.
    """

    def __init__(self, venv: VecEnv) -> None:
        self.venv = venv
        self.num_envs = venv.num_envs
        self.single_observation_space = venv.observation_space
        self.single_action_space = venv.action_space
        self.render_mode = venv.render_mode
        self.metadata = {**_of_first(venv, "metadata", {}), "autoreset_mode": AutoresetMode.SAME_STEP}
        self.monitored = _is_monitored(venv)
        self._in_parts = isinstance(venv.unwrapped, (DummyVecEnv, SubprocVecEnv))
        name = _name(venv)
        if name is not None:
            self.spec = SimpleNamespace(id=name)  # type: ignore[assignment]  # no more of a spec is used
        self.observations: Any = None
        self.rewards: Any = None
        self.dones: Any = None
        self.infos: Any = [{} for _ in range(self.num_envs)]
        self.ended: NDArray[np.bool_] = np.zeros(self.num_envs, bool)

    def __repr__(self) -> str:
        return f"{type(self.venv.unwrapped).__name__} of {self.num_envs} envs"

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:  # noqa: ARG002, ANN401
        """Reset the VecEnv. Seeds and options are ignored, as a VecEnv is given them by methods of its own."""
        self.observations = self.venv.reset()
        self.ended = np.zeros(self.num_envs, bool)
        return self.observations, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:  # noqa: ANN401 - the user's own
        """Step the VecEnv. Returns what Gymnasium's vector envs do, with values of ended episodes in ``final_info``."""
        self.venv.step_async(actions)
        self.observations, self.rewards, self.dones, self.infos = self.venv.step_wait()
        self.ended = np.array(self.dones, bool)
        if self.monitored and self.ended.any():
            self.ended = self.ended & np.array(["episode" in info for info in self.infos])
        truncated = np.zeros(self.num_envs, bool)
        told: dict[str, Any] = {}
        (ended,) = self.ended.nonzero()
        if ended.size:
            final: dict[str, Any] = {}
            for index in ended.tolist():
                info = self.infos[index]
                truncated[index] = bool(info.get("TimeLimit.truncated", False))
                final = self._add_info(final, _numbers(info), index)
            told = {"final_info": final, "_final_info": self.ended.copy()}
        return self.observations, self.rewards, self.ended & ~truncated, truncated, told

    def render(self, env_ids: Sequence[int] | NDArray[Any] | None = None) -> Any:  # noqa: ANN401 - frames
        """A frame of each of these sub-environments, by default of all."""
        which = [int(index) for index in (range(self.num_envs) if env_ids is None else env_ids)]
        if self._in_parts:
            return self.venv.env_method("render", indices=which)
        frames = self.venv.get_images()
        return [frames[index] for index in which]

    def close(self, **_: Any) -> None:  # noqa: ANN401 - as Gymnasium's
        """Close the VecEnv."""
        self.venv.close()


def _numbers(info: dict[str, Any]) -> dict[str, float]:
    """The numbers in an info, all as floats, so that a column of them has one type."""
    numbers = (int, float, np.number, np.bool_)
    return {str(name): readings.as_float(value) for name, value in info.items() if isinstance(value, numbers)}


def _is_monitored(venv: VecEnv) -> bool:
    try:
        return bool(is_vecenv_wrapped(venv, VecMonitor) or all(venv.env_is_wrapped(Monitor)))
    except UNASKED:
        return False


def _of_first(venv: VecEnv, name: str, default: Any) -> Any:  # noqa: ANN401 - whatever it has
    try:
        return venv.get_attr(name, indices=[0])[0]
    except UNASKED:
        return default


def _name(venv: VecEnv) -> str | None:
    """The id by which the first sub-environment was made, or its class's name; None where it cannot be found.

    It is taken from the end of the env's ``str``, as its spec may have what cannot be pickled, which would end the
    process of the sub-environment.
    """
    try:
        text = str(venv.env_method("__str__", indices=[0])[0])
    except UNASKED:
        return None
    found = re.search(r"<([^<>]+)>+$", text)
    return found.group(1).removesuffix(" instance") if found else None
