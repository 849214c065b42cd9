"""Actions as columns and back: of every space, equal in each bit and of the same type."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from offcam.recorder import typed_values
from offcam.recorder.actions import ActionCodec
from offcam.recorder.steps import StepLog
from offcam.recorder.tail import Tail
from offcam_proto.errors import ActionError, ConfigError
from offcam_runs.steps import tail
from offcam_runs.steps.layout import STEPS, Column
from offcam_runs.steps.values import decode
from stepreader import rows_of

if TYPE_CHECKING:
    from offcam_proto.records import StepRecord

SPACES = {
    "discrete": spaces.Discrete(5, start=-2),
    "box": spaces.Box(-1, 1, (3,), np.float32),
    "box of one number": spaces.Box(-1, 1, (), np.float64),
    "box of halves": spaces.Box(-1, 1, (2, 2), np.float16),
    "box of bytes": spaces.Box(0, 255, (4, 2), np.uint8),
    "box of bools": spaces.Box(0, 1, (3,), np.bool_),
    "box of large integers": spaces.Box(0, 2**62, (2,), np.uint64),
    "multi-discrete": spaces.MultiDiscrete([[2, 3], [4, 5]]),
    "multi-binary": spaces.MultiBinary(7),
    "text": spaces.Text(9),
    "graph": spaces.Graph(spaces.Box(-1, 1, (3,)), spaces.Discrete(4)),
    "sequence": spaces.Sequence(spaces.Box(-1, 1, (2,), np.float32)),
    "stacked": spaces.Sequence(spaces.Discrete(4), stack=True),
    "one of": spaces.OneOf([spaces.Discrete(3), spaces.Box(-1, 1, (2,))]),
    "dict": spaces.Dict(left=spaces.Discrete(3), right=spaces.Tuple([spaces.Box(-1, 1, (2,)), spaces.Text(4)])),
    "tuple": spaces.Tuple([spaces.Discrete(2), spaces.MultiBinary([2, 2]), spaces.Sequence(spaces.Discrete(2))]),
}
EPISODE = Column("episode", "<i8")


def same(one: Any, other: Any) -> bool:
    """Whether two actions are equal in type, dtype, shape and bits."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (np.ndarray, np.generic)):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def through(codec: ActionCodec, actions: list[Any], envs: int = 0) -> list[Any]:
    """Actions as they come back from the records that they went into."""
    kept: list[StepRecord] = []
    log = StepLog(kept.append, lambda: Tail(bytes(tail.HEAD_BYTES), None))
    buffer = log.buffer(STEPS, (EPISODE, *codec.columns), envs=envs)
    columns = codec.columns
    for number, action in enumerate(actions):
        values, heap = codec.pack(action)
        if codec.columns is not columns:
            columns = codec.columns
            buffer.change((EPISODE, *columns))
        episode: Any = np.full(envs, number, "<i8").tobytes() if envs else number
        heaped = b"".join([part for parts in heap for part in parts])
        row = buffer.add_with_heap([episode, *values], heaped) if heap else buffer.add(episode, *values)
        assert row == number
    log.seal()
    return [codec.unpack(row) for record in kept for row in rows_of(record)]


@pytest.mark.parametrize("name", SPACES)
def test_each_space_comes_back_as_it_was_given(name):
    space = SPACES[name]
    space.seed(7)
    actions = [space.sample() for _ in range(50)]
    for action, back in zip(actions, through(ActionCodec(space), actions), strict=True):
        assert same(action, back), (action, back)


@pytest.mark.parametrize("name", SPACES)
def test_so_does_each_space_of_a_vector_env(name):
    space = SPACES[name]
    batched = gym.vector.utils.batch_space(space, 3)
    batched.seed(7)
    actions = [batched.sample() for _ in range(20)]
    for action, back in zip(actions, through(ActionCodec(space, 3), actions, 3), strict=True):
        assert same(action, back), (action, back)


@given(st.lists(st.lists(st.floats(width=32), min_size=3, max_size=3), min_size=1, max_size=4))
def test_a_box_keeps_each_bit(rows):
    actions = [np.array(row, np.float32) for row in rows]
    backs = through(ActionCodec(SPACES["box"]), actions)
    assert all(map(same, actions, backs))


