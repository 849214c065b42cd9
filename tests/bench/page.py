"""``python tests/bench/page.py``: how soon the page shows a long run, in the system's Chromium.

A run of 200,000 episodes and 2,000 clips is made, `offcam view` serves it, and it is opened some times, each with an
empty cache. Printed are the seconds from the request to the curve, and to the first poster on the screen; then the
slowest frame while the whole gallery is scrolled through.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "web")]

from made import make_run, make_video  # noqa: E402 - of the tests' folder

EPISODES, EVERY = 200_000, 100
TIMES = 5

# Runs before the page's own scripts do; performance.now() counts from the start of the navigation.
_WATCH = """
window.firsts = {};
const look = () => {
    const now = performance.now();
    if (Number(document.querySelector(".chart")?.dataset.episodes) > 0) window.firsts.curve ??= now;
    if (document.querySelector(".card img")?.naturalWidth > 0) window.firsts.poster ??= now;
    if (!window.firsts.curve || !window.firsts.poster) requestAnimationFrame(look);
};
look();
"""

_SCROLL = """
async () => {
    let [worst, last] = [0, performance.now()];
    while (document.querySelectorAll(".card").length < 2000) {
        window.scrollBy(0, 400);
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        [worst, last] = [Math.max(worst, now - last), now];
    }
    return worst;
}
"""


def opened(browser: object, url: str, *, scroll: bool = False) -> dict[str, float]:
    """Open the page in a window of its own; milliseconds."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})  # type: ignore[attr-defined]  # playwright's
    page = context.new_page()
    page.add_init_script(_WATCH)
    page.goto(url)
    page.wait_for_function("() => window.firsts.curve && window.firsts.poster")
    found: dict[str, float] = page.evaluate("() => window.firsts")
    if scroll:
        found["slowest_frame"] = page.evaluate(_SCROLL)
    context.close()
    return found


def measure(folder: Path) -> dict[str, float]:
    """Make the run, open it `TIMES` times; medians in milliseconds."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of the test dependencies

    make_run(folder / "long", EPISODES, EVERY, video=make_video(folder / "video.mp4"))
    command = [sys.executable, "-m", "offcamd", "view", "--json", str(folder / "long")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as driver:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        first = opened(browser, url)
        found = [opened(browser, url, scroll=turn == TIMES - 1) for turn in range(TIMES)]
        browser.close()
        server.terminate()
    result = {f"{key}_first": value for key, value in first.items()}
    result |= {key: median(times[key] for times in found) for key in ("curve", "poster")}
    return {**result, "slowest_frame": found[-1]["slowest_frame"]}


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name:
        for key, value in measure(Path(name)).items():
            print(f"{key:15} {value / 1000:6.3f} s")


if __name__ == "__main__":
    main()
