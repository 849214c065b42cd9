"""Odd data is stored, converted, or set aside with a reason; whatever it is, the stream goes on."""

from __future__ import annotations

import json
import math
import os
import sys
from fractions import Fraction

import numpy as np
import pytest
import zmq
from scenes import TESTS, over, python

import films
import offcam
import offcam.vector
from envs import Barcode, play
from offcam_proto.client_session import ClientSession, State
from offcam_proto.layout import FrameLayout
from offcam_proto.messages import Flushed, OpenClip, OpenStream, Records
from offcam_proto.records import ClipRecord, EpisodeRecord
from offcam_runs.run import read_run
from offcamd.cli.query import ask_stats
from waiting import wait_until

LENGTH = 5


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


class Scalar:
    """Like a torch tensor of one number: it adds to a float, gives a tensor then, and can be made a float."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return float(self.value)

    def __radd__(self, other):
        return Scalar(float(other) + self.value)

    def __add__(self, other):
        return Scalar(self.value + float(other))

    def __bool__(self) -> bool:
        return bool(self.value)


class Pair(Scalar):
    """Like a torch tensor of two numbers."""

    def __float__(self) -> float:
        raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")

    def __radd__(self, other):
        return self

    def __add__(self, other):
        return self


class Odd(Barcode):
    """Its rewards, ends and infos are what it is told."""

    reward: object = 1.0
    info: dict
    as_flag: type = bool

    def step(self, action):
        observation, _, terminated, truncated, _ = super().step(action)
        return observation, self.reward, self.as_flag(terminated), self.as_flag(truncated), self.info or {}


def odd(folder, **attributes):
    bare = Odd(LENGTH)
    bare.info = {}
    for name, value in attributes.items():
        setattr(bare, name, value)
    return bare, offcam.record(bare, str(folder), every=1, overflow="block")


def require_that_it_goes_on(folder, bare, env) -> list:
    """Play an ordinary episode after the odd ones; returns the rows of those."""
    bare.reward, bare.info, bare.as_flag = 1.0, {}, bool
    play(env)
    env.close()
    films.check(folder)
    *rows, last = films.episodes(folder)
    assert (last.return_, last.length) == (LENGTH, LENGTH)
    assert read_run(folder, "all").quarantined == 0
    for clip in films.clips(folder).values():
        assert films.numbers(folder / clip.file) == list(range(LENGTH + 1))
    return rows


REWARDS = {
    "nan": (math.nan, math.nan),
    "inf": (math.inf, math.inf),
    "-inf": (-math.inf, -math.inf),
    "2**64": (2**64, LENGTH * 2.0**64),
    "1e308": (1e308, math.inf),
    "float16": (np.float16(0.5), 2.5),
    "float32": (np.float32(0.5), 2.5),
    "int8": (np.int8(-3), -15),
    "uint64": (np.uint64(2**63), LENGTH * 2.0**63),
    "bool": (np.bool_(True), LENGTH),
    "fraction": (Fraction(1, 2), 2.5),
    "0-d array": (np.array(2.0), 10),
    "array of one": (np.array([2.0]), 10),
    "array of two": (np.array([2.0, 3.0]), math.nan),
    "complex": (1 + 2j, math.nan),
    "torch-like": (Scalar(0.5), 2.5),
    "torch-like of two": (Pair(0.5), math.nan),
}


@pytest.mark.filterwarnings("ignore:.*overflow:RuntimeWarning")
def test_rewards(folder, daemon):
    bare, env = odd(folder)
    for reward, _ in REWARDS.values():
        bare.reward = reward
        play(env)
    rows = require_that_it_goes_on(folder, bare, env)
    assert len(rows) == len(REWARDS)
    for (name, (_, expected)), row in zip(REWARDS.items(), rows, strict=True):
        assert row.return_ == pytest.approx(expected, nan_ok=True), name
    json.dumps(read_run(folder, "all").as_dict(), allow_nan=False)
    clips = list(films.clips(folder).values())
    for (name, (_, expected)), clip in zip(REWARDS.items(), clips, strict=False):
        assert clip.return_ == pytest.approx(expected, nan_ok=True), name


@pytest.mark.parametrize("kind", [np.bool_, int, Scalar], ids=["numpy", "int", "torch-like"])
def test_flags(folder, daemon, kind):
    bare, env = odd(folder, as_flag=kind)
    play(env, 2)
    rows = require_that_it_goes_on(folder, bare, env)
    assert [(row.terminated, row.truncated, row.length) for row in rows] == [(True, False, LENGTH)] * 2


def circular() -> dict:
    info: dict = {"deep": []}
    info["self"] = info
    info["deep"].append(info["deep"])
    return info


def deep() -> dict:
    info: dict = {}
    for _ in range(10 * sys.getrecursionlimit()):
        info = {"deeper": info}
    return info


@pytest.mark.parametrize("make", [circular, deep, lambda: {"huge": bytes(10**8)}, lambda: {b"\xff": "\ud800"}])
def test_infos(folder, daemon, make):
    """They are the agent's own and handed through untouched."""
    bare, env = odd(folder)
    bare.info = info = make()
    assert play(env)[0] is info
    del info["episode"]
    assert play(env)[0] is info
    assert len(require_that_it_goes_on(folder, bare, env)) == 2


