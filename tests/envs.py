"""Envs that are fast and whose every frame says which one it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

BITS = 12
SIDE = 4
"""A frame is a board of 4 x 4 blocks: 12 bits of its number, and their parity over the columns."""

LEVELS = 16
"""Frames too small for a board show their number modulo this as a level of grey."""

MEMORIES = ("contiguous", "transposed", "flipped", "mirrored", "strided", "reused")
STYLES = ("rgb", "rgba", "grey", "grey1", "bool", "float32", "float64", "int64")


def encode(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """A grey picture ``(height, width)`` of a number below 4096."""
    if min(height, width) < SIDE * 4:
        return np.full((height, width), number % LEVELS * 16 + 8, np.uint8)
    bits = np.array([number >> bit & 1 for bit in range(BITS)]).reshape(SIDE - 1, SIDE)
    board = np.vstack([bits, bits.sum(axis=0, keepdims=True) % 2])
    rows = np.arange(height) * SIDE // height
    cols = np.arange(width) * SIDE // width
    return (board[np.ix_(rows, cols)] * 255).astype(np.uint8)


def decode(picture: NDArray[np.uint8], height: int, width: int) -> int:
    """The number in the top left ``height`` x ``width`` pixels of an RGB picture; -1 where its parity is wrong."""
    if min(height, width) < SIDE * 4:
        return round((float(picture[:height, :width].mean()) - 8) / 16)
    rows, cols = ([(2 * place + 1) * length // (2 * SIDE) for place in range(SIDE)] for length in (height, width))
    board = np.array([[picture[y - 1 : y + 2, x - 1 : x + 2].mean() > 127 for x in cols] for y in rows])
    if (board[:-1].sum(axis=0) % 2 != board[-1]).any():
        return -1
    return int(sum(int(bit) << place for place, bit in enumerate(board[:-1].ravel())))


def shown(number: int, height: int, width: int) -> int:
    """What `decode` finds in the picture of a number."""
    return number % LEVELS if min(height, width) < SIDE * 4 else number


def styled(grey: NDArray[np.uint8], style: str) -> NDArray[Any]:
    """The same picture in another shape or dtype."""
    if style in ("grey", "grey1"):
        return grey if style == "grey" else grey[:, :, None]
    rgb = np.repeat(grey[:, :, None], 3, axis=2)
    if style == "rgba":
        alpha = np.full((*grey.shape, 1), 7, np.uint8)  # to be ignored: the picture is not see-through
        return np.concatenate([rgb, alpha], axis=2)
    if style == "bool":
        return rgb > 127
    return (rgb / 255).astype(style) if style.startswith("float") else rgb.astype("uint8" if style == "rgb" else style)


def laid_out(frame: NDArray[Any], memory: str) -> NDArray[Any]:
    """An equal array that lies differently in memory."""
    if memory == "transposed":
        return np.ascontiguousarray(frame.swapaxes(0, 1)).swapaxes(0, 1)
    if memory == "flipped":
        return np.ascontiguousarray(frame[::-1])[::-1]
    if memory == "mirrored":
        return np.ascontiguousarray(frame[::-1, ::-1])[::-1, ::-1]
    if memory == "strided":
        wide = np.full((frame.shape[0] * 2, frame.shape[1] * 3, *frame.shape[2:]), 99, frame.dtype)
        wide[::2, ::3] = frame
        return wide[::2, ::3]
    return np.ascontiguousarray(frame)


@dataclass(frozen=True)
class Look:
    """How an env's frames look: pixels high and wide, one of `STYLES`, one of `MEMORIES`."""

    height: int = 84
    width: int = 84
    style: str = "rgb"
    memory: str = "contiguous"


class Barcode(gym.Env[NDArray[np.float32], int]):
    """An episode of ``length`` steps whose frames show 0, 1, ... ``length``; the reward of each step is 1.

    Args:
        length: steps of an episode.
        look: of its frames.
        fps: its ``render_fps``; None for none at all.
        offset: what is added to each number shown.
        render_mode: as of any env.
        truncates: whether it ends by truncation.
        sizes: by the number of the frame, another ``(height, width)`` from there on.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array", "ansi", "human", "rgb_array_list"]}
    observation_space = gym.spaces.Box(0, np.inf, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(
        self,
        length: int = 10,
        look: Look = Look(),
        fps: float | None = 30,
        *,
        offset: int = 0,
        render_mode: str | None = "rgb_array",
        truncates: bool = False,
        sizes: dict[int, tuple[int, int]] | None = None,
    ) -> None:
        self.metadata = {**type(self).metadata} | ({} if fps is None else {"render_fps": fps})
        self.render_mode = render_mode
        self.length = length
        self.look = look
        self.number = 0
        self.renders = 0
        self._offset = offset
        self._truncates = truncates
        self._sizes = sizes or {}
        self._buffer: NDArray[Any] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.number = 0
        return self._observe(), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self.number += 1
        over = self.number >= self.length
        return self._observe(), 1.0, over and not self._truncates, over and self._truncates, {}

    def _observe(self) -> NDArray[np.float32]:
        return np.array([self.number], np.float32)

    def render(self) -> Any:
        self.renders += 1
        look = self.look
        height, width = look.height, look.width
        for number, size in self._sizes.items():
            if self.number >= number:
                height, width = size
        frame = styled(encode((self.number + self._offset) % 2**BITS, height, width), look.style)
        if look.memory != "reused":
            return laid_out(frame, look.memory)
        if self._buffer is None or self._buffer.shape != frame.shape:
            self._buffer = np.empty_like(frame)
        self._buffer[...] = frame
        return self._buffer


def play(env: Any, episodes: int = 1, *, seed: int | None = None) -> list[dict[str, Any]]:
    """Run whole episodes of a single env; returns the last info of each."""
    infos = []
    for episode in range(episodes):
        env.reset(seed=None if seed is None else seed + episode)
        over = False
        while not over:
            _, _, terminated, truncated, info = env.step(env.action_space.sample())
            over = terminated or truncated
        infos.append(info)
    return infos
