"""Recipes of envs: making one of an env, and making the env from it in another process."""

from __future__ import annotations

import copy
import os
import sys
from typing import Any, Final

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from offcam.replay import portable
from offcam.replay.fingerprint import fingerprint
from offcam_proto.errors import MalformedMessage, NotReplayable
from offcam_runs.replay.recipe import Recipe, make_key

VARIABLES: Final = (
    "CUDA_VISIBLE_DEVICES",
    "DISPLAY",
    "EGL_PLATFORM",
    "LD_LIBRARY_PATH",
    "MUJOCO_EGL_DEVICE_ID",
    "MUJOCO_GL",
    "OMP_NUM_THREADS",
    "PYOPENGL_PLATFORM",
    "PYTHONHASHSEED",
    "SDL_AUDIODRIVER",
    "SDL_VIDEODRIVER",
)
"""Environment variables that change what an env does or shows."""

_FIELDS: Final = ("id", "entry_point", "reward_threshold", "nondeterministic", "max_episode_steps", "kwargs")
_INSTEAD: Final = "make it with gymnasium.make, from a class in a module of its own, or record frames: source='frames'"


def of(env: gym.Env[Any, Any]) -> Recipe:
    """The recipe of an env's base, sealed with the user's key where there can be one.

    Raises:
        NotReplayable: the env cannot be made in another process, and why.
    """
    base = env.unwrapped
    spec = base.spec
    if spec is None:
        raise NotReplayable(
            f"nobody can tell what arguments this {type(base).__name__} was made with, as it has no spec: {_INSTEAD}"
        )
    fields = {name: getattr(spec, name) for name in _FIELDS}
    fields["entry_point"] = _place(spec)
    fields["kwargs"] = {name: value for name, value in spec.kwargs.items() if name != "render_mode"}
    try:
        packed = portable.pack(fields).hex()
    except NotReplayable as error:
        raise NotReplayable(f"{spec.id} was made with arguments that cannot be written down: {error}") from error
    found = Recipe(
        spec=packed,
        executable=sys.executable,
        path=[os.path.abspath(place) for place in sys.path],
        folder=os.getcwd(),
        variables={name: os.environ[name] for name in VARIABLES if name in os.environ},
        fingerprint=fingerprint(type(base)),
    )
    key = make_key(os.environ, os.getuid())
    return found if key is None else found.sealed(key)


def make(recipe: Recipe, render_mode: str | None = None, **arguments: Any) -> gym.Env[Any, Any]:  # noqa: ANN401 - the env's
    """Make the base env anew, in this process.

    Args:
        recipe: the env's recipe.
        render_mode: as in `gymnasium.make`.
        arguments: arguments that take precedence over the recipe's, such as the size of pictures.

    Raises:
        NotReplayable: the env cannot be made here, and why.
    """
    if render_mode is not None:
        arguments["render_mode"] = render_mode
    spec = spec_of(recipe)
    try:
        return gym.make(spec, disable_env_checker=True, **arguments).unwrapped
    except Exception as error:
        raise NotReplayable(f"{spec.id} cannot be made by {sys.executable}: {error!r}") from error


def spec_of(recipe: Recipe) -> EnvSpec:
    """The env's spec in a recipe.

    Raises:
        MalformedMessage: the recipe has no valid spec.
    """
    try:
        return EnvSpec(**copy.deepcopy(portable.unpack(bytes.fromhex(recipe.spec))))
    except (ValueError, TypeError, AttributeError, gym.error.Error) as error:
        raise MalformedMessage(f"not the spec of an env: {recipe.spec[:80]!r}: {error}") from error


def _place(spec: EnvSpec) -> str:
    """Where the env's class or function is found, as ``module:name``."""
    entry = spec.entry_point
    if isinstance(entry, str):
        place = entry
    else:
        place = f"{getattr(entry, '__module__', None)}:{getattr(entry, '__qualname__', None)}"
        if _found(place) is not entry or entry is None:
            raise NotReplayable(f"{spec.id} is made by {entry!r}, which no other process can find: {_INSTEAD}")
    if place.partition(":")[0] in ("__main__", "__mp_main__"):
        raise NotReplayable(f"{spec.id} is defined in the script itself, which no other process can import: {_INSTEAD}")
    return place


def _found(place: str) -> Any:  # noqa: ANN401 - whatever is there
    module, _, names = place.partition(":")
    found: Any = sys.modules.get(module)
    for name in names.split("."):
        found = getattr(found, name, None)
    return found
