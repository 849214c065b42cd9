"""Where the tests of the wrappers record to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder that is not there yet."""
    return tmp_path / "run"
