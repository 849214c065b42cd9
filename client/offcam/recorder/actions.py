"""Actions as columns of a row of steps, and back: bit for bit what the env was given."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from offcam.recorder import typed_values
from offcam_proto.errors import ActionError, ConfigError
from offcam_runs.steps.layout import HEAP, MAX_COLUMNS, Column
from offcam_runs.steps.values import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_COLUMNS = MAX_COLUMNS // 2
"""Most columns of an action; the rest of a row's columns are for other things."""

_INT64 = np.dtype("<i8")
_HEAP_SPACES = (spaces.Text, spaces.Graph, spaces.Sequence, spaces.OneOf)
_DTYPES = frozenset(("|b1", "|u1", "|i1", "<u2", "<u4", "<u8", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"))


@dataclass(slots=True)
class _Leaf:
    """A part of an action that has a column.

    Attributes:
        name: of the column.
        keys: the path to it in the action.
        dtype: of its numbers; None where its values are in the heap.
        shape: of one value, without the dimension of sub-environments.
    """

    name: str
    keys: tuple[Any, ...]
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]

    @property
    def column(self) -> Column:
        return Column(self.name, HEAP, ()) if self.dtype is None else Column(self.name, self.dtype.str, self.shape)


class ActionCodec:
    """The actions of a space, as columns and back.

    Numbers have the space's dtype. An action in another dtype is converted if that changes no value; if it would, the
    column is widened to hold it from then on, which changes `columns`.

    Args:
        space: of the actions of one sub-environment.
        envs: how many sub-environments an action is for; 0 for a single env.

    Attributes:
        columns: named ``action``, or ``action.KEY`` of a Dict or Tuple.
        plain: whether an action is a single integer, which is stored as it is.

    Raises:
        ConfigError: actions of this space cannot be recorded, or its keys cannot be told apart.
    """

    def __init__(self, space: spaces.Space[Any], envs: int = 0) -> None:
        self._space = space
        self._envs = envs
        self._leaves = list(_leaves(space, "action", ()))
        names = [leaf.name for leaf in self._leaves]
        if len(names) > MOST_COLUMNS or len(set(names)) < len(names):
            raise ConfigError(
                f"steps cannot be recorded of {len(names)} parts of an action, at most {MOST_COLUMNS} of different "
                f"names: {space}. Pass `steps=False`, or give the space fewer or other keys."
            )
        self.columns = tuple([leaf.column for leaf in self._leaves])
        self.plain = isinstance(space, spaces.Discrete) and not envs
        self._array: tuple[np.dtype[Any], tuple[int, ...]] | None = None  # dtype and shape, if an action is one array
        (leaf,) = self._leaves if len(self._leaves) == 1 else (None,)
        if leaf is not None and not leaf.keys and leaf.dtype is not None and (leaf.shape or envs):
            self._array = leaf.dtype, self._whole(leaf.shape)

    @property
    def many(self) -> bool:
        """Whether an action has several values in a row, or some in the heap; else `keep` returns its only value."""
        return not self.plain and self._array is None

    def keep(self, action: Any) -> Any:  # noqa: ANN401 - of any space
        """A copy of an action that stays as it is now, made as cheaply as possible.

        For one integer that is the integer, for an array its bytes, as `StepBuffer.add` takes them; for any other
        action what `pack` returns.

        Raises:
            ActionError: as `pack`.
        """
        if self.plain:
            return action
        if self._array is not None and type(action) is np.ndarray:
            dtype, shape = self._array
            if action.dtype is dtype and action.shape == shape:
                return action.tobytes()
        return self.pack(action)

    def packed(self, kept: Any) -> tuple[list[Any], list[list[bytes]]]:  # noqa: ANN401 - of `keep`
        """What `keep` returned, in the form that `pack` returns. Raises as `pack`."""
        if self.plain:
            return self.pack(kept)
        return ([kept], []) if type(kept) is bytes else kept

    def pack(self, action: Any) -> tuple[list[Any], list[list[bytes]]]:  # noqa: ANN401 - of any space
        """The values of an action's columns, and for each column in the heap what goes there, by sub-environment.

        A column's value is a number, or for several numbers their bytes, as `StepBuffer.add` takes them. For a column
        in the heap it is the length, or the lengths as bytes of uint32.

        Raises:
            ActionError: the action is none of the space. Nothing was changed.
        """
        values: list[Any] = []
        heap: list[list[bytes]] = []
        for leaf in self._leaves:
            part = _reached(action, leaf.keys)
            if leaf.dtype is None:
                values.append(self._heaped(part, heap))
            else:
                array = self._converted(leaf, part)
                values.append(array.tobytes() if self._envs or leaf.shape else array.item())
        return values, heap

    def blank(self) -> tuple[list[Any], list[list[bytes]]]:
        """The values in place of an action, for a reset or for what is not in the space: zeros, and an empty heap."""
        values: list[Any] = []
        for leaf in self._leaves:
            size = 4 if leaf.dtype is None else leaf.dtype.itemsize * math.prod(leaf.shape)
            single = not self._envs and not (leaf.dtype is not None and leaf.shape)
            values.append(0 if single else bytes(size * (self._envs or 1)))
        return values, [[b""] * (self._envs or 1) for leaf in self._leaves if leaf.dtype is None]

    def unpack(self, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of any space
        """The action of a row.

        Args:
            values: of the action's columns, by name: numpy values as they are in the row; for a column in the heap the
                bytes, or a list with the bytes of each sub-environment.

        Raises:
            ActionError: the bytes are not an action's.
        """
        return _built(self._space, "action", lambda name: self._read(name, values[name]))

    def _read(self, name: str, value: Any) -> Any:  # noqa: ANN401 - as above
        leaf = next(each for each in self._leaves if each.name == name)
        if leaf.dtype is None:
            return tuple(map(decode, value)) if self._envs else decode(value)
        array = np.array(value)
        return array if self._envs or array.ndim or not self._is_number(leaf) else array[()]

    def _is_number(self, leaf: _Leaf) -> bool:
        return isinstance(_reached(self._space, leaf.keys), spaces.Discrete)

    def _whole(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self._envs, *shape) if self._envs else shape

    def _converted(self, leaf: _Leaf, part: object) -> NDArray[Any]:
        """The numbers of a part, in its dtype, which is widened if it cannot hold them."""
        array, shape = typed_values.as_array(part), self._whole(leaf.shape)
        if array.shape != shape:
            if array.size != 1 or math.prod(shape) != 1:
                raise ActionError(f"{leaf.name} has the shape {array.shape}, not {shape}")
            array = array.reshape(shape)
        assert leaf.dtype is not None  # noqa: S101 - not in the heap
        if array.dtype == leaf.dtype:
            return array
        for dtype in (leaf.dtype, np.promote_types(leaf.dtype, array.dtype), array.dtype):
            if dtype.str in _DTYPES and (cast := _exactly(array, dtype)) is not None:
                if dtype != leaf.dtype:
                    self._widen(leaf, dtype)
                return cast
        raise ActionError(f"{leaf.name} is of {array.dtype}, and the space of {leaf.dtype}")

    def _widen(self, leaf: _Leaf, dtype: np.dtype[Any]) -> None:
        leaf.dtype = dtype
        self.columns = tuple([each.column for each in self._leaves])
        if self._array is not None:
            self._array = dtype, self._array[1]

    def _heaped(self, part: Any, heap: list[list[bytes]]) -> int | bytes:  # noqa: ANN401 - of any space
        """The length of a value that goes into the heap, or the lengths of one value for each sub-environment."""
        if not self._envs:
            heap.append([typed_values.encode(part)])
            return len(heap[-1][0])
        if not isinstance(part, Sequence) or len(part) != self._envs:
            raise ActionError(f"an action for {self._envs} sub-environments has not one part for each")
        heap.append([typed_values.encode(each) for each in part])
        return np.array([len(each) for each in heap[-1]], "<u4").tobytes()


def _leaves(space: spaces.Space[Any], name: str, keys: tuple[Any, ...]) -> Iterator[_Leaf]:
    """The parts of a space that get columns, in order."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        for key, inner in _inner(space):
            yield from _leaves(inner, f"{name}.{key}", (*keys, key))
    elif isinstance(space, _HEAP_SPACES):
        yield _Leaf(name, keys, None, ())
    elif isinstance(space, spaces.Discrete):
        yield _Leaf(name, keys, _INT64, ())
    elif isinstance(space, (spaces.Box, spaces.MultiDiscrete, spaces.MultiBinary)):
        dtype = np.dtype(np.dtype(space.dtype).newbyteorder("<").str)  # the same object that arrays have, not its equal
        if dtype.str not in _DTYPES:
            raise ConfigError(f"steps cannot be recorded of numbers of {dtype}: {space}. Pass `steps=False`.")
        yield _Leaf(name, keys, dtype, tuple(map(operator.index, space.shape)))
    else:
        raise ConfigError(
            f"steps cannot be recorded of actions of a {type(space).__name__}: {space}. Pass `steps=False`, or give "
            "the env a space of Gymnasium's own, as by `gymnasium.wrappers.TransformAction`."
        )


def _inner(space: spaces.Dict | spaces.Tuple[Any]) -> Iterator[tuple[Any, spaces.Space[Any]]]:
    return iter(space.spaces.items()) if isinstance(space, spaces.Dict) else iter(enumerate(space.spaces))


def _reached(whole: Any, keys: tuple[Any, ...]) -> Any:  # noqa: ANN401 - an action, or its space
    try:
        for key in keys:
            whole = whole[key]
    except (TypeError, LookupError) as error:
        raise ActionError(f"an action has no part {'.'.join(map(str, keys))}") from error
    return whole


def _built(space: spaces.Space[Any], name: str, read: Callable[[str], Any]) -> Any:  # noqa: ANN401 - as above
    if isinstance(space, spaces.Dict):
        return {key: _built(inner, f"{name}.{key}", read) for key, inner in _inner(space)}
    if isinstance(space, spaces.Tuple):
        return tuple([_built(inner, f"{name}.{key}", read) for key, inner in _inner(space)])
    return read(name)


def _exactly(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """The array in another dtype if that changes no value; else None."""
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
        back = cast.astype(array.dtype)
    return cast if np.array_equal(back, array, equal_nan=array.dtype.kind == "f") else None
