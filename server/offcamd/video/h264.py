"""The H.264 encoders that there may be, and their options."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

from offcam_proto.limits import MIB

AUTO, X264 = "auto", "x264"
HARDWARE = ("h264_nvenc", "h264_vaapi", "h264_videotoolbox")
"""Encoders in hardware, by libavcodec's names, in the order in which ``auto`` tries them."""
ENCODERS = (AUTO, X264, *HARDWARE)

FLAT_PRESET = "flat"
"""offcam's own preset: x264's ultrafast, and the tools that pay on rendered pictures (flat areas, little motion)."""

FAST_PRESETS = frozenset({FLAT_PRESET, "ultrafast", "superfast"})
"""Presets that take little more time for a picture than Python does, and little memory for an encoder."""

ENCODER_BYTES = 3 * MIB // 2
FAST_PIXEL_BYTES, PIXEL_BYTES = 28, 48
"""Most memory of an encoder, in bytes: a fixed part, and a part for each pixel with fast presets and with others.

Measured with x264 from 84x84 to 1920x1080: 0.6 to 27 MiB with ``flat``, 1 to 43 with ``superfast``, 1.3 to 54 with
``veryslow``. To these comes the copy of the last frame with its planes, 4.5 bytes for each pixel.
"""

DEFAULT_PRESET = FLAT_PRESET
"""The x264 preset that costs little CPU and still makes small files of rendered scenes."""

DEFAULT_CRF = 23
"""The x264 constant rate factor: 0 is lossless, 51 the worst."""

# These options cost time only where the picture changes, as x264 skips blocks that do not before it uses any of them.
# me=umh searches widely enough for things that jump by many pixels between two frames, as balls and text do.
# deadzone-inter=0 keeps x264 from skipping changes of a few levels; by how many levels a picture may be off grows with
# the quantiser, see tests/bench/X264.md.
_FLAT_OPTIONS = (
    "cabac=1:partitions=i4x4,p8x8:me=umh:ref=3:mixed-refs=1:trellis=1:deadzone-inter=0:ipratio=2:chroma-qp-offset=-1"
)
_FLAT_QP_OFFSET = 7
"""`FLAT_PRESET` uses crf plus this as its quantiser, which gives about the PSNR of x264's medium preset at that crf.

By scene the PSNR is 0.8 dB less to 0.6 dB more, see tests/bench/RESULTS.md. The quantiser is constant, as for any other
rate control x264 prepares a smaller copy of each picture.
"""

TRIAL_SECONDS = 30
"""How long, in seconds, the trial of a hardware encoder may take."""


def options(encoder: str, preset: str, crf: int) -> dict[str, str]:
    """An encoder's options, as libavcodec has them.

    Args:
        encoder: ``x264`` or one of `HARDWARE`.
        preset: x264's, or `FLAT_PRESET`; hardware encoders have none.
        crf: quality on x264's scale, 0 (lossless) to 51; that of hardware encoders is derived from it.
    """
    if encoder == "h264_nvenc":
        return {"preset": "p4", "tune": "ull", "rc": "constqp", "qp": str(crf), "delay": "0", "bf": "0"}
    if encoder == "h264_vaapi":
        return {"rc_mode": "CQP", "qp": str(crf), "async_depth": "1", "bf": "0"}
    if encoder == "h264_videotoolbox":  # its own scale is 1 to 100, times FF_QP2LAMBDA
        quality = 118 * max(1, 100 - crf * 100 // 51)
        return {"flags": "+qscale", "global_quality": str(quality), "realtime": "1", "bf": "0"}
    # zerolatency: no B-frames and no lookahead, so that nothing lingers in memory.
    if preset == FLAT_PRESET:
        quantiser = crf and min(crf + _FLAT_QP_OFFSET, 51)  # 0 is lossless and stays so
        return {"preset": "ultrafast", "tune": "zerolatency", "qp": str(quantiser), "x264-params": _FLAT_OPTIONS}
    return {"preset": preset, "tune": "zerolatency", "crf": str(crf)}


def encoder_bytes(width: int, height: int, preset: str) -> int:
    """Memory that is accounted for an encoder, by the size of its pictures in pixels."""
    return ENCODER_BYTES + width * height * (FAST_PIXEL_BYTES if preset in FAST_PRESETS else PIXEL_BYTES)


@cache
def failure_of(encoder: str) -> str | None:
    """Why an encoder does not work here, or None if it does, as tried in a child process. Cached."""
    command = [sys.executable, "-m", "offcamd.video.hardware", encoder]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=TRIAL_SECONDS, check=False, cwd="/"
        )
    except subprocess.TimeoutExpired:
        return f"it hung for {TRIAL_SECONDS} s"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines and done.returncode > 0 else f"its driver ended the process ({done.returncode})"


_SPS, _PPS = 7, 8  # types of NAL units (ITU-T H.264, table 7-1)


def parameter_sets(extradata: bytes) -> list[bytes]:
    """The sequence and picture parameter sets of a stream: with the same ones its pictures decode.

    Args:
        extradata: a byte stream (ITU-T H.264, annex B), as an encoder has it, or an avcC box (ISO/IEC 14496-15,
            5.3.3.1), as a file has it.
    """
    if extradata[:1] == b"\1":
        return _of_avcc(extradata)
    units = (unit.rstrip(b"\0") for unit in extradata.split(b"\0\0\1"))
    return [unit for unit in units if unit and unit[0] & 31 in (_SPS, _PPS)]


def _of_avcc(box: bytes) -> list[bytes]:
    found: list[bytes] = []
    at = 5
    for mask in (31, 255):  # the bits of the number of sequence, then of picture parameter sets
        count, at = box[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(box[at : at + 2], "big")
            found.append(box[at + 2 : at + 2 + size])
            at += 2 + size
    return found


def byte_stream(sample: bytes) -> bytes:
    """Turn a picture as it is in a file, its units behind their lengths, into one as encoders give it (annex B)."""
    units: list[bytes] = []
    at = 0
    while at < len(sample):
        end = at + 4 + int.from_bytes(sample[at : at + 4], "big")
        units.append(sample[at + 4 : end])
        at = end
    return b"".join(b"\0\0\0\1" + unit for unit in units)
