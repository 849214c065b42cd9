"""What odd envs hand over, and stepping them whatever it is."""

from __future__ import annotations

import warnings

import numpy as np


class OnDevice:
    """Like a tensor on a GPU: to read it would wait for the device, so reading it fails the test."""

    shape = (3,)

    def __init__(self, values):
        del values

    def __dlpack_device__(self):
        return 2, 0

    def __array__(self, *_):
        raise SystemExit("the agent's thread waited for the device")

    __bool__ = __float__ = __getitem__ = __len__ = __iter__ = __array__


class Tensor:
    """Like a tensor of torch's on the CPU, which wants its gradient; the truth of several numbers is none."""

    def __init__(self, values):
        self._values = np.asarray(values)
        self.shape = self._values.shape

    def __dlpack_device__(self):
        return 1, 0

    def __bool__(self):
        if self._values.size != 1:
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(self._values.item())

    def detach(self):
        return self._values

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def __radd__(self, other):
        return Tensor(self._values + other)

    __add__ = __radd__


def run(env, steps=12):
    """Step it, whatever it says; returns the messages of all warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env.reset(seed=7)
        for _ in range(steps):
            env.step(np.zeros(getattr(env, "num_envs", 1), int))
        env.close()
    return [str(warning.message) for warning in caught]