class Rude:
    """Something whose picture in text is not Unicode."""

    def __repr__(self) -> str:
        return "\ud800" * 1000


@pytest.mark.parametrize(
    ("seed", "stored"),
    [
        (2**64, str(2**64)),
        (-(2**100), str(-(2**100))),
        (10**5000, hex(10**5000)[:200]),
        (np.int64(7), 7),
        (np.uint64(2**64 - 1), str(2**64 - 1)),
        ("a\ud800\0b", r"'a\ud800\x00b'"),
        (Rude(), (r"\ud800" * 1000)[:200]),
        ([1, 2], "[1, 2]"),
    ],
    ids=["2**64", "negative", "5000 digits", "int64", "uint64", "surrogate", "rude", "list"],
)
def test_seeds(folder, daemon, seed, stored, monkeypatch):
    bare, env = odd(folder)
    monkeypatch.setattr(bare, "reset", lambda *, seed=None, options=None: Odd.reset(bare))  # an env that takes any
    env.reset(seed=seed)
    for _ in range(LENGTH):
        env.step(0)
    (row,) = require_that_it_goes_on(folder, bare, env)
    assert row.seed == stored


# --- names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a\ud800b-v0", "nul\0-v0", "x" * 5000, "../../etc", "日本語" * 100, "\U0001f916" * 300]
)
def test_env_ids(tmp_path, daemon, name, recwarn):
    bare = Barcode(LENGTH)
    bare.spec = type("Spec", (), {"id": name, "max_episode_steps": None})()
    env = offcam.RecordEpisodeStatistics(bare)
    play(env, 2)
    assert env.flush()
    env.close()
    (run,) = (tmp_path / "offcam-runs").iterdir()
    listing = read_run(run, "all")
    assert [row.length for row in listing.episodes] == [LENGTH, LENGTH]
    readable = name.encode(errors="backslashreplace").decode().replace("\0", "\\0")
    assert readable.startswith(listing.streams[0].env_id[:150])
    assert not recwarn.list


@pytest.mark.parametrize("name", ["a\ud800", "nul\0", "a/b", "..", "", "x" * 300])
def test_names_of_videos_are_refused_before_anything_is_recorded(folder, daemon, name):
    with pytest.raises(offcam.OffcamError, match="name_prefix"):
        offcam.RecordVideo(Barcode(LENGTH), str(folder), name_prefix=name)
    env = offcam.RecordVideo(Barcode(LENGTH), str(folder), lambda _: False)
    env.reset()
    with pytest.raises(offcam.OffcamError, match="video_name"):
        env.start_recording(name)
    env.start_recording("fine")
    env.step(0)
    env.close()
    assert films.videos(folder) == ["fine.mp4"]


def test_a_folder_that_is_no_unicode_never_raises_into_the_loop(tmp_path, daemon, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "a\udcffb"))
    env = offcam.RecordEpisodeStatistics(Barcode(LENGTH))
    with pytest.warns(UserWarning, match="kept in this process only"):  # noqa: PT031 - whichever hears of it first
        infos = play(env, 2)
        env.close()
    assert [info["episode"]["l"] for info in infos] == [LENGTH, LENGTH]


