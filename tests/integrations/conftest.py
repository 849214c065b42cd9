"""These files import packages that only the environment of `.ci/integrations` has: elsewhere nobody looks into them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    wanted = config.getoption("markexpr") == "integrations"
    return None if wanted or not collection_path.name.startswith("test_") else True
