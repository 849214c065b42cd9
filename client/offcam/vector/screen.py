"""The pictures of a vector env's sub-environments. Where possible, only those that a video shows are rendered."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import gymnasium.vector
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from offcam.recorder import readings
from offcam_proto.layout import CHANNELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from offcam.vector.terminal_frames import TerminalFrames


class Screen:
    """The picture of each sub-environment after the last step, rendered once, when it is first asked for.

    A pool, as EnvPool with a ``batch_size``, returns the results of some sub-environments at a time. Its threads step
    the others meanwhile, so these are not rendered then: they keep the picture of their last result.

    Args:
        env: the vector env, wrapped or not.
        observed: finds the picture in a sub-environment's observation, where that is shown; None where the env renders.

    Attributes:
        terminal: the terminal frames under SAME_STEP autoreset, where they can be reached.
    """

    def __init__(self, env: Any, observed: Callable[[object], object] | None) -> None:  # noqa: ANN401 - of any types
        self.terminal: TerminalFrames | None = None
        self._env = env
        self._observed = observed
        self._count = env.num_envs
        self._observation: Any = None
        self._rows: dict[int, int] | None = None  # by sub-environment, its place in the last results; None: its index
        self._takes_ids = _takes_ids(env.unwrapped)
        self._can_choose = _is_gymnasiums_to_render(env)
        self._frames: dict[int, Any] = {}
        self._picture: Any = None

    def stepped(self, observation: object, info: object) -> None:
        """The env was stepped or reset: forget the pictures of the sub-environments that have new results."""
        self._observation = observation
        self._picture = None
        places = readings.places(info, self._count)
        self._rows = None if places is None else {index: row for row, index in enumerate(places.tolist())}
        if self._rows is None:
            self._frames.clear()
        else:
            self._frames = {index: frame for index, frame in self._frames.items() if index not in self._rows}

    @property
    def of_some(self) -> bool:
        """Whether the last results are of some sub-environments, or not in their order."""
        return self._rows is not None

    def row(self, index: int) -> int | None:
        """The place of a sub-environment in the last results; None where it is not among them."""
        return index if self._rows is None else self._rows.get(index)

    def show(self, which: Sequence[int]) -> Any:  # noqa: ANN401 - whatever the env renders
        """The frames of some sub-environments in a tuple; or one picture, if the env renders one of all together."""
        self.prepare(which)
        if self._picture is not None:
            return self._picture
        frames = {**self._frames, **self._terminal(which)}
        if self.of_some:  # sub-environments without a result so far are black
            black = next((np.zeros_like(frame) for frame in frames.values() if isinstance(frame, np.ndarray)), None)
            frames = dict.fromkeys(which if black is not None else (), black) | frames
        return tuple([frames[index] for index in which if index in frames])

    def prepare(self, which: Iterable[int]) -> None:
        """Render together those sub-environments that were not rendered yet, and whose terminal frame is not shown."""
        have = self._frames.keys() | self._terminal(which).keys()
        missing = [index for index in which if index not in have and self.row(index) is not None]
        if not missing or self._picture is not None:
            return
        found = self._rendered(missing) if self._observed is None else self._seen(missing, self._observed)
        if isinstance(found, dict):
            self._frames.update(found)
        else:
            self._picture = found

    def _terminal(self, which: Iterable[int]) -> dict[int, Any]:
        return {} if self.terminal is None else self.terminal.of(which)

    def _rendered(self, which: list[int]) -> Any:  # noqa: ANN401 - whatever the env renders
        """Frames by sub-environment, maybe of more than are asked for; or one picture of all together."""
        base = self._env.unwrapped
        if self._takes_ids:  # without ids, EnvPool renders its first sub-environment alone
            return _by_number(base.render(np.array(which, np.int32)), which)
        if self._can_choose and len(which) < base.num_envs:
            here = isinstance(base, SyncVectorEnv)
            return _by_number([base.envs[i].render() for i in which] if here else _call_some(base, which), which)
        return _by_number(self._env.render(), range(base.num_envs))

    def _seen(self, which: list[int], observed: Callable[[object], object]) -> Any:  # noqa: ANN401 - whatever it observes
        """As `_rendered`, with the picture in each one's observation; the batch itself where it has no rows."""
        batch = self._observation
        try:
            if isinstance(batch, dict):
                batch = next(part for part in batch.values() if len(readings.shape_of(part)) >= 3)
            return batch if readings.on_device(batch) else {index: observed(batch[self.row(index)]) for index in which}
        except readings.UNREADABLE:
            return batch


def _by_number(rendered: Any, which: Sequence[int]) -> Any:  # noqa: ANN401 - whatever the env renders
    """Frames by sub-environment; one picture of all together is returned as it is."""
    if isinstance(rendered, (list, tuple)):
        latest = [frame[-1] if isinstance(frame, list) and frame else frame for frame in rendered]
        return dict(zip(which, latest, strict=False))
    shape = readings.shape_of(rendered)
    batch = len(shape) == 4 or (len(shape) == 3 and shape[2] not in CHANNELS and shape[0] == len(which))
    return dict(zip(which, rendered, strict=False)) if batch and isinstance(rendered, np.ndarray) else rendered


def _call_some(env: Any, which: Sequence[int]) -> list[Any]:  # noqa: ANN401 - an AsyncVectorEnv of any types
    """As the env's ``call("render")``, but for some sub-environments alone."""
    pipes = [env.parent_pipes[index] for index in which]
    for pipe in pipes:
        pipe.send(("_call", ("render", (), {})))
    answers = [pipe.recv() for pipe in pipes]
    failed = {index for index, (_, well) in zip(which, answers, strict=True) if not well}
    env._raise_if_errors([index not in failed for index in range(env.num_envs)])  # noqa: SLF001 - as its own `call`
    return [frame for frame, _ in answers]


def _is_gymnasiums_to_render(env: Any) -> bool:  # noqa: ANN401 - of any types
    """Whether the env's ``render`` is that of Gymnasium's vector envs, which render sub-environments one by one."""
    while env is not env.unwrapped:
        if type(env).render is not gymnasium.vector.VectorWrapper.render:
            return False
        env = env.env
    return type(env).render in (SyncVectorEnv.render, AsyncVectorEnv.render)


def _takes_ids(base: Any) -> bool:  # noqa: ANN401 - of any types
    try:
        return "env_ids" in inspect.signature(base.render).parameters
    except (TypeError, ValueError):
        return False
