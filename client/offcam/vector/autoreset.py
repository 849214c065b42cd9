"""When a vector env resets a sub-environment that has ended."""

from __future__ import annotations

from typing import Any

from gymnasium.vector import AutoresetMode


def autoreset_mode(env: Any) -> Any:  # noqa: ANN401 - a VectorEnv of any types, and whatever its metadata says
    """The autoreset mode in an env's metadata, or the one known for envs that do not say theirs; else None."""
    mode = env.metadata.get("autoreset_mode")
    if mode is None and type(env.unwrapped).__module__.partition(".")[0] == "supersuit":
        return AutoresetMode.SAME_STEP
    return mode
