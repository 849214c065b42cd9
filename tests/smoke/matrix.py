"""The smoke set in fresh environments: each Python of this machine, at the newest and at the oldest versions allowed.

``python tests/smoke/matrix.py [3.12 ...] [--resolution newest|lowest] [--own-newest-was-tested]``

A Python is found as ``python3.X`` on PATH or in a folder of pyenv. For each one, and each of uv's resolutions
``highest`` and ``lowest-direct``, an environment has offcam with its extras, and another one the base install. In the
end each environment verifies what all have recorded. Exits with 1 if anything failed. Needs only the standard
library; uv comes from PyPI into an environment of its own.
"""

from __future__ import annotations

import argparse
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
RESOLUTIONS = {"newest": "highest", "lowest": "lowest-direct"}
UV = "uv>=0.5"
EXTRAS = ("server", "plot", "parquet", "demo")
PYTEST = ("pytest>=8", "pytest-timeout>=2.3")
HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Case:
    """A Python and how the versions of all else are chosen.

    Attributes:
        version: such as ``3.12``.
        resolution: a key of `RESOLUTIONS`.
        python: its interpreter.
    """

    version: str
    resolution: str
    python: str

    def __str__(self) -> str:
        return f"Python {self.version}, {self.resolution} versions"


def find_python(version: str) -> str | None:
    """An interpreter that really runs (a shim of pyenv may not) and has the GIL, which OpenCV needs; or None."""
    home = os.environ.get("PYENV_ROOT") or str(Path.home() / ".pyenv")
    folders = sorted(glob.glob(f"{glob.escape(home)}/versions/{version}*/bin/python"), reverse=True)  # noqa: PTH207 - sorted as text
    for candidate in filter(None, (shutil.which(f"python{version}"), *folders)):
        told = "import sys, sysconfig; print(*sys.version_info[:2], sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
        done = subprocess.run([candidate, "-c", told], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.split() == [*version.split("."), "0"]:
            return candidate
    return None


class Bench:
    """A temporary folder with uv, the wheel under test, and an environment for each case.

    Args:
        folder: where all of it lies.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._recorded = folder / "recorded"
        self._recorded.mkdir()
        tools = folder / "tools"
        call(sys.executable, "-m", "venv", str(tools))
        call(str(tools / "bin" / "python"), "-m", "pip", "install", "--quiet", UV)
        self._uv = str(tools / "bin" / "uv")
        call(self._uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT))
        (self._wheel,) = folder.glob("offcam-*.whl")

    def _environment(self, case: Case, name: str, *extras: str) -> Path:
        """A new environment; its ``bin``."""
        where = self._folder / f"{case.version}-{case.resolution}-{name}"
        python = str(where / "bin" / "python")
        call(self._uv, "venv", "--quiet", "--python", case.python, str(where))
        install = (self._uv, "pip", "install", "--quiet", "--python", python)
        # from pyproject.toml, as a wheel's requirements are not direct ones to uv
        wanted = [part for extra in extras for part in ("--extra", extra)]
        call(*install, "--resolution", RESOLUTIONS[case.resolution], "-r", str(ROOT / "pyproject.toml"), *wanted)
        call(*install, "--no-deps", str(self._wheel))
        call(*install, *PYTEST)  # by itself, as its lowest versions are nobody's concern
        return where / "bin"

    def smoke(self, case: Case) -> None:
        """Run the smoke set for a case. Raises CalledProcessError."""
        full, base = self._environment(case, "full", *EXTRAS), self._environment(case, "base")
        call(self._uv, "pip", "list", "--quiet", "--python", str(full / "python"))
        pytest = ("-m", "pytest", "-q", "-m", "slow", "--confcutdir", str(HERE), "-p", "no:cacheprovider")
        call(str(full / "python"), *pytest, str(HERE / "test_smoke.py"), OFFCAM_SMOKE_KEEP=str(self._recorded))
        call(str(base / "python"), *pytest, str(HERE / "test_base.py"), OFFCAM_SMOKE_DAEMON=str(full / "offcam"))

    def verify(self, case: Case) -> None:
        """Let a case's environment verify what all cases have recorded. Raises CalledProcessError."""
        python = self._folder / f"{case.version}-{case.resolution}-full" / "bin" / "python"
        call(str(python), "-c", VERIFY, *map(str, sorted(self._recorded.iterdir())))


VERIFY = """
import sys
from pathlib import Path
import av
from offcamd.reports.verify import verify

for folder in map(Path, sys.argv[1:]):
    verdict = verify(folder)
    assert verdict.ok and verdict.frames_checked, (folder, verdict)
print(f"PyAV {av.__version__} reads all {len(sys.argv) - 1} runs")
"""


def call(*command: str, **variables: str) -> None:
    """Run a command in the checkout, its output here."""
    subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, check=True)


def attempt(what: str, task: object, case: Case) -> str | None:
    """Do it; what failed, in words, or None."""
    began = time.monotonic()
    say(f"=== {case}: {what}")
    try:
        task(case)  # type: ignore[operator]
    except subprocess.CalledProcessError as error:
        say(f"=== {case}: {what} FAILED ({error})")
        return f"{case} ({what})"
    say(f"=== {case}: {what} passed in {time.monotonic() - began:.0f} s")
    return None


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("versions", nargs="*", default=PYTHONS, metavar="VERSION", help="such as 3.12; default: all")
    parser.add_argument("--resolution", choices=RESOLUTIONS, help="only this one")
    parser.add_argument(
        "--own-newest-was-tested",
        action="store_true",
        help="leave out this Python's newest versions: the suite ran there",
    )
    told = parser.parse_args()
    own = "{}.{}".format(*sys.version_info[:2])
    pythons = {version: find_python(version) for version in told.versions}
    cases = [
        Case(version, resolution, python)
        for version, python in pythons.items()
        for resolution in ([told.resolution] if told.resolution else RESOLUTIONS)
        if python and not (told.own_newest_was_tested and (version, resolution) == (own, "newest"))
    ]
    with tempfile.TemporaryDirectory(prefix="offcam-smoke-") as folder:
        bench = Bench(Path(folder))
        failed = [attempt("smoke", bench.smoke, case) for case in cases]
        whole = [case for case, failure in zip(cases, failed, strict=True) if failure is None]
        failed += [attempt("verify", bench.verify, case) for case in whole]
    missing = [version for version, python in pythons.items() if python is None]
    say(f"not found, so not tested: {', '.join(f'Python {version}' for version in missing) or 'none'}")
    say(f"tested: {'; '.join(map(str, cases)) or 'nothing'}")
    say(f"failed: {'; '.join(filter(None, failed)) or 'none'}")
    return int(any(failed) or not cases)


if __name__ == "__main__":
    sys.exit(main())
