"""The messages and records that the golden vectors show. `test_vectors.py` writes and checks them."""

from __future__ import annotations

import math
import struct

from msgspec.structs import replace

from offcam_proto import messages as msg
from offcam_proto.codec import pack_record
from offcam_proto.layout import FrameLayout
from offcam_proto.limits import MAX_FRAME_BYTES, MAX_INT, PROTOCOL_VERSION
from offcam_proto.pushing import ClipElsewhere, ClipsGone
from offcam_proto.records import ClipRecord, EpisodeColumns, EpisodeRecord, KeepRecord, Record, StepRecord
from offcam_proto.resuming import RunReply, RunRequest, pack_episodes
from offcam_proto.saving import SaveClip

SESSION = bytes(range(16))
STREAM = bytes(range(16, 32))
INSTANCE = bytes(range(32, 48))
STARTED = 1767225600.5

EPISODE = EpisodeRecord(0, 41, 187.5, 200, 3.25, STARTED, False, True, 7)
CLIP = ClipRecord(
    3, "rl-video-episode-27", 1, 27, 5400, 200, 187.5, 201, {"credit": 2, "timeout": 1}, 30.0, STARTED, True
)
COLUMNS = EpisodeColumns(
    2,
    STARTED,
    struct.pack("<4I2d2I2d4B2q2B", 3, 4095, 0, 41, 20.0, -math.inf, 20, 1, 0.25, 0.5, 1, 0, 0, 1, 0, -7, 0, 1),
)

STEPS = StepRecord(
    0, 2, 5427, 1, 27, 28, '[2, [["episode", "<i8"], ["reward", "<f8"]]]', struct.pack("<2q2d", 27, 28, 1.0, math.nan)
)

RECORDS: dict[str, Record] = {
    "episode": EPISODE,
    "episode-of-a-sub-environment": EpisodeRecord(12, 3, -1.0, 1, 0.001, STARTED, True, False, None),
    "episode-nan-return": EpisodeRecord(0, 0, math.nan, 1, 0.5, STARTED, True, False, 0),
    "episode-infinite-return": EpisodeRecord(0, 1, -math.inf, 10, 0.5, STARTED, True, True, -1),
    "episode-seed-beyond-63-bits": EpisodeRecord(0, 2, 0.0, 5, 0.5, STARTED, True, False, str(2**127 - 1)),
    "episode-largest-integers": EpisodeRecord(MAX_INT, MAX_INT, 1e308, MAX_INT, 0.0, 0.0, True, False, MAX_INT),
    "episode-smallest-seed": EpisodeRecord(0, 0, -0.0, 0, 0.0, 0.0, False, False, -MAX_INT),
    "episode-with-values": replace(EPISODE, info={"is_success": 1.0, "distance": -2.5}),
    "episodes-as-columns": COLUMNS,
    "episodes-as-columns-with-values": replace(
        COLUMNS, columns=COLUMNS.columns + struct.pack("<4d", 1, 0, 0.5, math.nan), names=("is_success", "distance")
    ),
    "episodes-as-columns-none-seeded": replace(COLUMNS, columns=COLUMNS.columns[:-18]),
    "episodes-as-columns-a-count-of-two-bytes": EpisodeColumns(128, STARTED, bytes(30 * 128)),
    "clip": CLIP,
    "clip-nothing-dropped": ClipRecord(0, "rl-video-step-0", 1, 0, 0, 0, 0.0, 1, {}, 12.5, STARTED, False),
    "clip-second-part": ClipRecord(9, "película-episode-8", 2, 8, 800, 64, math.nan, 64, {}, 30.0, STARTED, True),
    "clip-beside-steps": replace(CLIP, first_row=5427),
    "clip-that-diverged": replace(CLIP, first_row=5427, diverged=(17, "the reward is another one")),
    "clip-of-an-error": replace(CLIP, unended="ended by an error: ValueError: the wheel fell off"),
    "steps": STEPS,
    "steps-with-a-heap": StepRecord(
        0, 0, 0, 2, 0, 0, '[0, [["episode", "<i8"], ["action", "bytes"]]]', struct.pack("<qIqI", 0, 0, 0, 3), b"\xa2up"
    ),
    "keep": KeepRecord("rl-video-episode-27", 187.5, 200, 5, True),
    "keep-not-played-to-its-end": KeepRecord("película-episode-8", math.nan, 0, 0, False),
    "keep-of-a-video-to-be-rendered": KeepRecord(
        "rl-video-episode-27",
        187.5,
        200,
        1,
        True,
        '["or",["test",0,"failures()"],["worst",3]]',
        2**30,
        '{"first_row":5427,"last_row":5627,"episode":27,"step":5400,"fps":50.0,"max_size":[0,0],"crf":null,"preset":"",'
        '"every":1}',
    ),
    "clip-all-dropped": ClipRecord(1, "v", 1, 0, 0, 5, 5.0, 5, {"no_daemon": 5}, 50.0, STARTED, True),
}

