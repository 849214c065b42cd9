"""Servers for the tests of what is served: over made folders, and over a daemon that records."""

from __future__ import annotations

import contextlib

import httpx
import pytest

import made
from offcam_runs.run_ids import run_id
from offcamd.config.values import HttpAddress
from offcamd.web.server import bind, bound_address, serving
from offcamd.web.source import FolderSource
from waiting import HANG_SECONDS


@contextlib.contextmanager
def served(source, token=None):
    """A client of a server of one's own."""
    listener = bind(HttpAddress("127.0.0.1", 0))
    url = bound_address(listener, "127.0.0.1").url
    with (
        serving(listener, "127.0.0.1", source, token=token),
        httpx.Client(base_url=url, timeout=HANG_SECONDS) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    return made.make_video(tmp_path_factory.mktemp("video") / "video.mp4")


@pytest.fixture(scope="session")
def run(tmp_path_factory, video):
    """A run of 5,000 episodes and 50 clips."""
    return made.make_run(tmp_path_factory.mktemp("runs") / "made", 5000, 100, video=video)


@pytest.fixture(scope="session")
def client(run, session_root):
    """A client of a server that shows that run, as `offcam view` does. It ends before who looks what is left."""
    with served(FolderSource([run.parent])) as found:
        yield found


@pytest.fixture(scope="session")
def base(run):
    return f"/api/runs/{run_id(run)}"


@pytest.fixture
def look():
    """Serve folders: ``client = look(folder, ...)``."""
    with contextlib.ExitStack() as stack:
        yield lambda *folders: stack.enter_context(served(FolderSource(folders)))
