"""Fixtures for daemons that are killed and started again at one address, and for agents in their own processes."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from actors import Agents, Daemons

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from offcam_proto.endpoints import Endpoint


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def daemons(runtime: Path, endpoint: Endpoint, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Daemons:
    """The means to have daemons at one address. It is this process's and its agents' ``OFFCAM_ADDR``."""
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    monkeypatch.setenv("OFFCAM_HTTP", "off")
    return Daemons(endpoint, stack, runtime / "log")


@pytest.fixture
def agents(daemons: Daemons, stack: ExitStack, tmp_path: Path) -> Agents:
    place = tmp_path / "agents"
    place.mkdir()
    return Agents(stack, place)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings of this process's client, in order."""
    texts: list[str] = []
    monkeypatch.setattr("offcam.logger.warn", texts.append)
    return texts