_HELLO = msg.Hello(msg.Hello.MAGIC, PROTOCOL_VERSION, SESSION, 4242, "node7", "offcam/0.1.0 python/3.12")
_OPEN_STREAM = msg.OpenStream(
    1, STREAM, "/home/ada/runs/lander", "rl-video", 0, True, "LunarLander-v3", 1, False, STARTED
)
_ELSEWHERE = ClipElsewhere(
    1, 3, "rl-video-episode-27.mp4", "node7:/scratch/lander", "final", "rl-video-episode-27", 1, 30.0, 600, 400, 6.6,
    81_920, 27, 5400, 200, 187.5, True, 201, 198, 198, {"credit": 2, "timeout": 1}, STARTED, STARTED + 9, (), "best 3",
)  # fmt: skip
_BARE_STREAM = msg.OpenStream(2, STREAM, "/srv/läufe", "", 0, False, "CartPole-v1", 16, True, STARTED)

# A 2 x 3 RGB frame, as classic control returns it: a transposed view of a (3, 2, 3) block.
_TRANSPOSED = FrameLayout((2, 3, 3), (3, 6, 1), 0, 18)
_FLIPPED = FrameLayout((2, 3, 3), (-9, 3, 1), 9, 18)
_GREY = FrameLayout((2, 3), (3, 1), 0, 6)
_PIXELS = bytes(range(0, 180, 10))

