"""Terminal frames under SAME_STEP autoreset, which resets a sub-environment before anyone can look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsFloat

from offcam.recorder import readings

if TYPE_CHECKING:
    import gymnasium as gym
    from gymnasium.vector import SyncVectorEnv


class _SubEnv:
    """Renders a sub-environment at the end of an episode, before the vector env resets it.

    It takes the place of the method `step` of that, and no more: who looks into the vector env finds the same object.

    Attributes:
        keeps_terminal: whether it renders then.
        frame: the terminal frame that it rendered in the last step, or None.
    """

    keeps_terminal = False
    frame: Any = None

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._env = env
        self._another = vars(env).get("step")  # as another recorder's; the class's is not kept: pickle would look it up
        vars(env)["step"] = self.step  # by its name, and find this one

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:  # noqa: ANN401 - any env's
        env = self._env
        result = self._another(action) if self._another else type(env).step(env, action)
        if self.keeps_terminal and readings.over(result[2], result[3]):
            frame: Any = env.render()
            self.frame = frame[-1] if isinstance(frame, list) else frame
        return result


class TerminalFrames:
    """The terminal frame of each sub-environment of a `SyncVectorEnv`."""

    def __init__(self, env: SyncVectorEnv[Any, Any]) -> None:
        self._sub_envs = [_SubEnv(inner) for inner in env.envs]

    def arm(self, *, wanted: bool) -> None:
        """Before a step: have its terminal frames kept if they are wanted, and forget those of the last step."""
        for sub_env in self._sub_envs:
            sub_env.keeps_terminal = wanted
            sub_env.frame = None

    def forget(self) -> None:
        """After the terminal frames were shown: what comes now is the new episode."""
        for sub_env in self._sub_envs:
            sub_env.frame = None

    def show(self, frames: tuple[Any, ...]) -> tuple[Any, ...]:
        """The frames, with the terminal one in the place of each sub-environment that just ended."""
        return tuple(
            frame if sub_env.frame is None else sub_env.frame
            for sub_env, frame in zip(self._sub_envs, frames, strict=True)
        )
