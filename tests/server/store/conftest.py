"""An index to write to, in a folder whose name no URI may hold as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from offcamd.store.index import RunIndex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "cart pole #1?"


@pytest.fixture
def index(folder: Path) -> Iterator[RunIndex]:
    opened = RunIndex.open(folder)
    yield opened
    opened.close()
