"""What a viewer gets: decoded videos against what was rendered, per preset, and per way that pixels take.

Whatever is fast is of no use if it shows something else, so each way from a frame to a file is looked at by the same
figures. The presets are compared on real episodes, the layouts on one episode that is stored in each of them.
"""

from __future__ import annotations

import itertools
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import agents
import av
import cv2
import numpy as np
from micro import PRESETS

from offcam.recorder.frames import picture
from offcamd.video.h264 import DEFAULT_CRF, DEFAULT_PRESET
from offcamd.video.i420 import I420Converter
from offcamd.video.mp4 import VideoWriter
from offcamd.video.pixels import view
from offcamd.video.probe import iter_frames

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Film = Sequence[np.ndarray]

ENV_IDS = ("CartPole-v1", "LunarLander-v3", "ALE/Breakout-v5", "BipedalWalker-v3", "CarRacing-v3")
FPS = Fraction(30)
X264_MEDIUM = "x264 medium, crf 23, as Gymnasium has it"

_METHOD = """\
PSNR     dB of RGB against RGB over all frames; the colours of four pixels are one in any such video, which bounds it
SSIM     of the luma, mean over 8x8 blocks of all frames (Wang et al. 2004)
flat     levels by which a patch of 8x8 pixels that is all one colour is off at most: 99.9 % of them, and the worst
frames   decoded, of those that were encoded
in place part of the frames that are closest to what was rendered at their time, of that and what is before and after
bytes    of the published file per frame"""


class Quality(TypedDict):
    """How one way of recording did. See `_METHOD`."""

    case: str
    psnr_db: float
    ssim: float
    flat_999: float
    flat_worst: float
    frames: int
    expected: int
    in_place: float
    bytes_per_frame: float


def measure_all(steps: int, env_ids: Sequence[str] = ENV_IDS) -> Iterator[Quality]:
    """Each preset on each env, then each layout with the default preset."""
    with tempfile.TemporaryDirectory(prefix="offcam-quality-") as folder:
        path = Path(folder) / "video.mp4"
        for env_id in env_ids:
            film = max(agents.replay(env_id, steps), key=len)
            _peer(film, path)
            yield judged(f"{env_id}, {X264_MEDIUM}", film, path)
            for preset in PRESETS:
                record(film, path, preset)
                yield judged(f"{env_id}, {preset}", film, path)
        film = max(agents.replay(env_ids[0], steps), key=len)
        for name, stored in layouts(film).items():
            record(stored, path)
            yield judged(f"{env_ids[0]}, {DEFAULT_PRESET}, {name}", film, path)


def text(rows: list[Quality]) -> list[str]:
    """A line for each, and the methods."""
    width = max(len(row["case"]) for row in rows)
    lines = [f"{'':<{width}}    PSNR    SSIM   flat  worst     frames  in place    bytes"]
    lines += [
        f"{row['case']:<{width}}  {row['psnr_db']:6.2f}  {row['ssim']:.4f}  {row['flat_999']:5.1f}  "
        f"{row['flat_worst']:5.1f}  {row['frames']:>4}/{row['expected']:<4}  {100 * row['in_place']:7.1f}%  "
        f"{row['bytes_per_frame']:7.0f}"
        for row in rows
    ]
    return [*lines, "", _METHOD]


def layouts(film: Film) -> dict[str, list[np.ndarray]]:
    """The same pictures as envs store them: turned, flipped, channels in another order, in memory with holes."""
    stored = {"contiguous": [np.ascontiguousarray(frame) for frame in film]}
    plain = stored["contiguous"]
    stored["transposed (pygame)"] = [np.ascontiguousarray(each.transpose(1, 0, 2)).transpose(1, 0, 2) for each in plain]
    stored["flipped (OpenGL)"] = [each[::-1].copy()[::-1] for each in plain]
    stored["BGR"] = [each[..., ::-1].copy()[..., ::-1] for each in plain]
    stored["channels first"] = [np.ascontiguousarray(each.transpose(2, 0, 1)).transpose(1, 2, 0) for each in plain]
    stored["RGBA"] = [np.dstack([each, each[..., 0]]) for each in plain]
    stored["RGB of RGBX"] = [np.dstack([each, each[..., 0]])[..., :3] for each in plain]
    return stored


