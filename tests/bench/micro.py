"""What the pieces of offcam cost by themselves, one at a time and on one thread."""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypedDict

import agents
import av
import gymnasium as gym
import numpy as np
import zmq
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from offcam.connection.shared_memory import ARENA_BYTES, ARENA_SLOTS, Arena, Lying, Picture
from offcam.connection.spool import Spool
from offcam.recorder.frames import picture
from offcam.recorder.journal import Journal
from offcam.recorder.journal_thread import ThreadedJournal
from offcam.recorder.steps import StepLog
from offcam.replay.tap import Tap
from offcam.replay.tape_log import TapeLog
from offcam.vector.step_rows import VectorStepRows
from offcam.wrappers.step_rows import StepRows
from offcam_proto import codec
from offcam_proto.arena import shape_of
from offcam_proto.left_frames import pack_owner
from offcam_proto.limits import MIB, PROTOCOL_VERSION
from offcam_proto.messages import Hello, OpenClip, OpenStream
from offcam_proto.records import EpisodeRecord
from offcam_runs.replay.recipe import Recipe
from offcamd.daemon.spool_file import SpoolFile
from offcamd.encode.budget import Budget
from offcamd.video.h264 import DEFAULT_CRF, DEFAULT_PRESET, X264, options
from offcamd.video.i420 import I420Converter
from offcamd.video.mp4 import VideoWriter
from offcamd.video.pixels import view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from offcam_proto.layout import FrameLayout
    from offcam_proto.records import StepRecord

SIZES = ((84, 84), (210, 160), (400, 600), (720, 1280), (1080, 1920))
PRESETS = ("flat", "ultrafast", "superfast", "veryfast", "faster", "medium")
ENV_IDS = ("CartPole-v1", "LunarLander-v3", "ALE/Breakout-v5")
ENV_FRAMES = 200
REPETITIONS = 10
STEPS_AT_ONCE = 5_000
"""Rows that are measured together: of several records."""

_DRAIN = """
import sys, zmq
socket = zmq.Context.instance().socket(zmq.ROUTER)
socket.bind(sys.argv[1])
print("ready", flush=True)
while True:
    socket.recv_multipart(copy=False)
"""


class Piece(TypedDict):
    """One figure: the median time of a call in microseconds, and a remark."""

    piece: str
    us: float
    remark: str


def measure_all(seconds: float) -> list[Piece]:
    """Everything, each piece for about so long."""
    return [
        *_client(seconds),
        *_journal(seconds),
        *_steps(seconds),
        *_tape(seconds),
        *_slots(seconds),
        *_send(seconds),
        *_convert(seconds),
        *_encode(),
    ]


def text(pieces: list[Piece]) -> list[str]:
    """A line for each."""
    width = max(len(piece["piece"]) for piece in pieces)
    lines = [f"{piece['piece']:<{width}}  {piece['us']:>9.1f} us  {piece['remark']}".rstrip() for piece in pieces]
    return [*lines, "", "Each is the median of repeated calls in this process; nothing else works beside them."]