@given(st.lists(st.floats(), min_size=3, max_size=3), st.lists(st.floats(width=32), min_size=3, max_size=3))
def test_one_in_another_dtype_changes_no_value(row, before):
    """Where float32 cannot hold it, rows are of float64 from there on; those before it stay as they are."""
    codec = ActionCodec(SPACES["box"])
    first, second = through(codec, [np.array(before, np.float32), np.array(row)])
    assert same(first, np.array(before, np.float32))
    assert np.array_equal(second, np.array(row), equal_nan=True)
    with np.errstate(over="ignore"):
        exact = np.array_equal(np.array(row, np.float32), np.array(row), equal_nan=True)
    assert second.dtype == (np.float32 if exact else np.float64)
    assert codec.columns[0].dtype == ("<f4" if exact else "<f8")


texts = st.text(st.characters(exclude_categories=["Cs"]))
nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(nested)
def test_values_of_no_fixed_size_keep_their_types(value):
    assert same(decode(typed_values.encode(value)), value)


@given(st.binary(max_size=40))
def test_bytes_that_are_no_value_are_refused(data):
    with contextlib.suppress(ActionError):
        decode(data)


@pytest.mark.parametrize(
    ("name", "given_", "back"),
    [
        ("discrete", 2, np.int64(2)),
        ("discrete", np.array(1, np.int32), np.int64(1)),
        ("discrete", np.array([-2]), np.int64(-2)),
        ("discrete", 1.0, np.int64(1)),
        ("box", [0.5, 1, -1.0], np.array([0.5, 1, -1], np.float32)),
        ("box", np.array([0.5, 1, -1], ">f4"), np.array([0.5, 1, -1], np.float32)),
        ("box", np.zeros((3, 2), np.float32)[:, 0] + 0.25, np.full(3, 0.25, np.float32)),
        ("multi-binary", [True] * 7, np.ones(7, np.int8)),
        ("box of one number", 0.1, np.array(0.1)),
        ("box of bytes", [[2, 3]] * 4, np.array([[2, 3]] * 4, np.uint8)),
        ("box of bools", [0, 1, 1], np.array([False, True, True])),
    ],
)
def test_what_is_given_in_another_form_is_the_spaces(name, given_, back):
    (found,) = through(ActionCodec(SPACES[name]), [given_])
    assert same(found, back), found


@pytest.mark.parametrize(
    ("name", "action", "why"),
    [
        ("box", np.zeros(4, np.float32), r"shape \(4,\), not \(3,\)"),
        ("box", "left", "no array|not of numbers|str"),
        ("box", None, "object"),
        ("box", [[1, 2], [3]], "no array"),
        ("discrete", "left", "not of numbers"),
        ("dict", {"left": 1}, "no part right"),
        ("dict", 3, "no part left"),
        ("sequence", (object(),), "object"),
    ],
)
def test_what_is_none_of_the_space_is_refused(name, action, why):
    codec = ActionCodec(SPACES[name])
    columns = codec.columns
    with pytest.raises(ActionError, match=why):
        codec.pack(action)
    assert codec.columns is columns


class OnDevice:
    """As a tensor of a GPU's is to whoever looks at it."""

    def __dlpack_device__(self):
        return 2, 0

    def __array__(self, *_, **__):
        raise AssertionError("it was waited for")


def test_what_a_device_has_is_not_waited_for():
    for name in ("box", "discrete", "sequence"):
        with pytest.raises(ActionError, match=r"cpu\(\)\.numpy\(\)"):
            ActionCodec(SPACES[name]).pack(OnDevice())


class Odd(spaces.Space):
    pass


@pytest.mark.parametrize(
    ("space", "why"),
    [
        (Odd(), "a Odd"),
        (spaces.Dict(one=Odd()), "a Odd"),
        (spaces.Dict({"a.b": spaces.Discrete(2), "a": spaces.Dict(b=spaces.Discrete(2))}), "different names"),
        (spaces.Tuple([spaces.Discrete(2)] * 129), "129 parts"),
    ],
)
def test_a_space_that_cannot_be_recorded_is_named_with_the_fix(space, why):
    with pytest.raises(ConfigError, match=why) as raised:
        ActionCodec(space)
    assert "steps=False" in str(raised.value)


@pytest.mark.parametrize("name", SPACES)
def test_no_action_has_the_same_columns(name):
    for envs in (0, 3):
        codec = ActionCodec(SPACES[name], envs)
        values, heap = codec.blank()
        assert len(values) == len(codec.columns)
        assert len(heap) == sum(column.dtype == "bytes" for column in codec.columns)
        assert all(value == 0 or not any(value) for value in values)
        if not envs and name == "box":
            assert len(values[0]) == 4 * math.prod(SPACES[name].shape)
