"""State that some envs have besides their generator, such as an emulator's: how to save and restore it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from offcam_proto.errors import ConfigError, NotReplayable


class Hook(NamedTuple):
    """How to save and restore the state of a kind of env.

    Attributes:
        state: called with the base env; returns its state before a reset: numbers, text, bytes, arrays, lists, tuples,
            dicts of them.
        restore: called with a base env that was just made or reset, and a state; restores it.
    """

    state: Callable[[Any], Any]
    restore: Callable[[Any, Any], object]


def register(env: str | type, *, state: Callable[[Any], object], restore: Callable[[Any, Any], object]) -> None:
    """Register how to save and restore the state of an env that neither a seed nor its ``np_random`` restores.

    ``state`` is called on the env's thread before each reset without a seed. Call this where the env's class is
    defined, so that the process that replays has it, too. If ``state`` raises, that episode cannot be replayed; the
    training goes on.

    Args:
        env: the env's class, one of its base classes, or the id that it is made as.
        state: called with the base env; returns plain values, as a reset's ``options`` may have.
        restore: called with a base env of the same kind and such a state; restores it.

    Raises:
        ConfigError: an argument is of another kind.
    """
    if not isinstance(env, (str, type)) or not callable(state) or not callable(restore):
        raise ConfigError(
            f"offcam.replay.register takes an env's class or id and two functions, got {env!r}, {state!r}, {restore!r}"
        )
    _hooks[env if isinstance(env, str) else _name(env)] = Hook(state, restore)


def of(env: Any) -> Iterator[tuple[str, Hook]]:  # noqa: ANN401 - the base env
    """The hooks that are registered for an env, with their names."""
    kind: Any = type(env)
    names = (*_names(kind), getattr(getattr(env, "spec", None), "id", ""))
    return ((name, _hooks[name]) for name in names if name in _hooks)


def states(env: Any) -> dict[str, Any]:  # noqa: ANN401 - the base env
    """The current states of an env, by the names of its hooks. Exceptions of users' functions come through."""
    return {name: hook.state(env) for name, hook in of(env)}


def give_back(env: Any, kept: dict[str, Any]) -> None:  # noqa: ANN401 - the base env
    """Give an env the states back that `states` found in another.

    Raises:
        NotReplayable: a hook is not registered in this process.
    """
    known = dict(of(env))
    for name, state in kept.items():
        if name not in known:
            raise NotReplayable(
                f"offcam.replay.register was not called for {name!r} in this process: call it where the env is defined"
            )
        known[name].restore(env, state)


@lru_cache(maxsize=256)
def _names(kind: type) -> tuple[str, ...]:
    """The names of an env's class and of its base classes."""
    return tuple([_name(each) for each in kind.__mro__])


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _ale_state(env: Any) -> bytes:  # noqa: ANN401 - ale_py's env
    state: bytes = env.ale.cloneState(include_rng=True).serialize()
    return state


def _ale_restore(env: Any, state: bytes) -> None:  # noqa: ANN401 - ale_py's env
    env.ale.restoreState(sys.modules["ale_py"].ALEState(state))


_hooks: Final[dict[str, Hook]] = {"ale_py.env:AtariEnv": Hook(_ale_state, _ale_restore)}
