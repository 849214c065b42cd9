"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from offcam_proto.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file beside ``path`` that takes its place when all is written; on an error it is removed.

    Yields:
        The path to write to: hidden, in the same folder, with the same ending.

    Raises:
        ConfigError: it cannot be written there.
    """
    unfinished = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror or error}): give another path, or make room"
        ) from error
    finally:
        with suppress(OSError):  # there is none: it was renamed, or never made
            unfinished.unlink()
