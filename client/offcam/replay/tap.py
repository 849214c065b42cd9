"""The tap: a wrapper at an env's base, below all others, that tells a tape of each reset and step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, SupportsFloat

import gymnasium as gym

from offcam.replay import hooks, portable, random_state
from offcam.replay.digest import Digest
from offcam.replay.tape import Reset
from offcam_proto.errors import NotReplayable

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

    from offcam.replay.tape import Tape

_OWN: Final = frozenset({"env", "_action_space", "_observation_space", "_metadata", "_cached_spec", "_tape", "_digest"})


class Tap(gym.Wrapper[Any, Any, Any, Any]):
    """Tells a tape of each reset and step of a base env, as which it appears to all wrappers around it.

    A copy of the tap, as planners make them, tells nothing, nor does one in another process.

    Thread: that of the env.

    Args:
        env: the base env.
        tape: the tape; None for a tap that tells nothing.
    """

    def __init__(self, env: gym.Env[Any, Any], tape: Tape | None) -> None:
        super().__init__(env)
        self._tape = tape
        self._digest = Digest()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the base, and tell of it."""
        if self._tape is None:
            return self.env.reset(seed=seed, options=options)
        given = _before(self.env, seed, options)
        result = self.env.reset(seed=seed, options=options)
        if seed is None and given.random is None and not given.why:
            given = given._replace(random=random_state.made(self.env))
        self._tell_reset(given, result[0])
        return result

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:  # noqa: ANN401 - the env's own
        """Step the base, and tell of it."""
        tape = self._tape
        if tape is None:
            return self.env.step(action)
        tape.act(action)
        result = self.env.step(action)
        observation, reward, terminated, truncated, _ = result
        try:
            now = self._digest.go_on(observation, reward, terminated, truncated)
        except NotReplayable as error:
            self._end(str(error))
        else:
            tape.step(now)
        return result

    def _tell_reset(self, given: Reset, observation: object) -> None:
        assert self._tape is not None  # noqa: S101 - only called with a tape
        try:
            now = self._digest.begin(observation)
            try:
                packed = given.pack()
            except NotReplayable as error:
                packed = Reset(why=f"what its reset was given cannot be kept: {error}").pack()
            self._tape.reset(packed, now)
        except NotReplayable as error:
            self._end(str(error))

    def _end(self, why: str) -> None:
        tape, self._tape = self._tape, None
        if tape is not None:
            tape.end(why)

    # --- appearing as the base -------------------------------------------------------------------------------

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]  # as in gym.Wrapper
        """The base's own: the tap is no part of how an env is made."""
        return self.env.spec

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the base's own
        if name in _OWN or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.env, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in _OWN:
            object.__setattr__(self, name, value)
        else:
            setattr(self.env, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.env, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tap:
        return Tap(copy.deepcopy(self.env, memo), None)

    def __copy__(self) -> Tap:
        return Tap(self.env, None)

    def __reduce__(self) -> tuple[type[Tap], tuple[Any, None]]:
        return Tap, (self.env, None)

    def __str__(self) -> str:
        return str(self.env)


def _before(env: gym.Env[Any, Any], seed: Any, options: Any) -> Reset:  # noqa: ANN401 - as a caller gives them
    """A reset's arguments, and the env's state before it: taken before the call, which may change both."""
    try:
        options = None if options is None else portable.unpack(portable.pack(options))
        if seed is not None:
            return Reset(seed, options)
        return Reset(None, options, random_state.of(env), hooks.states(env))
    except NotReplayable as error:
        return Reset(why=f"the options of its reset cannot be kept: {error}")
    except Exception as error:  # noqa: BLE001 - a user's function: the training goes on
        return Reset(why=f"the hook that was registered for this env failed: {error!r}")


def insert(env: Any, tape: Callable[[int], Tape]) -> Any:  # noqa: ANN401 - an Env or a VectorEnv, wrapped or not
    """Put a tap at an env's base; of a vector env, at that of each sub-environment.

    Args:
        env: the env, in which the tap is put, unless it is a bare base.
        tape: is called with the index of a sub-environment, 0 for a single env, and returns its tape.

    Returns:
        The env; for a bare base, the tap around it.

    Raises:
        NotReplayable: the base cannot be reached from here, and why; nothing was changed.
    """
    if not isinstance(env, gym.vector.VectorEnv):
        return _into_single(env, tape(0))
    envs = sub_envs(env)
    for each in envs:
        _innermost(each)
    base: Any = env.unwrapped
    base.envs[:] = [_into_single(each, tape(index)) for index, each in enumerate(envs)]
    return env


def sub_envs(env: Any) -> list[gym.Env[Any, Any]]:  # noqa: ANN401 - a VectorEnv of any types
    """The sub-environments of a vector env.

    Raises:
        NotReplayable: they cannot be reached from here.
    """
    base = env.unwrapped
    if not isinstance(base, gym.vector.SyncVectorEnv):
        raise NotReplayable(
            f"the sub-environments of {type(base).__name__} live where this process cannot see them. Wrap each in the "
            "function that makes it: `lambda: offcam.RecordVideo(gym.make(...), ..., source='replay')`."
        )
    return list(base.envs)


def _into_single(env: gym.Env[Any, Any], tape: Tape) -> gym.Env[Any, Any]:
    layer = _innermost(env)
    if layer is None:
        return Tap(env, tape)
    layer.env = Tap(env.unwrapped, tape)
    return env


def _innermost(env: gym.Env[Any, Any]) -> Any:  # noqa: ANN401 - a wrapper of whatever kind
    """The last wrapper before the base; None where there is none."""
    base: Any = env.unwrapped
    layer: Any = None
    while env is not base:
        if isinstance(env, Tap):
            raise NotReplayable("another recorder replays this env already: one tape is enough for both")
        layer, inner = env, vars(env).get("env")
        if inner is None:
            raise NotReplayable(f"the wrapper {type(layer).__name__} does not say what it wraps: it has no `env`")
        env = inner
    return layer
