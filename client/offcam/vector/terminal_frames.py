"""Terminal frames under SAME_STEP autoreset, where a sub-environment is reset before the step returns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, SupportsFloat

from offcam.recorder import readings

if TYPE_CHECKING:
    import gymnasium as gym


class SubEnv:
    """Renders a sub-environment at the end of an episode, before the vector env resets it.

    It replaces the method `step` of the sub-environment, and no more: the vector env has the same object as before.

    Attributes:
        keeps_terminal: whether the end of an episode is rendered.
        frame: the terminal frame that it rendered in the last step, or None.
    """

    keeps_terminal = False
    frame: Any = None

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._env = env
        # another recorder's `step`, if any. The class's own is not kept, as pickle would look it up by its name in the
        # env, and find the one that is put there now.
        self._another = vars(env).get("step")
        vars(env)["step"] = self.step

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:  # noqa: ANN401 - any env's
        """Step the env, and render it if the episode is over."""
        env = self._env
        result = self._another(action) if self._another else type(env).step(env, action)
        if self.keeps_terminal and readings.over(result[2], result[3]):
            frame: Any = env.render()
            self.frame = frame[-1] if isinstance(frame, list) else frame
        return result


class TerminalFrames:
    """The terminal frame of each sub-environment, where the sub-environments are in this process.

    Args:
        envs: the sub-environments.
    """

    def __init__(self, envs: Sequence[gym.Env[Any, Any]]) -> None:
        self._sub_envs = [SubEnv(inner) for inner in envs]
        self._armed: set[int] = set()

    def arm(self, wanted: Collection[int]) -> None:
        """Before a step: have the terminal frames of some sub-environments kept, and forget those of the last step."""
        for index in self._armed - set(wanted):
            self._sub_envs[index].keeps_terminal = False
        self.forget(self._armed)
        for index in wanted:
            self._sub_envs[index].keeps_terminal = True
        self._armed = set(wanted)

    def forget(self, which: Collection[int]) -> None:
        """Forget terminal frames that were shown, as the next picture is of the new episode."""
        for index in which:
            self._sub_envs[index].frame = None

    def of(self, which: Iterable[int]) -> dict[int, Any]:
        """The terminal frames of some sub-environments, by index, of those whose episode ended in the last step."""
        frames = {index: self._sub_envs[index].frame for index in which}
        return {index: frame for index, frame in frames.items() if frame is not None}
