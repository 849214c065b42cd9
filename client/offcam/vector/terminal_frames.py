"""Terminal frames under SAME_STEP autoreset, which resets a sub-environment before anyone can look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsFloat

import gymnasium as gym

if TYPE_CHECKING:
    from gymnasium.vector import SyncVectorEnv


class _Tap(gym.Wrapper[Any, Any, Any, Any]):
    """Renders its env at the end of an episode, before the vector env resets it.

    Attributes:
        wanted: whether to.
        frame: what was rendered, until forgotten.
    """

    wanted = False
    frame: Any = None

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:  # noqa: ANN401 - any env's
        result = super().step(action)
        if self.wanted and (result[2] or result[3]):
            self.frame = self.env.render()
        return result


class TerminalFrames:
    """Taps each sub-environment of a `SyncVectorEnv` for its terminal frame."""

    def __init__(self, env: SyncVectorEnv[Any, Any]) -> None:
        self._taps = [_Tap(sub_env) for sub_env in env.envs]
        env.envs = list(self._taps)

    def arm(self, *, wanted: bool) -> None:
        """Before a step: keep the terminal frames of this step, if wanted, and forget the last one's."""
        for tap in self._taps:
            tap.wanted = wanted
            tap.frame = None

    def forget(self) -> None:
        """After the terminal frames were shown: what comes now is the new episode."""
        for tap in self._taps:
            tap.frame = None

    def show(self, frames: tuple[Any, ...]) -> tuple[Any, ...]:
        """The frames, with the terminal one in the place of each sub-environment that just ended."""
        return tuple(
            frame if tap.frame is None else (tap.frame[-1] if isinstance(tap.frame, list) else tap.frame)
            for tap, frame in zip(self._taps, frames, strict=True)
        )
