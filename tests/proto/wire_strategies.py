"""Hypothesis strategies: any valid message and record, and bytes that once were one."""

from __future__ import annotations

import math
import posixpath
import string

import msgpack
from hypothesis import strategies as st

from offcam_proto import codec, limits
from offcam_proto import messages as msg
from offcam_proto.layout import FrameLayout
from offcam_proto.limits import MAX_INT, PROTOCOL_VERSION
from offcam_proto.pushing import WHOLE_STATES, ClipElsewhere, ClipsGone
from offcam_proto.records import ClipRecord, EpisodeColumns, EpisodeRecord, KeepRecord, StepRecord
from offcam_proto.resuming import RunReply, RunRequest, pack_episodes
from offcam_proto.saving import SaveClip


def _in_order(pairs):
    return tuple(sorted(number for pair in pairs for number in pair))


uints = st.one_of(st.integers(0, 300), st.integers(0, MAX_INT))
positives = uints.map(lambda number: max(number, 1))
flags = st.booleans()
reals = st.floats()
ids = st.binary(min_size=16, max_size=16)


def texts(limit: int = limits.MAX_TEXT_BYTES, alphabet: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[str]:
    """Text without NUL and surrogates; mostly short, sometimes as long as it may be."""
    chars = alphabet if alphabet is not None else st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    short = st.text(chars, max_size=20).filter(lambda text: len(text.encode()) <= limit)
    return short | st.just("x" * limit)


names = texts(
    limits.MAX_NAME_BYTES, st.characters(exclude_categories=["Cs"], exclude_characters="\0/\\")
).filter(lambda name: name not in ("", ".", ".."))  # fmt: skip
folders = (
    texts(limits.MAX_PATH_BYTES - 1)
    .map(lambda text: posixpath.normpath(f"/{text}"))
    .filter(lambda path: not path.startswith("//"))
)
counts = st.dictionaries(
    st.text(string.ascii_lowercase, max_size=64), st.integers(0, 2**40), max_size=limits.MAX_COUNTS
)

value_names = texts(limits.MAX_VALUE_NAME_BYTES)

episode_records = st.builds(
    EpisodeRecord, uints, uints, reals, uints, reals, reals, flags, flags,
    st.none() | st.integers(-MAX_INT, MAX_INT) | texts(limits.MAX_SEED_BYTES),
    st.dictionaries(value_names, reals, max_size=limits.MAX_EPISODE_VALUES),
)  # fmt: skip


@st.composite
def clip_records(draw: st.DrawFn) -> ClipRecord:
    dropped = draw(counts)
    return ClipRecord(
        draw(uints), draw(names), draw(positives), draw(uints), draw(uints), draw(uints), draw(reals),
        sum(dropped.values()) + draw(st.integers(0, 2**40)), dropped, draw(reals), draw(reals), draw(flags),
        draw(st.none() | uints), draw(st.just(()) | st.tuples(uints, texts(99))), draw(texts(99)),
    )  # fmt: skip


@st.composite
def episode_columns(draw: st.DrawFn) -> EpisodeColumns:
    count = draw(st.integers(1, 9) | st.sampled_from([127, 128, 255, 256, limits.MAX_EPISODES_PER_BODY]))
    names = tuple(draw(st.lists(value_names, max_size=2, unique=True)))
    size = draw(st.sampled_from([30, 39])) + 8 * len(names)
    return EpisodeColumns(count, draw(reals), draw(st.binary(min_size=size, max_size=size)) * count, names)


keep_records = st.builds(KeepRecord, names, reals, uints, uints, flags, texts(), uints, texts())


@st.composite
def step_records(draw: st.DrawFn) -> StepRecord:
    count, size = draw(st.integers(1, 50)), draw(st.integers(0, 40))
    first, last = sorted((draw(uints), draw(uints)))
    rows = draw(st.binary(min_size=size, max_size=size)) * count
    return StepRecord(
        draw(uints), draw(uints), draw(uints), count, first, last, draw(texts()), rows, draw(st.binary(max_size=99))
    )


records = episode_records | clip_records() | episode_columns() | keep_records | step_records()


@st.composite
def layouts(draw: st.DrawFn) -> FrameLayout:
    """A permuted, flipped and perhaps spaced block of pixels in a buffer that may be larger."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([0, 1, 3, 4])))
    shape = shape if shape[2] else shape[:2]
    stride = draw(st.integers(1, 3))
    strides, low = [0] * len(shape), 0
    for axis in draw(st.permutations(range(len(shape)))):
        strides[axis] = -stride if draw(flags) else stride
        low -= min((shape[axis] - 1) * strides[axis], 0)
        stride *= shape[axis]
    offset = low + draw(st.integers(0, 4))
    high = offset + sum(max((length - 1) * step, 0) for length, step in zip(shape, strides, strict=True))
    return FrameLayout(tuple(shape), tuple(strides), offset, high + 1 + draw(st.integers(0, 4)))


@st.composite
def frames(draw: st.DrawFn) -> msg.Frame:
    tiles = tuple(draw(st.lists(layouts(), min_size=1, max_size=4)))
    pixels = tuple(draw(st.binary(min_size=tile.nbytes, max_size=tile.nbytes)) for tile in tiles)
    return msg.Frame(draw(uints), draw(uints), draw(uints), tiles, pixels)


slot_frames = st.builds(
    msg.SlotFrames, uints, uints, st.lists(layouts(), min_size=1, max_size=4).map(tuple),
    st.lists(st.tuples(uints, st.integers(0, limits.MAX_ARENA_SLOTS - 1)), min_size=1, max_size=4).map(tuple),
)  # fmt: skip
arenas = st.builds(msg.OpenArena, uints, uints, ids, st.integers(1, 2**16), st.integers(1, limits.MAX_ARENA_SLOTS))


hellos = st.builds(msg.Hello, st.just(msg.Hello.MAGIC), st.just(PROTOCOL_VERSION) | uints, ids, uints, texts(), texts())
sides = st.integers(1, limits.MAX_PIXEL_PARTS)
fps = st.floats(0, 1000, exclude_min=True)
bodies = st.lists(records.map(codec.pack_record) | st.binary(max_size=40), min_size=1, max_size=4).map(tuple)
small = st.integers(1, 300)
goodbyes = st.builds(msg.Goodbye, texts())

client_messages = st.one_of(
    hellos,
    st.builds(msg.OpenStream, uints, ids, folders, st.just("") | names, uints, flags, texts(), positives, flags, reals),
    st.builds(
        msg.OpenClip, uints, uints, names, positives, fps, sides, sides, uints, uints, reals,
        st.integers(0, limits.MAX_FRAME_BYTES), st.lists(uints, max_size=5).map(tuple),
        st.integers(0, limits.MAX_FRAME_SIDE), st.integers(0, limits.MAX_FRAME_SIDE),
        st.sampled_from(["", *limits.PRESETS]), st.none() | st.integers(0, limits.MAX_CRF), texts(), uints,
        st.floats(0, limits.MAX_RING_SECONDS), flags,
    ),
    frames(),
    arenas,
    slot_frames,
    st.builds(msg.Records, uints, small | st.just(MAX_INT - 4 * limits.MAX_EPISODES_PER_BODY), bodies),
    st.builds(msg.EndClip, uints, uints, flags),
    st.builds(SaveClip, uints, uints, uints, names, texts(), uints, uints, reals, uints, uints, uints),
    st.builds(
        ClipElsewhere, uints, uints, names, texts(), st.sampled_from(WHOLE_STATES), names, positives, reals, uints,
        uints, reals, uints, uints, uints, st.none() | uints, reals, flags, uints, uints, uints, counts, reals, reals,
        st.lists(uints, max_size=5).map(tuple), texts(), st.just(()) | st.tuples(uints, texts()),
    ),
    st.builds(ClipsGone, uints, st.lists(st.tuples(uints, uints), min_size=1, max_size=5).map(_in_order)),
    st.builds(msg.CloseStream, uints),
    st.builds(msg.Flush, uints),
    st.builds(msg.StatsRequest, uints),
    st.builds(RunRequest, uints, folders, st.just("") | names),
    goodbyes,
)  # fmt: skip

server_messages = st.one_of(
    st.builds(msg.Welcome, uints, ids, uints, uints),
    st.builds(msg.Refused, texts(), uints, texts()),
    st.builds(msg.SayHello),
    st.builds(msg.StreamOpened, uints, uints, uints, uints),
    st.builds(msg.StreamRefused, uints, texts(), texts()),
    st.builds(msg.Credit, uints, uints, flags),
    st.builds(msg.Ack, uints, uints),
    st.builds(msg.ClipDone, uints, uints, texts(), uints, texts()),
    st.builds(msg.Flushed, uints, uints, uints),
    st.builds(msg.StatsReply, uints, st.binary(max_size=200)),
    st.builds(
        RunReply,
        uints,
        flags,
        uints,
        uints,
        texts(),
        texts(),
        st.dictionaries(uints, uints, max_size=5).map(pack_episodes),
    ),
    st.builds(msg.Again, uints),
    st.builds(msg.ArenaReply, uints, flags, uints),
    goodbyes,
)


# --- bytes that once were a message -----------------------------------------------------------------------


def _deep(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


odd_values = st.one_of(
    st.none(),
    flags,
    st.sampled_from([-(2**63), -1, 0, 1, 2**63 - 1, 2**63, 2**64 - 1]),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0]),
    st.sampled_from(["", "..", "/", "a\0b", "x" * 5000, "\U0001f3a5"]),
    st.sampled_from([b"", b"\x00", bytes(16), b"x" * 70_000]),
    st.sampled_from([[], {}, [[]], {"a": 1}, {b"a": b"b"}, _deep(500), [0] * 5000, [b"a"] * 1025]),
    st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=8)),
    st.builds(msgpack.Timestamp, st.integers(0, 2**32), st.integers(0, 10**9 - 1)),
)


@st.composite
def _altered(draw: st.DrawFn, value: object) -> object:
    """The value with one element at some depth replaced, removed, doubled or added."""
    if not isinstance(value, list) or not value or draw(st.integers(0, 5)) == 0:
        return draw(odd_values)
    place = draw(st.integers(0, len(value) - 1))
    match draw(st.sampled_from(["into", "into", "remove", "double", "add"])):
        case "into":
            return [*value[:place], draw(_altered(value[place])), *value[place + 1 :]]
        case "remove":
            return [*value[:place], *value[place + 1 :]]
        case "double":
            return [*value[:place], value[place], *value[place:]]
        case _:
            return [*value[:place], draw(odd_values), *value[place:]]


@st.composite
def _scrambled(draw: st.DrawFn, data: bytes) -> bytes:
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 8)))
    return data[:start] + draw(st.binary(max_size=8)) + data[end:]


@st.composite
def mutated(draw: st.DrawFn, messages: st.SearchStrategy[msg.Message]) -> list[bytes]:
    """The parts of a message after something happened to them."""
    parts = [bytes(part) for part in codec.encode(draw(messages))]
    match draw(st.sampled_from(["field", "field", "field", "bytes", "bytes", "parts"])):
        case "field":
            parts[0] = msgpack.packb(draw(_altered(msgpack.unpackb(parts[0]))))
        case "bytes":
            place = draw(st.integers(0, len(parts) - 1))
            parts[place] = draw(_scrambled(parts[place]))
        case _:
            parts = draw(st.lists(st.sampled_from([*parts, b"", b"\x00"]), max_size=6))
    return parts
