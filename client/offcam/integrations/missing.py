"""What is said where the package that an adapter is for is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from offcam_proto.errors import PackageMissing


@contextmanager
def needs(module: str, package: str, extra: str) -> Iterator[None]:
    """Around the imports of an adapter: say what to install where its package is missing.

    Args:
        module: the package's own top-level module; what else cannot be imported says itself why.
        package: its name, for people.
        extra: that of ours which has it.

    Raises:
        PackageMissing: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module:
            raise
        raise PackageMissing(
            f'{package} is not installed, which this adapter is for: run `pip install "offcam[{extra}]"`.'
        ) from error
