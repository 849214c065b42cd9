from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from strangehosts import Host, problem

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def stranger_reaches_us(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where no host can be made, or none in which another user can run this interpreter."""
    if why := problem():
        pytest.skip(why)
    done = Host(tmp_path_factory.mktemp("host") / "out").run("-c", "import offcamd.daemon.service, offcam")
    if done.returncode:
        pytest.skip(f"another user cannot run this interpreter: {done.stderr.strip()[-300:]}")


@pytest.fixture
def host(stranger_reaches_us: None, tmp_path: Path) -> Host:
    """A host like any other, for a user without a passwd entry; furnish it as you like."""
    return Host(tmp_path / "out")
