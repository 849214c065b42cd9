"""What MuJoCo draws with where no screen is."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import pytest


@cache
def headless_gl() -> str | None:
    """The headless GL that MuJoCo can draw with here, or None; tried in another process, as a wrong one aborts."""
    for backend in ("egl", "osmesa"):
        tried = subprocess.run(
            [sys.executable, "-c", "import mujoco; c = mujoco.GLContext(8, 8); c.make_current(); c.free()"],
            env={"MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend},
            capture_output=True,
            check=False,
        )
        if tried.returncode == 0:
            return backend
    return None


def require_headless_gl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have MuJoCo draw with it; the test is skipped where nothing can."""
    backend = headless_gl()
    if backend is None:
        pytest.skip("no headless GL here: neither MUJOCO_GL=egl nor MUJOCO_GL=osmesa can draw")
    monkeypatch.setenv("MUJOCO_GL", backend)
    monkeypatch.setenv("PYOPENGL_PLATFORM", backend)