def record(film: Film, path: Path, preset: str = DEFAULT_PRESET, crf: int = DEFAULT_CRF) -> None:
    """Make a video as the client and the daemon do between them."""
    converter = I420Converter(1, 1)
    part = path.with_suffix(".part")
    writer = None
    for place, frame in enumerate(film):
        shipped = picture(frame)
        planes = converter.convert([view(shipped.dense.tobytes(), shipped.layout)])
        if writer is None:
            width, height = converter.size or (0, 0)
            writer = VideoWriter(part, width=width, height=height, fps=FPS, preset=preset, crf=crf)
        writer.write(planes, place)
    assert writer is not None
    writer.close()
    writer.copy_to(path)


def _peer(film: Film, path: Path) -> None:
    """x264's own defaults, colours converted by swscale."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "medium", "crf": "23"})
        stream.height, stream.width, stream.pix_fmt = *film[0].shape[:2], "yuv420p"
        for frame in film:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))


def judged(case: str, film: Film, path: Path) -> Quality:
    """Compare a video with what was rendered."""
    height, width = film[0].shape[:2]
    shown = [frame[:height, :width] for frame in iter_frames(path)]
    pairs = [(got, np.ascontiguousarray(drawn)) for got, drawn in zip(shown, film, strict=False)]
    error = float(np.mean([_squared(got, drawn) for got, drawn in pairs]))
    off = np.concatenate([_flat_patches_off(got, drawn) for got, drawn in pairs])
    return Quality(
        case=case,
        psnr_db=float(10 * np.log10(255**2 / max(error, 1e-9))),
        ssim=float(np.mean([_ssim(got, drawn) for got, drawn in pairs])),
        flat_999=float(np.percentile(off, 99.9)) if off.size else 0.0,
        flat_worst=float(off.max(initial=0.0)),
        frames=len(shown),
        expected=len(film),
        in_place=float(np.mean([_is_in_place(place, got, film) for place, got in enumerate(shown)])),
        bytes_per_frame=path.stat().st_size / len(film),
    )


def _squared(shown: np.ndarray, drawn: np.ndarray) -> float:
    return float(np.mean((shown.astype(np.int32) - drawn) ** 2))


def _is_in_place(place: int, shown: np.ndarray, film: Film) -> bool:
    if place >= len(film):
        return False
    own = _squared(shown, film[place])
    return all(own <= _squared(shown, other) for other in (*film[place - 1 : place], *film[place + 1 : place + 2]))


def _blocks(picture_: np.ndarray) -> np.ndarray:
    """``(rows, columns, 64, channels)`` of whole 8x8 blocks."""
    high, wide = picture_.shape[0] // 8, picture_.shape[1] // 8
    cut = picture_[: high * 8, : wide * 8].reshape(high, 8, wide, 8, -1)
    return cut.transpose(0, 2, 1, 3, 4).reshape(high, wide, 64, -1)


def _flat_patches_off(shown: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """For each flat patch within a flat neighbourhood, by how much its mean colour is off in the worst channel."""
    blocks = _blocks(drawn)
    flat = (blocks == blocks[:, :, :1]).all(axis=(2, 3))
    colour = blocks[:, :, 0].astype(np.int32)
    inner = flat.copy()  # a neighbour of another colour shares the encoder's 16x16 pixels
    for axis, step in itertools.product((0, 1), (1, -1)):
        same = (np.roll(colour, step, axis) == colour).all(axis=2)
        inner &= np.roll(flat, step, axis) & same
    means = _blocks(shown)[inner].astype(float).mean(axis=1)
    off: np.ndarray = abs(means - colour[inner]).max(axis=1, initial=0.0)
    return off


def _ssim(shown: np.ndarray, drawn: np.ndarray) -> float:
    a, b = (_blocks(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY)).astype(float)[..., 0] for each in (shown, drawn))
    mean_a, mean_b = a.mean(axis=2), b.mean(axis=2)
    covariance = (a * b).mean(axis=2) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similar = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((similar / ((mean_a**2 + mean_b**2 + c1) * (a.var(axis=2) + b.var(axis=2) + c2))).mean())
