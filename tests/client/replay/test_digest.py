"""Whatever is another value has another digest, and the same value the same, however it lies in memory."""

from __future__ import annotations

import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest

from odd_envs import OnDevice
from offcam.replay import portable
from offcam.replay.digest import Digest
from offcam_proto.errors import MalformedMessage, NotReplayable


def array(*numbers, dtype=np.float32):
    return np.array(numbers, dtype)


def after(before, *step):
    found = Digest()
    found.value = before
    return found.go_on(*step)


STEP = (array(1, 2), 1.0, False, False)
OTHERS = [
    (array(1, 3), 1.0, False, False),
    (array(1, 2), 2.0, False, False),
    (array(1, 2), -1.0, False, False),
    (array(1, 2), -2.0, False, False),
    (array(1, 2), 1.0, True, False),
    (array(1, 2), 1.0, False, True),
    (array(1, 2), array(1.0), False, False),
    (array(1, 2), {"a": 1.0}, False, False),
    ({"a": array(1, 2)}, 1.0, False, False),
    ({"b": array(1, 2)}, 1.0, False, False),
    ((array(1), array(2)), 1.0, False, False),
    ((array(1, 2),), 1.0, False, False),
    ("a text", 1.0, False, False),
    (("a ", "text"), 1.0, False, False),
    (1, 1.0, False, False),
    (True, 1.0, False, False),
    (1.0, 1.0, False, False),
    (None, 1.0, False, False),
    (np.int64(1), 1.0, False, False),
    (array(1, 2, dtype=object), 1.0, False, False),
    (gym.spaces.GraphInstance(array(1), None, None), 1.0, False, False),
    (array(1, 2), 2**2000, False, False),
    (array(1, 2), 1.0, array(False, True, dtype=bool), False),
]


def test_all_are_different():
    assert after(5, *STEP) == after(5, *STEP)
    assert after(6, *STEP) != after(5, *STEP)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [after(5, *step) for step in (STEP, *OTHERS)]
    same = {(first, second) for first in range(len(found)) for second in range(first) if found[first] == found[second]}
    assert same == set()


def test_how_it_lies_in_memory_is_nothing():
    plain = np.arange(12, dtype=np.float64).reshape(3, 4)
    wide = np.zeros((3, 8))
    wide[:, ::2] = plain
    assert Digest().begin(plain) == Digest().begin(wide[:, ::2]) == Digest().begin(np.asfortranarray(plain))
    assert Digest().begin(plain) != Digest().begin(np.ascontiguousarray(plain.T))


def test_nan_is_nan():
    assert after(1, array(np.nan), float("nan"), False, False) == after(
        1, array(np.nan), np.float64("nan"), False, False
    )


@pytest.mark.parametrize("what", [OnDevice([1]), object(), {1, 2}])
def test_what_has_no_bytes_is_refused(what):
    with pytest.raises(NotReplayable, match=type(what).__name__):
        Digest().begin((array(1), what))


def test_it_is_the_same_in_another_process():
    step = "{'a': (1, 'x'), 'b': 2.5}, {'r': 1.0}, False, True"
    code = f"from offcam.replay.digest import Digest; print(Digest().go_on({step}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == after(0, {"a": (1, "x"), "b": 2.5}, {"r": 1.0}, False, True)


def test_plain_values_come_back_as_they_were():
    value = {
        "a": (1, 2.5, None, True, "text", b"bytes"),
        2: [2**70, -(2**100), np.float32(1.5), np.int64(-3)],
        (1, 2): {"deep": [(), [], {}]},
    }
    again = portable.unpack(portable.pack(value))
    assert again == value
    assert [type(each) for each in again[2]] == [int, int, np.float32, np.int64]
    pixels = np.arange(6, dtype=">i2").reshape(2, 3)
    found = portable.unpack(portable.pack(pixels))
    assert (found == pixels).all()
    assert (found.dtype, found.shape) == (pixels.dtype, pixels.shape)
    found[0, 0] = 7  # it is the reader's own


@pytest.mark.parametrize("value", [print, {1, 2}, object(), array(1, dtype=object), "\ud800", gym.spaces.Discrete(2)])
def test_what_is_not_plain_is_refused(value):
    with pytest.raises(NotReplayable):
        portable.pack([value])


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", portable._encode(["unknown"]), portable._encode(["array", "<f8", [3], b""])]
)
def test_what_is_no_such_value_is_refused(data):
    with pytest.raises(MalformedMessage):
        portable.unpack(data)