CLIENT: dict[str, msg.ClientMessage] = {
    "hello": _HELLO,
    "open-stream": _OPEN_STREAM,
    "open-stream-without-video": _BARE_STREAM,
    "open-stream-again-with-its-suffix": msg.OpenStream(
        3, STREAM, "/r", "rl-video", 2, True, "ALE/Breakout-v5", 1, False, STARTED
    ),
    "open-clip": msg.OpenClip(1, 0, "rl-video-episode-0", 1, 50.0, 1, 1, 0, 0, STARTED, 720_000),
    "open-clip-grid": msg.OpenClip(1, 4, "rl-video-step-1000", 2, 29.97, 2, 4, 12, 1000, STARTED, 168),
    "open-clip-of-two-of-many": msg.OpenClip(1, 5, "v-episode-3", 1, 30.0, 2, 1, 3, 0, STARTED, 168, (7, 4095)),
    "open-clip-that-is-to-be-small": msg.OpenClip(
        1, 6, "v-episode-4", 1, 30.0, 1, 1, 4, 0, STARTED, 720_000, (), 320, 240, "medium", 28
    ),
    "open-clip-that-a-rule-judges": msg.OpenClip(
        1, 7, "v-episode-5", 1, 30.0, 1, 1, 5, 0, STARTED, 720_000, (), 0, 0, "", None, '["best",3]', 2**30
    ),
    "open-clip-that-is-a-ring": msg.OpenClip(
        1, 8, "rl-video-vanished", 1, 30.0, 1, 1, 0, 0, STARTED, 720_000, ring_seconds=30.0
    ),
    "open-clip-that-is-wanted-at-once": msg.OpenClip(
        1, 11, "v-episode-6", 1, 30.0, 1, 1, 6, 0, STARTED, 720_000, urgent=True
    ),
    "save-clip": SaveClip(1, 8, 9, "rl-video-error-step-5400", "error", 27, 5400, STARTED, 5428, 900, 0),
    "save-clip-with-what-follows": SaveClip(1, 8, 10, "v-näher-step-0", "näher", 0, 0, STARTED, 1, 900, 150),
    "clips-gone": ClipsGone(1, (0, 2, 4, 4, 9, MAX_INT)),
    "clip-elsewhere": _ELSEWHERE,
    "clip-elsewhere-that-was-cut-off": replace(
        _ELSEWHERE,
        place="s3://bucket/runs/walker",
        state="recovered",
        steps=None,
        rewards=math.nan,
        complete=False,
        offered=0,
        received=25,
        encoded=25,
        dropped={},
        envs=(7, 4095),
        reason="",
        diverged=(4, "another reward"),
    ),
    "frame-transposed": msg.Frame(1, 0, 0, (_TRANSPOSED,), (_PIXELS,)),
    "frame-flipped-after-a-gap": msg.Frame(1, 0, 70_000, (_FLIPPED,), (_PIXELS,)),
    "frame-grey-tiles": msg.Frame(1, 4, 1, (_GREY,) * 3, (_PIXELS[:6], _PIXELS[6:12], _PIXELS[12:])),
    "open-arena": msg.OpenArena(1, 17, INSTANCE, 720_896, 23),
    "slot-frame": msg.SlotFrames(1, 0, (_TRANSPOSED,), ((3, 0),)),
    "slot-frames-after-a-gap": msg.SlotFrames(1, 0, (_GREY, _GREY), ((4, 1), (5, 0), (9, 2))),
    "frame-one-pixel": msg.Frame(1, 0, 1, (FrameLayout((1, 1, 4), (4, 4, 1), 0, 4),), (b"\xff\x00\x00\xff",)),
    "records-one": msg.Records(1, 1, (pack_record(EPISODE),)),
    "records-replay": msg.Records(1, 300, (pack_record(EPISODE), pack_record(CLIP))),
    "records-as-columns": msg.Records(1, 300, (pack_record(COLUMNS), pack_record(EPISODE))),
    "records-poison": msg.Records(1, 2, (b"\xc1",)),
    "end-clip": msg.EndClip(1, 0, True),
    "end-clip-cut-off": msg.EndClip(1, 300, False),
    "close-stream": msg.CloseStream(1),
    "flush": msg.Flush(1),
    "stats-request": msg.StatsRequest(2),
    "run-request": RunRequest(3, "/home/ada/runs/lander", "rl-video"),
    "run-request-without-video": RunRequest(4, "/srv/läufe", ""),
    "goodbye-of-a-client": msg.Goodbye("the client is done"),
}

SERVER: dict[str, msg.ServerMessage] = {
    "welcome": msg.Welcome(PROTOCOL_VERSION, INSTANCE, 999, MAX_FRAME_BYTES),
    "refused": msg.Refused("version", PROTOCOL_VERSION, "install the same offcam on both sides"),
    "say-hello": msg.SayHello(),
    "stream-opened": msg.StreamOpened(1, 0, 0, 64 * 2**20),
    "stream-opened-again": msg.StreamOpened(1, 299, 2, 0),
    "stream-refused": msg.StreamRefused(2, "folder", "cannot write /srv/läufe: Read-only file system"),
    "credit": msg.Credit(1, 720_000, False),
    "credit-saturated": msg.Credit(1, 0, True),
    "ack": msg.Ack(1, 300),
    "clip-done": msg.ClipDone(1, 0, "rl-video-episode-0.mp4", 201, ""),
    "clip-done-failed": msg.ClipDone(1, 1, "", 0, "No space left on device"),
    "flushed-some-left": msg.Flushed(1, 2, 150),
    "flushed": msg.Flushed(1, 0, 0),
    "stats-reply": msg.StatsReply(2, b'{"pid": 999, "clients": 1}'),
    "run-reply": RunReply(3, True, 0, 5400, "", "", pack_episodes({0: 27})),
    "run-reply-of-a-vector-env": RunReply(4, True, 2, MAX_INT, "", "", pack_episodes({4095: MAX_INT, 0: 41})),
    "run-reply-no-run": RunReply(5, False, 0, 0, "", "", b""),
    "run-reply-refused": RunReply(6, False, 0, 0, "format", "upgrade offcam to open it", b""),
    "again": msg.Again(2),
    "goodbye-of-a-daemon": msg.Goodbye("stopping"),
    "arena-reply": msg.ArenaReply(1, True, 31),
    "arena-reply-without-spool": msg.ArenaReply(1, True, 0),
    "arena-reply-unusable": msg.ArenaReply(2, False, 0),
}