# --- clocks ---------------------------------------------------------------------------------------------------

HOUR = 3600.0
JUMPING = f"""
import itertools, time
real, jumps = time.time, itertools.cycle([0.0, {HOUR}, -{HOUR}, 0.0, 1e6 * {HOUR}])
time.time = lambda: real() + next(jumps)
"""
AGENT = """
import sys, offcam
from envs import Barcode, play
env = offcam.record(Barcode(5), sys.argv[1], every=1, overflow="block")
began = time.perf_counter()
play(env, 6)
print(time.perf_counter() - began)
env.close()
"""


def test_clocks_that_jump(folder, serve, endpoint, tmp_path, monkeypatch):
    """Of the client and of the daemon: durations stay right, and every wait has its end."""
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    script = tmp_path / "jumping_daemon.py"
    script.write_text(f"{JUMPING}\nimport sys\nsys.path.insert(0, {str(TESTS / 'peers')!r})\n"
                      "sys.argv[1:] = ['0.0']\nimport slow_daemon\nslow_daemon.main()\n")  # fmt: skip
    serve(script=script, fresh=True)
    with python(JUMPING + AGENT, folder) as agent:
        out, error = agent.communicate()
    assert agent.returncode == 0, error
    rows = films.episodes(folder)
    assert len(rows) == 6
    assert all(row.duration > 0 for row in rows)
    assert sum(row.duration for row in rows) <= float(out)
    for clip in films.clips(folder).values():
        assert clip.duration == pytest.approx(6 / 30)
        assert 0 <= clip.encode_seconds < HOUR
    assert 0 <= ask_stats(endpoint)["uptime_seconds"] < HOUR
    films.check(folder)


# --- clips without frames -------------------------------------------------------------------------------------


def test_a_clip_without_frames_makes_no_file_and_harms_no_older_one(folder, daemon):
    env = offcam.RecordVideo(Barcode(LENGTH), str(folder), lambda _: False)
    env.reset()
    env.start_recording("older")
    for _ in range(LENGTH):
        env.step(0)
    env.stop_recording()
    assert env.flush()
    before = (folder / "older.mp4").stat()
    for name in ("older", "never"):
        env.start_recording(name)
        with pytest.warns(UserWarning, match="zero frames"):
            env.stop_recording()
    env.close()
    after = (folder / "older.mp4").stat()
    assert (before.st_mtime_ns, before.st_ino, before.st_size) == (after.st_mtime_ns, after.st_ino, after.st_size)
    assert films.videos(folder) == ["older.mp4"]
    assert list(films.clips(folder)) == ["older.mp4"]
    films.check(folder)


# --- a peer of its own that keeps to the protocol's form, but not to its sense -------------------------------


class Peer:
    """A client without any of the client's care."""

    def __init__(self, address: str, folder, after: Peer | None = None) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(address)
        self.identity = after.identity if after else os.urandom(16)
        self.session = ClientSession(os.urandom(16), pid=1, host="here", client="rude/1")
        self.session.connect()
        self.flushed: set[int] = set()
        self.until(lambda: self.session.state is State.OPEN)
        self._open(folder, acked=after.stream._acked if after else 0)

    def _open(self, folder, acked: int) -> None:
        info = OpenStream(0, self.identity, str(folder), "raw", 0, True, "Raw-v0", 1, False, 1.0)
        self.stream = self.session.open_stream(info)
        self.stream._next_seq = acked + 1  # it was another session's before: its records go on from there
        self.until(lambda: self.stream.live or self.stream.refused)
        assert not self.stream.refused

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.session.close()
        self.send()
        self.socket.close(linger=1000)
        self.context.term()

    def send(self) -> None:
        for parts in self.session.take():
            self.socket.send_multipart(parts)

    def until(self, done) -> None:
        def look() -> bool:
            self.send()
            while self.socket.poll(0):
                message = self.session.receive(self.socket.recv_multipart())
                if isinstance(message, Flushed) and message.clips == 0:
                    self.flushed.add(message.token)
            return done()

        wait_until(look, "the daemon answered")

    def clip(self, number: int, indices: list[int], name: str = "") -> None:
        name = name or f"clip{number}"
        self.stream.open_clip(OpenClip(self.stream.info.handle, number, name, 1, 30.0, 1, 1, number, 0, 1.0, 48))
        self.send()
        layout = FrameLayout((4, 4, 3), (12, 3, 1), 0, 48)
        for index in indices:
            parts = self.stream.frame(number, index, (layout,), (bytes([index % 256]) * 48,))
            assert parts is not None
            self.socket.send_multipart(parts)
        self.stream.end_clip(number, complete=True)
        record = ClipRecord(number, name, 1, number, 0, len(indices), 0.0, len(indices), {}, 30.0, 1.0, True)
        self.stream.record(record)

    def settle(self) -> None:
        token = self.session.flush()
        self.until(lambda: token in self.flushed and not self.stream.unacked)


