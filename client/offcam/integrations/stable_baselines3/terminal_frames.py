"""The terminal frames of a VecEnv, which resets a sub-environment before its step returns."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from offcam.vector.terminal_frames import SubEnv, TerminalFrames

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from offcam.integrations.stable_baselines3.vec_envs import VecEnvs

NAME = "offcam_terminal_frame"
"""The attribute of a sub-environment, in its own process, that keeps its terminal frame there."""


def terminal_frames(envs: VecEnvs) -> TerminalFrames | None:
    """The terminal frames of a VecEnv's sub-environments; None where these cannot be reached."""
    base = envs.venv.unwrapped
    if isinstance(base, DummyVecEnv):
        return TerminalFrames(base.envs)
    if not isinstance(base, SubprocVecEnv):
        return None
    base.set_attr(NAME, Keeper())
    return InProcesses(envs) if all(base.env_method(NAME, "begin")) else None


class Keeper:
    """A callable that is sent into the process of a sub-environment, to keep the terminal frame there."""

    _sub_env: SubEnv | None = None

    def __call__(self, what: str) -> Any:  # noqa: ANN401 - as below
        """Do what the recording process asks for.

        Args:
            what: ``begin``: find the env, and return whether that was possible. ``keep`` and ``leave``: render terminal
                frames, or do not. ``take``: return the last terminal frame.
        """
        if what == "begin":
            env: Any = sys._getframe(1).f_locals.get("env")  # noqa: SLF001 - the worker that calls this passes no env
            self._sub_env = SubEnv(env) if hasattr(env, "step") else None
            return self._sub_env is not None
        assert self._sub_env is not None  # noqa: S101 - `begin` was called before
        if what == "take":
            return self._sub_env.frame
        self._sub_env.keeps_terminal = what == "keep"
        return None


class InProcesses(TerminalFrames):
    """The terminal frames of sub-environments in processes of their own, fetched from there if they are shown.

    Args:
        envs: the VecEnv, in whose sub-environments a `Keeper` has begun.
    """

    def __init__(self, envs: VecEnvs) -> None:
        super().__init__([])
        self._envs = envs
        self._base = envs.venv.unwrapped
        self._shown: set[int] = set()  # sub-environments whose terminal frame was shown since the last step
        self._frames: dict[int, Any] = {}

    def arm(self, wanted: Collection[int]) -> None:
        """As `TerminalFrames.arm`; the processes are told where that changes something."""
        now = set(wanted)
        for what, which in (("leave", self._armed - now), ("keep", now - self._armed)):
            if which:
                self._base.env_method(NAME, what, indices=sorted(which))
        self._armed = now
        self._shown.clear()
        self._frames.clear()

    def forget(self, which: Collection[int]) -> None:
        """As `TerminalFrames.forget`."""
        self._shown.update(which)

    def of(self, which: Iterable[int]) -> dict[int, Any]:
        """As `TerminalFrames.of`; it may ask the processes."""
        due = [index for index in which if index in self._armed - self._shown and self._envs.ended[index]]
        missing = [index for index in due if index not in self._frames]
        if missing:
            self._frames.update(zip(missing, self._base.env_method(NAME, "take", indices=missing), strict=True))
        return {index: self._frames[index] for index in due if self._frames[index] is not None}
