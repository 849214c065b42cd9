"""What code an env is made of: if that has changed, its replays may differ, and an error can say why."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import sys
import types
from collections.abc import Iterator

_ALWAYS = ("gymnasium", "numpy")


def fingerprint(kind: type) -> dict[str, str]:
    """The code that an env's class is made of.

    Args:
        kind: the class of the base env.

    Returns:
        ``sources``, a hash of the files of the class and its bases; ``machine``; ``python``; and by their names the
        versions of the distributions that those files import.
    """
    modules = [sys.modules[each.__module__] for each in kind.__mro__ if _ours(each.__module__)]
    names = sorted({*_ALWAYS, *(name for module in modules for name in _imported(module))})
    versions = {name: version for name in names if (version := _version(name))}
    machine = f"{platform.machine()} {platform.system()} {' '.join(platform.libc_ver())}".strip()
    return {"sources": _hash(modules), "machine": machine, "python": platform.python_version(), **versions}


def differences(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """What has changed since, each in a few words."""
    told = []
    for name in sorted({*before, *now}):
        was, is_ = before.get(name, "none"), now.get(name, "none")
        if was != is_:
            told.append("the env's source code was edited" if name == "sources" else f"{name} is {is_} and was {was}")
    return told


def _ours(module: str) -> bool:
    """Whether a module is not one of the interpreter's own."""
    return module in sys.modules and module.partition(".")[0] not in sys.stdlib_module_names


def _imported(module: types.ModuleType) -> Iterator[str]:
    """The top-level names of a module, and of those that it has imported."""
    yield module.__name__.partition(".")[0]
    for value in list(vars(module).values()):
        if isinstance(value, types.ModuleType) and _ours(value.__name__):
            yield value.__name__.partition(".")[0]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found = getattr(sys.modules.get(name), "__version__", None)
        return found if isinstance(found, str) else None


def _hash(modules: list[types.ModuleType]) -> str:
    total = hashlib.sha256()
    for file in dict.fromkeys(getattr(module, "__file__", None) for module in modules):
        if file is not None:
            try:
                with open(file, "rb") as source:
                    total.update(source.read())
            except OSError:  # the file is in an archive, or gone
                total.update(file.encode())
    return total.hexdigest()
