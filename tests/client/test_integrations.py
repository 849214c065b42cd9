"""Adapters where their packages are missing: what is said then. With the packages they are in tests/integrations."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import offcam

ADAPTERS = [
    ("minari", "minari", "minari"),
    ("pettingzoo", "pettingzoo", "pettingzoo"),
    ("ray", "ray", "ray"),
    ("rllib", "ray", "rllib"),
    ("stable_baselines3", "stable_baselines3", "sb3"),
    ("torchrl", "torchrl", "torchrl"),
    ("wandb", "wandb", "wandb"),
]


@pytest.mark.parametrize(("adapter", "package", "extra"), ADAPTERS, ids=[adapter for adapter, *_ in ADAPTERS])
def test_a_missing_package_is_named_with_what_to_install(monkeypatch, adapter, package, extra):
    for name in list(sys.modules):
        if name.partition(".")[0] == package or name.startswith(f"offcam.integrations.{adapter}"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(offcam.PackageMissing) as told:
        importlib.import_module(f"offcam.integrations.{adapter}")
    assert f'`pip install "offcam[{extra}]"`' in str(told.value)
    assert "\n" not in str(told.value)


def test_what_else_cannot_be_imported_says_itself_why(monkeypatch):
    from offcam.integrations.missing import needs  # noqa: PLC0415 - as adapters do

    with pytest.raises(ModuleNotFoundError, match="no_such_module"), needs("numpy", "NumPy", "numbers"):
        import no_such_module  # noqa: F401, PLC0415


def test_no_adapter_is_imported_with_offcam():
    code = "import offcam, sys; print(*[name for name in sys.modules if 'integrations' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
