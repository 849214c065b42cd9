"""The recorders that are measured side by side. Each turns an env into one that records every episode.

All of them get the same env with the same clock around it, and write into a folder of their own. Those that are
written here stand for what people write themselves; they do it as well as can be done in a screen of code.
"""

from __future__ import annotations

import importlib
import importlib.util
import queue
import threading
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUEUE_FRAMES = 64
"""Frames the writer thread may be behind before the loop waits for it."""

FILES = "rl-video-episode-{}.mp4"


class PerEpisode(gym.Wrapper[Any, Any, Any, Any]):
    """Renders after each reset and step; each episode is a video. On its own it renders and keeps nothing."""

    def __init__(self, env: gym.Env[Any, Any], folder: Path) -> None:
        super().__init__(env)
        self.folder = folder
        self.fps = Fraction(env.metadata.get("render_fps", 30)).limit_denominator(1001)
        self.episode = -1

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        result = super().reset(**options)
        if self.episode >= 0:
            self.end()
        self.episode += 1
        frame: Any = self.env.render()
        self.begin(self.folder / FILES.format(self.episode), frame)
        self.add(frame)
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        result = super().step(action)
        frame: Any = self.env.render()
        self.add(frame)
        return result

    def close(self) -> None:
        super().close()
        if self.episode >= 0:
            self.end()

    def begin(self, path: Path, frame: np.ndarray) -> None:
        """Start a video."""

    def add(self, frame: np.ndarray) -> None:
        """Add a frame to it."""

    def end(self) -> None:
        """Finish it."""


class AvFile:
    """One video as PyAV's documentation writes it, with the settings of x264 that the daemon has."""

    def __init__(self, path: Path, fps: Fraction, height: int, width: int, preset: str | None = None) -> None:
        av = importlib.import_module("av")
        h264 = importlib.import_module("offcamd.video.h264")
        self._from_ndarray = av.VideoFrame.from_ndarray
        self._container = av.open(f"file:{path}", "w", format="mp4")
        options = h264.options(h264.X264, preset or h264.DEFAULT_PRESET, h264.DEFAULT_CRF)
        self._stream = self._container.add_stream("libx264", rate=fps, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.thread_count = 1
        self._stream.codec_context.gop_size = min(max(round(fps * 4), 12), 250)

    def add(self, frame: np.ndarray) -> None:
        picture = self._from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


class InlineAv(PerEpisode):
    """Encodes with PyAV within the step."""

    preset: str | None = None

    def begin(self, path: Path, frame: np.ndarray) -> None:
        self._file = AvFile(path, self.fps, *frame.shape[:2], self.preset)

    def add(self, frame: np.ndarray) -> None:
        self._file.add(frame)

    def end(self) -> None:
        self._file.close()


class UltrafastAv(InlineAv):
    """The same with the preset that people take who want it fast."""

    preset = "ultrafast"


class ThreadAv(PerEpisode):
    """Encodes with PyAV on a thread behind a bounded queue; only a copy of each frame is made within the step."""

    def __init__(self, env: gym.Env[Any, Any], folder: Path) -> None:
        super().__init__(env, folder)
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue(QUEUE_FRAMES)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while task := self._work.get():
            task()

    def begin(self, path: Path, frame: np.ndarray) -> None:
        height, width = frame.shape[:2]

        def open_() -> None:
            self._file = AvFile(path, self.fps, height, width)

        self._work.put(open_)

    def add(self, frame: np.ndarray) -> None:
        copy = frame.copy(order="K")  # as it lies in memory: making it contiguous is left to the thread
        self._work.put(lambda: self._file.add(copy))

    def end(self) -> None:
        self._work.put(lambda: self._file.close())  # noqa: PLW0108 - the file of when it is called, not of now

    def close(self) -> None:
        super().close()
        self._work.put(None)
        self._thread.join()


class ImageioFfmpeg(PerEpisode):
    """Pipes frames to an ffmpeg process for each episode, with imageio-ffmpeg's own settings."""

    def begin(self, path: Path, frame: np.ndarray) -> None:
        size = frame.shape[1], frame.shape[0]
        module = importlib.import_module("imageio_ffmpeg")
        # By default it would scale pictures to multiples of 16.
        self._pipe = module.write_frames(str(path), size, fps=float(self.fps), macro_block_size=2)
        self._pipe.send(None)

    def add(self, frame: np.ndarray) -> None:
        self._pipe.send(np.ascontiguousarray(frame))

    def end(self) -> None:
        self._pipe.close()


class Sb3(gym.Wrapper[Any, Any, Any, Any]):
    """Stable-Baselines3's VecVideoRecorder around a DummyVecEnv of one env: one video of all steps.

    It knows no episodes, only a number of steps. Its vector env resets by itself, so ``reset`` is heeded once.
    """

    def __init__(self, env: gym.Env[Any, Any], folder: Path, steps: int) -> None:
        super().__init__(env)
        vec_env = importlib.import_module("stable_baselines3.common.vec_env")
        self._vec = vec_env.VecVideoRecorder(
            vec_env.DummyVecEnv([lambda: env]), str(folder), lambda step: step == 0, video_length=steps
        )
        self._begun = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if not self._begun:
            self._vec.seed(seed)
            self._vec.reset()
            self._begun = True
        return None, {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observations, rewards, dones, infos = self._vec.step(np.array([action]))
        return observations[0], rewards[0], bool(dones[0]), False, infos[0]

    def close(self) -> None:
        self._vec.close()


def _gymnasium(env: gym.Env[Any, Any], folder: Path, _steps: int) -> gym.Env[Any, Any]:
    wrappers = importlib.import_module("gymnasium.wrappers")
    recorded: gym.Env[Any, Any] = wrappers.RecordVideo(env, str(folder), episode_trigger=lambda _: True)
    return recorded


def _offcam(env: gym.Env[Any, Any], folder: Path, _steps: int) -> gym.Env[Any, Any]:
    offcam = importlib.import_module("offcam")
    recorded: gym.Env[Any, Any] = offcam.RecordVideo(env, str(folder), episode_trigger=lambda _: True)
    return recorded


RENDER_ONLY = "render-only"
OFFCAM = "offcam"
SB3 = "sb3-vecvideo"
GYMNASIUM = "gymnasium"
ULTRAFAST = "pyav-ultrafast"

RECORDERS: dict[str, Callable[[gym.Env[Any, Any], Path, int], gym.Env[Any, Any]]] = {
    RENDER_ONLY: lambda env, folder, _: PerEpisode(env, folder),
    GYMNASIUM: _gymnasium,
    "pyav-inline": lambda env, folder, _: InlineAv(env, folder),
    ULTRAFAST: lambda env, folder, _: UltrafastAv(env, folder),
    "pyav-thread": lambda env, folder, _: ThreadAv(env, folder),
    "imageio-ffmpeg": lambda env, folder, _: ImageioFfmpeg(env, folder),
    SB3: Sb3,
    OFFCAM: _offcam,
}
"""By name, in the table's order: from an env, a folder and the number of steps to the env that records."""

_NEEDS = {
    "gymnasium": "moviepy",
    "pyav-inline": "av",
    ULTRAFAST: "av",
    "pyav-thread": "av",
    "imageio-ffmpeg": "imageio_ffmpeg",
    SB3: "stable_baselines3",
}


def missing(recorder: str) -> str | None:
    """The module without which a recorder cannot be measured here, or None."""
    module = _NEEDS.get(recorder)
    return module if module and importlib.util.find_spec(module) is None else None