def layouts(height: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    """Frames as envs return them: a block of memory seen in various ways, and one with holes."""
    rng = np.random.default_rng(agents.SEED)

    def block(*shape: int) -> np.ndarray:
        return rng.integers(0, 256, shape, np.uint8)

    yield "contiguous", block(height, width, 3)
    yield "transposed (pygame)", block(width, height, 3).transpose(1, 0, 2)
    yield "flipped (OpenGL)", block(height, width, 3)[::-1]
    yield "RGBA", block(height, width, 4)
    yield "RGB of RGBX", block(height, width, 4)[..., :3]


def _median_us(call: Callable[[], object], seconds: float) -> float:
    took: list[int] = []
    call()
    end = time.perf_counter() + seconds
    while len(took) < 5 or time.perf_counter() < end:
        begin = time.perf_counter_ns()
        call()
        took.append(time.perf_counter_ns() - begin)
    return statistics.median(took) / 1e3


def _client(seconds: float) -> Iterator[Piece]:
    for height, width in SIZES:
        for name, frame in layouts(height, width):
            us = _median_us(lambda frame=frame: picture(frame), seconds / 5)  # type: ignore[misc]  # bound early
            yield Piece(piece=f"client: picture() {width}x{height} {name}", us=us, remark="")
            us = _median_us(lambda frame=frame: picture(frame).dense.tobytes(), seconds / 5)  # type: ignore[misc]  # as above
            yield Piece(piece=f"client: picture() and a copy {width}x{height} {name}", us=us, remark="")


def _journal(seconds: float) -> Iterator[Piece]:
    """A record into its journal, which is on the disk that this file is on: what the agent's thread does of it."""
    client = Hello(magic=Hello.MAGIC, version=PROTOCOL_VERSION, session=bytes(16), pid=1, host="", client="")
    body = codec.pack_record(
        EpisodeRecord(
            env_index=0,
            episode=1,
            return_=100.0,
            length=100,
            duration=0.1,
            started=0.0,
            terminated=True,
            truncated=False,
            seed=None,
        )
    )
    for bodies in ([body], [body] * 64):
        with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
            opening = OpenStream(
                handle=1,
                stream=bytes(16),
                folder=folder,
                prefix="",
                suffix=0,
                video=False,
                env_id="",
                num_envs=1,
                vector=False,
                started=0.0,
            )
            own = Journal(opening, client, here=True, said=lambda *_: None)
            for journal, remark in ((own, ""), (ThreadedJournal(own, lambda *_: None), "by a thread")):
                seqs = itertools.count(1, len(bodies))
                us = _median_us(lambda j=journal, b=bodies, s=seqs: j.append(next(s), b), seconds / 10)  # type: ignore[misc]  # as above
                yield Piece(piece=f"client: packed records into a journal, {len(bodies)} at once", us=us, remark=remark)
                journal.end()


def _steps(seconds: float) -> Iterator[Piece]:
    """A row of steps into the tail beside its journal, which takes the records: what the agent's thread does of it."""
    one, eight = np.int64(1), np.ones(8, np.int64)
    floats, flags = np.ones(8), np.zeros(8, bool)

    def single(rows: StepRows) -> None:
        for _ in range(STEPS_AT_ONCE):
            rows.step(0, one, 1.0, False, False)

    def vector(rows: VectorStepRows) -> None:
        for _ in range(STEPS_AT_ONCE):
            rows.step_all(rows.given(eight), floats, flags, flags, {})

    for what, rows, step in (
        ("a discrete action", StepRows(spaces.Discrete(2)), single),
        ("8 sub-envs", VectorStepRows(spaces.Discrete(2), 8, AutoresetMode.NEXT_STEP), vector),
    ):
        with _stream_of_steps() as stream:
            rows.attach(stream)
            us = _median_us(lambda rows=rows, step=step: step(rows), seconds) / STEPS_AT_ONCE  # type: ignore[misc]  # as above
            yield Piece(piece=f"client: a row of steps, {what}", us=us, remark="its share of sealing included")


def _tape(seconds: float) -> Iterator[Piece]:
    """A step below which a tap is, that tells a tape in the same place, beside the same step without one."""
    one = np.int64(1)
    for what, observation in (("16 bytes", np.zeros(4, np.float32)), ("100 KB", np.zeros((210, 160, 3), np.uint8))):
        env = Same(observation)
        with _stream_of_steps() as stream:
            tape = TapeLog(spaces.Discrete(2), Recipe("", "", [], "", {}, {}))
            tape.attach(stream)
            tap = Tap(env, tape)
            tap.reset(seed=0)
            bare, told = (
                _median_us(lambda step=each.step: [step(one) for _ in range(STEPS_AT_ONCE)], seconds) / STEPS_AT_ONCE
                for each in (env, tap)
            )  # type: ignore[misc]  # as above
            yield Piece(piece=f"client: a step told to a tape, {what}", us=told - bare, remark="beyond the step itself")


class Same(gym.Env):
    """It observes the same again and again."""

    def __init__(self, observation: np.ndarray) -> None:
        self._observation = observation

    def reset(self, **_: object) -> tuple[np.ndarray, dict[str, object]]:
        return self._observation, {}

    def step(self, _: object) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        return self._observation, 1.0, False, False, {}


@contextmanager
def _stream_of_steps() -> Iterator[Any]:
    """All that rows of steps use of a stream: what takes them, with a journal that takes their records."""
    client = Hello(magic=Hello.MAGIC, version=PROTOCOL_VERSION, session=bytes(16), pid=1, host="", client="")
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
        opening = OpenStream(1, bytes(16), folder, "", 0, False, "", 1, False, 0.0)
        journal = Journal(opening, client, here=True, said=lambda *_: None)
        seqs = itertools.count(1)

        def keep(record: StepRecord) -> None:
            seq = next(seqs)
            journal.append(seq, [codec.pack_record(record)])
            journal.acked(seq)

        yield SimpleNamespace(steps=StepLog(keep, journal.tail))
        journal.end()


def _slots(seconds: float) -> Iterator[Piece]:
    """A frame into a slot of memory that is shared with the daemon, and back into one from a dead daemon's disk."""
    client = Hello(magic=Hello.MAGIC, version=PROTOCOL_VERSION, session=bytes(16), pid=1, host="", client="")
    stream = OpenStream(
        handle=1, stream=bytes(16), folder="/", prefix="v", suffix=0, video=True, env_id="", num_envs=1, vector=False,
        started=0.0,
    )  # fmt: skip
    for height, width in SIZES[:3]:
        frame = picture(np.zeros((height, width, 3), np.uint8))
        size, shape = f"{width}x{height}", shape_of(frame.dense.nbytes, ARENA_BYTES, ARENA_SLOTS)
        assert shape is not None
        clip = OpenClip(1, 0, "v-episode-0", 1, 30.0, 1, 1, 0, 0, 0.0, frame.dense.nbytes)
        for name, owner in (("", b""), (" that has a name", pack_owner(stream, client))):
            arena = Arena(*shape, owner)

            def put(arena: Arena = arena, frame: Picture = frame, clip: OpenClip = clip) -> None:
                slot = arena.put(0, 0, (frame,), clip)
                assert slot is not None
                arena.free(arena.lying_in(slot))

            yield Piece(piece=f"client: into a slot {size}{name}", us=_median_us(put, seconds / 5), remark="")
            arena.leave()
        with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
            arena = Arena(*shape)
            file = SpoolFile(Budget(64 * MIB, 64 * MIB), Path(folder), arena.token, arena.slot_bytes)
            file.move(0, 0, (frame.layout,), frame.dense.data)
            lying = Lying(0, 0, (frame.layout,), 0, Spool(os.getpid(), file.descriptor, arena.token, arena.slot_bytes))

            def fetch(arena: Arena = arena, lying: Lying = lying) -> None:
                found = arena.fetch(lying)
                assert found is not None
                arena.free(found)

            yield Piece(piece=f"client: from disk into a slot {size}", us=_median_us(fetch, seconds / 5), remark="")


def _send(seconds: float) -> Iterator[Piece]:
    """The call that hands a frame to libzmq; another process takes it, and the next call waits for a while."""
    with tempfile.TemporaryDirectory(prefix="offcam-") as folder, zmq.Context() as context:
        endpoint = f"ipc://{folder}/drain"
        drain = subprocess.Popen([sys.executable, "-c", _DRAIN, endpoint], stdout=subprocess.PIPE)
        with drain, context.socket(zmq.DEALER) as socket:
            assert drain.stdout is not None
            drain.stdout.readline()
            socket.linger = 0
            socket.connect(endpoint)
            for height, width in SIZES:
                pixels = bytes(height * width * 3)
                took: list[int] = []
                end = time.perf_counter() + seconds
                while time.perf_counter() < end:
                    begin = time.perf_counter_ns()
                    socket.send_multipart([b"header", pixels], zmq.DONTWAIT, copy=False)
                    took.append(time.perf_counter_ns() - begin)
                    time.sleep(0.004)  # an env's step, in which libzmq goes to sleep again
                us = statistics.median(took) / 1e3
                yield Piece(piece=f"client: send {width}x{height}", us=us, remark="4 ms apart")
            drain.kill()


def _convert(seconds: float) -> Iterator[Piece]:
    for height, width in SIZES:
        for name, frame in layouts(height, width):
            shipped = picture(frame)
            pixels = shipped.dense.tobytes()
            converter = I420Converter(1, 1)
            us = _median_us(
                lambda to=converter, pixels=pixels, layout=shipped.layout: to.convert([view(pixels, layout)]),  # type: ignore[misc]  # as above
                seconds / 5,
            )
            yield Piece(piece=f"daemon: to I420 {width}x{height} {name}", us=us, remark="")


def _encode() -> Iterator[Piece]:
    """What a second of real frames costs: into a file, and into nothing but x264."""
    with tempfile.TemporaryDirectory(prefix="offcam-") as folder:
        for env_id in ENV_IDS:
            planes = _env_planes(env_id)
            for preset in PRESETS:
                path = Path(folder) / "video.mp4"
                us = _written(planes, path, preset)
                remark = f"{path.stat().st_size / len(planes):.0f} bytes a frame"
                yield Piece(piece=f"daemon: VideoWriter.write {env_id} {preset}", us=us, remark=remark)
            us = _bare(planes)
            remark = "frames are av's already, packets are dropped"
            yield Piece(piece=f"bare x264 {env_id} {DEFAULT_PRESET}", us=us, remark=remark)
        for env_id in ENV_IDS:
            whole, bare = throughput(env_id, Path(folder) / "video.mp4")
            remark = f"{1e6 / whole:.0f} frames a second and core, {bare / whole:.2f} of bare x264's (thread time)"
            yield Piece(piece=f"daemon: convert, encode, mux {env_id} {DEFAULT_PRESET}", us=whole, remark=remark)


def _env_planes(env_id: str) -> list[np.ndarray]:
    converter = I420Converter(1, 1)
    frames = (frame for episode in agents.replay(env_id, ENV_FRAMES) for frame in episode)
    return [converter.convert([frame]).copy() for frame in frames]


def _written(planes: list[np.ndarray], path: Path, preset: str) -> float:
    height, width = planes[0].shape[0] * 2 // 3, planes[0].shape[1]
    writer = VideoWriter(path, width=width, height=height, fps=Fraction(30), preset=preset, crf=DEFAULT_CRF)
    took: list[int] = []
    for place, each in enumerate(planes):
        begin = time.perf_counter_ns()
        writer.write(each, place)
        took.append(time.perf_counter_ns() - begin)
    writer.close()
    return statistics.mean(took) / 1e3


def throughput(env_id: str, path: Path) -> tuple[float, float]:
    """Microseconds of thread time for a frame: all that the daemon's encoder does, and bare x264 on ready frames.

    Each frame's least over the repetitions, as everything else on the machine only ever adds.
    """
    episode = max(agents.replay(env_id, ENV_FRAMES), key=len)
    shipped = [(each.dense.tobytes(), each.layout) for each in map(picture, episode)]
    films = [_daemons_part(shipped, path) for _ in range(REPETITIONS)]
    converter = I420Converter(1, 1)
    planes = [converter.convert([frame]).copy() for frame in episode]
    bare = [_x264_part(planes) for _ in range(REPETITIONS)]
    return _least(films), _least(bare)


def _least(runs: list[list[int]]) -> float:
    """The mean over the frames, bar the keyframe, of their least times; in us."""
    return float(np.min(runs, axis=0)[1:].mean() / 1e3)


def _daemons_part(shipped: list[tuple[bytes, FrameLayout]], path: Path) -> list[int]:
    converter = I420Converter(1, 1)
    converter.convert([view(*shipped[0])])
    width, height = converter.size or (0, 0)
    writer = VideoWriter(path, width=width, height=height, fps=Fraction(30), preset=DEFAULT_PRESET, crf=DEFAULT_CRF)
    took: list[int] = []
    for place, (pixels, layout) in enumerate(shipped):
        begin = time.thread_time_ns()
        writer.write(converter.convert([view(pixels, layout)]), place)
        took.append(time.thread_time_ns() - begin)
    writer.close()
    return took


def _x264_part(planes: list[np.ndarray]) -> list[int]:
    context, frames = _x264(planes)
    took: list[int] = []
    for frame in frames:
        begin = time.thread_time_ns()
        context.encode(frame)
        took.append(time.thread_time_ns() - begin)
    return took


def _bare(planes: list[np.ndarray]) -> float:
    """x264 as the daemon sets it, without a container."""
    context, frames = _x264(planes)
    begin = time.perf_counter_ns()
    for frame in frames:
        context.encode(frame)
    return (time.perf_counter_ns() - begin) / 1e3 / len(frames)


def _x264(planes: list[np.ndarray]) -> tuple[av.VideoCodecContext, list[av.VideoFrame]]:
    context = av.CodecContext.create("libx264", "w")
    context.height, context.width = planes[0].shape[0] * 2 // 3, planes[0].shape[1]
    context.pix_fmt, context.time_base, context.thread_count = "yuv420p", Fraction(1, 30), 1
    context.options = options(X264, DEFAULT_PRESET, DEFAULT_CRF)
    frames = [av.VideoFrame.from_ndarray(each, format="yuv420p") for each in planes]
    for place, frame in enumerate(frames):
        frame.pts = place
    return context, frames
