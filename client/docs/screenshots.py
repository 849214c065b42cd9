"""The guide's pictures of the page: ``python client/docs/screenshots.py``, in the environment of the tests.

Records two agents that learn CartPole, with three seeds each, serves them by ``offcam view``, and takes each screen in
Debian's Chromium, light and dark, wide and as on a phone, into ``client/docs/pages/images``.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import offcam

IMAGES = Path(__file__).resolve().parent / "pages" / "images"
SEEDS = 3
EPISODES = 80
WINDOWS: dict[str, dict[str, Any]] = {
    "wide": {"viewport": {"width": 1360, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
QUALITY = 80
SECONDS = 2
"""How long a screen is given until it is as one sees it, once its pictures are there."""
THERE = """() => [...document.querySelectorAll("img, video")].every((each) => {
    const box = each.getBoundingClientRect();
    const seen = box.width && box.bottom > 0 && box.top < innerHeight && each.getAttribute("src");
    return !seen || each.complete || each.readyState > 1;
})"""
"""Whether the pictures in sight are there."""
AGENTS = {"careful": 0.9, "hasty": 0.5}
"""How well each of them balances in the end: the share of steps that it thinks about."""


def learn(agent: str, seed: int, folder: Path) -> None:
    """Record an agent that thinks about ever more of its steps."""
    random = np.random.default_rng(seed)
    env: Any = gym.make("CartPole-v1", render_mode="rgb_array", max_episode_steps=300)
    env = offcam.record(env, folder, every=5, steps=True, overflow="block")
    for episode in range(EPISODES):
        thinks = AGENTS[agent] * min(1.0, 0.2 + episode / EPISODES)
        env.reset(seed=1000 * seed + episode)
        over = False
        observation = np.zeros(4)
        while not over:
            angle = float(observation[2] + 0.4 * observation[3] + 0.05 * observation[1])
            offcam.trace(env, angle=angle)
            action = int(angle > 0) if random.random() < thinks else int(random.integers(2))
            observation, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
    env.close()


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the page that shows a folder."""
    command = [sys.executable, "-m", "offcam", "view", "--json", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            yield str(json.loads(process.stdout.readline())["url"]).rstrip("/")
        finally:
            process.terminate()


def screens(url: str, page: Page) -> dict[str, str]:
    """The address of each screen."""
    runs = page.request.get(f"{url}/api/runs").json()["runs"]
    first = next(run["id"] for run in runs if "careful" in run["title"])
    clips = page.request.get(f"{url}/api/runs/{first}/clips?sort=return").json()["clips"]
    best, worst = clips[0], clips[-1]
    both = ",".join(f"{first}:{clip['key']}" for clip in (best, worst))
    return {
        "runs": url,
        "run": f"{url}/r/{first}",
        "episode": f"{url}/r/{first}/c/{best['key']}?t=2.5",
        "compare": f"{url}/?runs={first}&play={both}&at=0.9",
        "statistics": f"{url}/?statistics=1",
    }


def shoot(browser: Browser, url: str) -> None:
    """Take all screens, in both schemes and windows."""
    for window, options in WINDOWS.items():
        for scheme in ("light", "dark"):
            context = browser.new_context(color_scheme=scheme, reduced_motion="reduce", **options)
            page = context.new_page()
            for name, address in screens(url, page).items():
                page.goto(address)
                page.wait_for_timeout(SECONDS * 1000)
                page.wait_for_function(THERE)
                page.wait_for_timeout(SECONDS * 1000)
                write(page.screenshot(), IMAGES / f"{name}-{window}-{scheme}.webp")
            context.close()


def write(png: bytes, path: Path) -> None:
    """Write a screenshot as WebP: a tenth of the bytes."""
    with Image.open(io.BytesIO(png)) as image:
        image.save(path, quality=QUALITY, method=6)


def main() -> None:
    """Record, serve, and look."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="offcam-") as place:
        folder = Path(place, "runs")
        for agent in AGENTS:
            for seed in range(SEEDS):
                learn(agent, seed, folder / agent / f"seed-{seed}")
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        with served(folder) as url, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
            shoot(browser, url)
            browser.close()


if __name__ == "__main__":
    main()
