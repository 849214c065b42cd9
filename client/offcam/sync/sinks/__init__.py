"""The trackers that a run can be sent to. Each sink is imported, with its package, when it is asked for.

Other packages can add a tracker by an entry point of the group ``offcam.sinks``, with the tracker's name, that leads to
a `Sink`.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import entry_points
from typing import Final

from offcam.sync.sinks.sink import Sink
from offcam_proto.errors import ConfigError
from offcam_runs.sync.process import OBJECTS, PUSH

GROUP: Final = "offcam.sinks"

_OWN: Final = ("tensorboard", "wandb", "mlflow", "trackio")

PACKAGES: Final = {
    **{name: name for name in _OWN},
    "hub": "huggingface_hub",
    "rerun": "rerun",
    OBJECTS: "obstore",
    PUSH: "",
    "memory": "",
}
"""By name, the package that each of offcam's own trackers needs. Its sink is the class `Tracker` of the module by its
name here."""

_INSTALLED_AS: Final = {"rerun": "rerun-sdk", "obstore": '"offcam[objects]"'}


def check(tracker: str) -> None:
    """Make sure that a tracker is known and its package installed, without importing that.

    Raises:
        ConfigError: it is not; the message has the command that installs the package.
    """
    if tracker not in PACKAGES and not entry_points(group=GROUP, name=tracker):
        others = sorted({each.name for each in entry_points(group=GROUP)} | set(PACKAGES) - {"memory"})
        raise ConfigError(
            f"there is no tracker {tracker!r}: there are {', '.join(others)}, and those that packages add by an entry "
            f"point of the group {GROUP!r}"
        )
    package = PACKAGES.get(tracker, "")
    if package and importlib.util.find_spec(package) is None:
        raise missing(tracker, package)


def sink_class(tracker: str) -> type[Sink]:
    """The class of a tracker's sink.

    Raises:
        ConfigError: as `check`; or what an entry point leads to cannot be imported, or is no `Sink`.
    """
    check(tracker)
    try:
        if tracker in PACKAGES:
            kind = importlib.import_module(f"{__name__}.{tracker}").Tracker
        else:
            kind = next(iter(entry_points(group=GROUP, name=tracker))).load()
    except ModuleNotFoundError as error:
        raise missing(tracker, str(error.name)) from error
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"what sends to {tracker!r} cannot be imported: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, Sink)):
        raise ConfigError(f"the entry point {tracker!r} of {GROUP!r} must lead to a kind of Sink, it is {kind!r}")
    return kind


def missing(tracker: str, package: str) -> ConfigError:
    """The error for a tracker whose package is not installed."""
    return ConfigError(
        f"{tracker!r} needs {package}, which is not installed in {sys.prefix}. "
        f"Run: {sys.executable} -m pip install {_INSTALLED_AS.get(package, package)}"
    )