@pytest.fixture
def peer(folder, daemon):
    folder.mkdir()
    with Peer(daemon.address, folder) as opened:
        yield opened


@pytest.mark.parametrize(("indices", "kept"), [([0, 1, 1, 2], 2), ([0, 2, 1, 3], 2), ([5, 5, 5], 1), ([0, 0], 1)])
def test_frame_indices_that_do_not_grow(folder, peer, daemon, indices, kept):
    """The peer is refused with the reason, what came before is kept, and its stream goes on in a new session."""
    peer.stream.record(EpisodeRecord(0, 0, 1.0, 3, 0.1, 1.0, True, False, None))
    peer.settle()
    peer.clip(0, indices)
    peer.until(lambda: peer.session.refused)
    assert peer.session.refused.code == "malformed"
    assert peer.session.refused.text.startswith("frame ")
    wait_until(lambda: over(folder), "the clip was ended")
    with Peer(daemon.address, folder, after=peer) as again:
        again.clip(1, [0, 1, 2])
        again.stream.record(EpisodeRecord(0, 1, 1.0, 3, 0.1, 1.0, True, False, None))
        again.settle()
    first, second = films.clips(folder).values()
    assert (first.state, first.frames, first.received) == ("aborted", kept, kept)
    assert (second.state, second.frames, second.dropped) == ("final", 3, {})
    assert [row.episode for row in films.episodes(folder)] == [0, 1]
    films.check(folder)


def test_frame_indices_with_gaps(folder, peer):
    """A gap is time in which nothing was sent; an absurd one is no reason to stop, nor to fill a disk."""
    peer.clip(0, [0, 1, 2**40, 2**40 + 1])
    peer.clip(1, [0, 1, 2])
    peer.settle()
    first, second = films.clips(folder).values()
    assert first.frames + sum(first.dropped.values()) == first.offered == 4
    assert second.frames == 3
    assert sum(path.stat().st_size for path in folder.glob("*.mp4*")) < 10**6


def test_a_raw_clip_without_frames(folder, peer):
    peer.clip(0, [0, 1], name="same")
    peer.settle()
    before = (folder / "same.mp4").read_bytes()
    peer.clip(1, [], name="same")
    peer.clip(2, [0, 1])
    peer.settle()
    assert (folder / "same.mp4").read_bytes() == before
    assert films.videos(folder) == ["clip2.mp4", "same.mp4"]


def test_records_that_nobody_understands_are_set_aside(folder, peer):
    bodies = (b"", b"\xc1", b"\x93\x01\x02\x03", b"\x81\xa1k\x63")
    for place, body in enumerate(bodies):
        seq = peer.stream._next_seq  # what `record` does, but for the body
        peer.stream.backlog.append(seq, (body,))
        peer.stream._next_seq += 1
        peer.session.outbox.send(Records(peer.stream.info.handle, seq, (body,)))
        peer.stream.record(EpisodeRecord(0, place, 1.0, 3, 0.1, 1.0, True, False, None))
    peer.clip(0, [0, 1, 2])
    peer.settle()
    listing = read_run(folder, "all")
    assert [row.episode for row in listing.episodes] == [0, 1, 2, 3]
    assert listing.quarantined == len(bodies)
    assert next(iter(films.clips(folder).values())).frames == 3
