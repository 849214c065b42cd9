"""The options that a script has given its tracker already, such as the project, found without importing anything."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final


def options_of(tracker: str) -> dict[str, str]:
    """Options by which a run is sent to where the script's own values go; empty where the script has set none.

    Args:
        tracker: name of the tracker.
    """
    module = sys.modules.get(tracker)
    if module is None or tracker not in _ASKED:
        return {}
    found: dict[str, Any] = {}
    with suppress(Exception):  # another version of the package may have them elsewhere: then there are none
        found = _ASKED[tracker](module)
    return {name: str(value) for name, value in found.items() if value}


def _wandb(wandb: Any) -> dict[str, Any]:  # noqa: ANN401 - a module
    run = wandb.run
    if run is None:
        return {}
    own = {"project": run.project, "entity": run.entity, "group": run.group or run.id}
    own |= {"name": f"{run.name}-offcam" if run.name else "", "dir": run.settings.root_dir}
    return own | {"mode": "offline" if run.offline else run.settings.mode}


def _mlflow(mlflow: Any) -> dict[str, Any]:  # noqa: ANN401 - a module
    run = mlflow.active_run()
    return {"tracking_uri": mlflow.get_tracking_uri(), "run_id": run.info.run_id if run else ""}


def _trackio(trackio: Any) -> dict[str, Any]:  # noqa: ANN401 - a module
    run = trackio.context_vars.current_run.get()
    return {"project": run.project, "group": run.name, "name": f"{run.name}-offcam"} if run else {}


_ASKED: Final[dict[str, Callable[[Any], dict[str, Any]]]] = {"wandb": _wandb, "mlflow": _mlflow, "trackio": _trackio}
