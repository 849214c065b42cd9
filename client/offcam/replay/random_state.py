"""The state of an env's random generator: read before a reset without a seed, and restored before that is replayed."""

from __future__ import annotations

from typing import Any

import numpy as np

from offcam_proto.errors import NotReplayable

State = dict[str, Any]
"""The state of a bit generator as numpy has it, or ``{"seed": n}`` for one that was seeded with n and not used yet."""


def of(env: Any) -> State | None:  # noqa: ANN401 - the base env
    """The current state of an env's generator; None where the env has no generator yet, which this does not make."""
    generator = vars(env).get("_np_random")
    return dict(generator.bit_generator.state) if isinstance(generator, np.random.Generator) else None


def made(env: Any) -> State | None:  # noqa: ANN401 - the base env
    """The first state of a generator that a reset without a seed has made; None where it is not known."""
    seed = vars(env).get("_np_random_seed")
    if isinstance(vars(env).get("_np_random"), np.random.Generator) and isinstance(seed, int) and seed >= 0:
        return {"seed": seed}
    return None


def give_back(env: Any, state: State) -> None:  # noqa: ANN401 - the base env
    """Set an env's generator to a state. It stays the same object, as parts of the env may hold it, too.

    Raises:
        NotReplayable: this numpy has no such bit generator.
    """
    if "seed" in state:
        env._np_random, env._np_random_seed = np.random.Generator(np.random.PCG64(state["seed"])), state["seed"]  # noqa: SLF001 - as Gymnasium's
        return
    kind = getattr(np.random, str(state.get("bit_generator")), None)
    if kind is None:
        raise NotReplayable(f"numpy {np.__version__} has no bit generator {state.get('bit_generator')!r}")
    generator = vars(env).get("_np_random")
    if not isinstance(generator, np.random.Generator) or type(generator.bit_generator) is not kind:
        generator = env._np_random = np.random.Generator(kind())  # noqa: SLF001 - as Gymnasium's
    generator.bit_generator.state = state
