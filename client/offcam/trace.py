"""``offcam.trace``: the agent's own numbers beside the steps of its env."""

from __future__ import annotations

from typing import Any

from offcam import logger
from offcam.wrappers import shared_stream
from offcam.wrappers.step_rows import StepRows

_said: set[str] = set()


def trace(env: Any, **numbers: Any) -> None:  # noqa: ANN401 - an Env or a VectorEnv, wrapped or not
    """Record numbers of the agent's, such as ``value=`` or ``entropy=``, with the step that follows.

    Never raises. If nothing records steps, one warning says so. What is not a number is recorded as NaN, and so is
    anything in a device's memory, as reading it would wait for the device.

    Thread: that of the env.

    Args:
        env: an env that is recorded with ``steps=True``, in whatever wrappers.
        numbers: by names of your own, at most 64 in all; for a vector env arrays ``(num_envs,)``, or one number for
            all. Numpy's, torch's on the CPU, or Python's. Stored as float64, NaN in steps that have none.
    """
    for layer in shared_stream.layers(env):
        rows = layer.__dict__.get("_steps")
        if isinstance(rows, StepRows):
            rows.trace(numbers)
            return
    if not _said:
        _said.add("nothing records")
        logger.warn(
            f"offcam.trace: no steps are recorded of {env}, and so {', '.join(numbers)} neither. Pass `steps=True` to "
            "`offcam.record` or `RecordVideo`, and trace the env that it returns. (Said once.)"
        )
