"""The error to raise where the package that an adapter is for is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from offcam_proto.errors import PackageMissing


@contextmanager
def needs(module: str, package: str, extra: str) -> Iterator[None]:
    """Wrap an adapter's imports: where its package is missing, say what to install.

    Args:
        module: the package's own top-level module; the error of any other import passes through.
        package: the package's name, for people.
        extra: the extra of offcam that installs it.

    Raises:
        PackageMissing: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module:
            raise
        raise PackageMissing(
            f'{package} is not installed, which this adapter is for: run `pip install "offcam[{extra}]"`.'
        ) from error
