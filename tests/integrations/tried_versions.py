"""The table of the guide that says with which versions of which packages the tests passed: read, renewed, written."""

from __future__ import annotations

import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PAGE = Path(__file__).parents[2] / "client/docs/pages/reference/versions.md"
HEAD = "| Package | Version | Python | Tests passed |\n|---|---|---|---|\n"
ROW = re.compile(r"^\| `([^`]+)` \| (\S+) \| (\S+) \| (\d+) \|$", re.MULTILINE)

PACKAGES = {
    "test_ale": "ale-py",
    "test_envpool": "envpool",
    "test_hub": "huggingface-hub",
    "test_lerobot_reads": "lerobot",
    "test_minari": "minari",
    "test_mlflow": "mlflow",
    "test_notebook": "nbclient",
    "test_objects": "obstore",
    "test_objects_elsewhere": "obstore",
    "test_pettingzoo": "pettingzoo",
    "test_ray": "ray",
    "test_rllib": "ray",
    "test_rerun": "rerun-sdk",
    "test_sb3_vec_envs": "stable-baselines3",
    "test_stable_baselines3": "stable-baselines3",
    "test_supersuit": "supersuit",
    "test_tensorboard": "tensorboard",
    "test_torch": "torch",
    "test_torchrl": "torchrl",
    "test_trackio": "trackio",
    "test_wandb": "wandb",
    "test_wandb_online": "wandb",
}
"""The package that each module of tests is for. What is for none, as examples, has no row."""

OF_THEIR_OWN = {"lerobot": ".venv-lerobot"}
"""Packages that lie in another environment than the one whose Python runs the tests, and in which."""

Rows = dict[str, tuple[str, str, str]]
"""By package: its version, Python's, and how many tests passed."""


def rows_of(text: str) -> Rows:
    """What a page's table says."""
    return {package: (number, python, passed) for package, number, python, passed in ROW.findall(text)}


def renewed(rows: Rows, passed: Mapping[str, int], wrong: Collection[str] = ()) -> Rows:
    """The same with what passed now, by module; a package keeps its row if its tests were not run, or one was wrong.

    Args:
        rows: what there was.
        passed: by module, how many tests passed.
        wrong: modules of which a test did not pass.
    """
    failed = {PACKAGES.get(module) for module in wrong}
    counts: dict[str, int] = {}
    for module, count in passed.items():
        if (package := PACKAGES.get(module)) and package not in failed:
            counts[package] = counts.get(package, 0) + count
    found = {package: (*_version(package), str(count)) for package, count in counts.items()}
    return dict(sorted({**rows, **found}.items()))


def page_with(text: str, rows: Rows) -> str:
    """A page whose table says this instead."""
    before, _, rest = text.partition(HEAD)
    after = ROW.sub("", rest).lstrip("\n")
    table = "".join(f"| `{package}` | {' | '.join(row)} |\n" for package, row in rows.items())
    return f"{before}{HEAD}{table}{after and chr(10) + after}"


def _version(package: str) -> tuple[str, str]:
    """A package's and Python's in the environment that it is in."""
    if package in OF_THEIR_OWN:
        python = PAGE.parents[4] / OF_THEIR_OWN[package] / "bin" / "python"
        asked = "import sys; from importlib.metadata import version as v; print(v(sys.argv[1]), *sys.version_info[:2])"
        done = subprocess.run([python, "-c", asked, package], check=True, stdout=subprocess.PIPE, text=True)
        number, *own = done.stdout.split()
        return number, ".".join(own)
    number = version(package).partition("+")[0]  # torch says for which processor, too
    return number, ".".join(platform.python_version_tuple()[:2])
