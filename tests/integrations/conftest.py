"""These files import packages that only the environment of `.ci/integrations` has: elsewhere nobody looks into them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import tried_versions as versions

if TYPE_CHECKING:
    import pytest
    from _pytest.terminal import TerminalReporter


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--versions", action="store_true", help="write what passed into the guide's table of versions")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    wanted = config.getoption("markexpr") == "integrations"
    return None if wanted or not collection_path.name.startswith("test_") else True


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Renew the guide's table, if that was asked for; a package of which a test failed keeps the row that it has."""
    if not config.getoption("--versions", default=False):
        return

    def by_module(outcome: str) -> Counter[str]:
        return Counter(Path(report.nodeid.partition("::")[0]).stem for report in terminalreporter.getreports(outcome))

    wrong = by_module("failed") + by_module("error")
    text = versions.PAGE.read_text("utf-8")
    rows = versions.renewed(versions.rows_of(text), by_module("passed"), wrong)
    versions.PAGE.write_text(versions.page_with(text, rows), "utf-8")
    terminalreporter.write_line(f"versions: {versions.PAGE}")
