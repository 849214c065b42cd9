"""Agents and envs to be looked at, and what a page's <video> shows of them."""

from __future__ import annotations

import base64
import importlib
import os
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import pytest

import offcam
from envs import Barcode, Look, decode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from playwright.sync_api import Locator

PHONE = {"width": 390, "height": 844}
SIDE = 96
COLOURS = ((220, 40, 40), (30, 160, 60), (40, 70, 210), (240, 200, 30))
"""RGB of the four bands beside the barcode."""


class Painted(Barcode):
    """A `Barcode` to the left, saying which frame it is, and four bands of colour to the right."""

    def __init__(self, length: int = 10) -> None:
        super().__init__(length, Look(SIDE, SIDE))

    def render(self) -> NDArray[np.uint8]:
        bands = np.repeat(np.array(COLOURS, np.uint8), SIDE // len(COLOURS), axis=0)
        return np.concatenate([super().render(), np.repeat(bands[:, None], SIDE, axis=1)], axis=1)


def playwright() -> Any:
    """Playwright's synchronous API. Where it is missing tests are skipped, but in CI, where they fail."""
    name = "playwright.sync_api"
    return importlib.import_module(name) if os.environ.get("CI") else pytest.importorskip(name)


class Told(Painted):
    """The same, that says of each episode whether it succeeded: those of an even number of steps do."""

    def step(self, action: Any) -> Any:
        *stepped, terminated, truncated, info = super().step(action)
        ended = {"is_success": self.length % 2 == 0, "distance": self.length / 4} if terminated or truncated else {}
        return *stepped, terminated, truncated, {**info, **ended}


def film(folder: Path, lengths: list[int], every: int = 1, painted: Painted | None = None) -> None:
    """Record episodes of `Painted` of these lengths, and a video of every so-manieth."""
    painted = painted or Painted()
    env = offcam.record(painted, str(folder), every=every, info_keywords=("distance",))
    for length in lengths:
        painted.length = length
        env.reset()
        while not any(env.step(0)[2:4]):
            pass
    env.close()


def training(folder: Path, every: int) -> Iterator[float]:
    """An agent that learns CartPole by trying changes of its policy; yields the return of each episode."""
    cartpole = gym.make("CartPole-v1", render_mode="rgb_array")
    env: Any = offcam.record(cartpole, str(folder), every=every, encode="now")  # its videos are waited for
    random = np.random.default_rng(3)
    best, policy = -1.0, np.zeros(4)
    try:
        while True:
            tried = policy + random.normal(size=4)
            observation, _ = env.reset(seed=int(random.integers(1000)))
            over, sum_of_rewards = False, 0.0
            while not over:
                observation, reward, terminated, truncated, _ = env.step(int(tried @ observation > 0))
                over, sum_of_rewards = terminated or truncated, sum_of_rewards + float(reward)
            if sum_of_rewards >= best:
                best, policy = sum_of_rewards, tried
            yield sum_of_rewards
    finally:
        env.close()


def picture(video: Locator) -> NDArray[np.uint8]:
    """(height, width, 3) what a <video> shows at this moment, at its own size."""
    width, height, pixels = video.evaluate(
        """video => {
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
            const context = canvas.getContext("2d", {willReadFrequently: true});
            context.drawImage(video, 0, 0);
            const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
            let text = "";
            for (let place = 0; place < data.length; place += 4)
                text += String.fromCharCode(data[place], data[place + 1], data[place + 2]);
            return [canvas.width, canvas.height, btoa(text)];
        }"""
    )
    return np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 3)


def frame_shown(video: Locator) -> int:
    """Which frame of a `Painted` episode a <video> that stands still shows."""
    video.evaluate(
        """video => new Promise(resolve => {
            const painted = () => requestAnimationFrame(() => requestAnimationFrame(resolve));
            const settled = () => video.seeking || video.readyState < 2 ? setTimeout(settled, 5) : painted();
            settled();
        })"""
    )
    return decode(picture(video), SIDE, SIDE)
