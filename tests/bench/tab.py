"""``python tests/bench/tab.py MINUTES``: what a page of a live run costs that is left open, in the system's Chromium.

A daemon and a training are started, and the run's page is opened; each minute a line is printed: what the page's heap
holds after a collection, its DOM nodes, the memory of the browser's renderers, and the share of a core that the browser
takes. The training plays 20 episodes a second and records each 200th, so a video comes each ten seconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 2**20
EVERY = 200
PAUSE_SECONDS = 0.04
WARM_SECONDS = 60.0
"""Before the first line: the browser has loaded all that it needs by then. Cards are added until there are 36."""

TRAINING = f"""
import sys, time
import gymnasium as gym
import offcam
env = offcam.record(gym.make("CartPole-v1", render_mode="rgb_array"), sys.argv[1], every={EVERY})
while True:
    env.reset()
    while not any(env.step(env.action_space.sample())[2:4]):
        pass
    time.sleep({PAUSE_SECONDS})
"""


class Browser(NamedTuple):
    """What a browser's processes have taken.

    Attributes:
        cpu: seconds, of all.
        memory: bytes, of the renderers.
    """

    cpu: float
    memory: int


def browser() -> Browser:
    """Look at the processes of the browser that this process has started."""
    cpu, memory = 0.0, 0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            command = " ".join(process.cmdline())
            if "chrom" not in command:
                continue
            times = process.cpu_times()
            cpu += times.user + times.system
            memory += process.memory_info().rss * ("--type=renderer" in command)
    return Browser(cpu, memory)


@contextlib.contextmanager
def recorded(folder: Path) -> Iterator[str]:
    """A training that is recorded; yields the address of its daemon's page."""
    address = f"ipc://{folder}/socket"
    environment = {**os.environ, "OFFCAM_ADDR": address, "XDG_STATE_HOME": str(folder), "SDL_VIDEODRIVER": "dummy"}
    command = [sys.executable, "-m", "offcamd", "serve", "--endpoint", address, "--http", "127.0.0.1:0"]
    with contextlib.ExitStack() as stack:
        quiet = {"env": environment, "stderr": subprocess.DEVNULL}
        daemon = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **quiet))
        stack.callback(daemon.terminate)
        assert daemon.stdout is not None
        words = dict(word.split("=", 1) for word in daemon.stdout.readline().split() if "=" in word)
        training = stack.enter_context(
            subprocess.Popen([sys.executable, "-c", TRAINING, str(folder / "run")], stdout=subprocess.DEVNULL, **quiet)
        )
        stack.callback(training.kill)
        yield words["http"]


def watch(url: str, minutes: float) -> None:
    """Open the page, and print a line each minute."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of the test dependencies

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = chromium.new_page(viewport={"width": 1360, "height": 900})
        page.goto(url)
        page.locator(".card").first.wait_for()
        page.wait_for_timeout(WARM_SECONDS * 1000)
        devtools = page.context.new_cdp_session(page)
        print(f"{'minute':>6} {'clips':>6} {'heap MiB':>9} {'nodes':>7} {'renderers MiB':>14} {'share of a core':>16}")
        begun, before = time.monotonic(), browser()
        for minute in range(round(minutes) + 1):
            devtools.send("HeapProfiler.collectGarbage")
            heap = devtools.send("Runtime.getHeapUsage")["usedSize"] / MIB
            nodes = devtools.send("Memory.getDOMCounters")["nodes"]
            clips = page.locator("#gallery-title .count").text_content()
            now = browser()
            seconds, begun = time.monotonic() - begun, time.monotonic()
            share = (now.cpu - before.cpu) / seconds if minute else 0.0
            before = now
            row = f"{minute:6} {clips:>6} {heap:9.2f} {nodes:7} {now.memory / MIB:14.0f} {share:16.3f}"
            print(row, flush=True)
            if minute < round(minutes):
                page.wait_for_timeout(60_000)
        chromium.close()


def main() -> None:
    """Watch for as long as was said."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    with tempfile.TemporaryDirectory() as name, recorded(Path(name)) as url:
        watch(url, minutes)


if __name__ == "__main__":
    main()
