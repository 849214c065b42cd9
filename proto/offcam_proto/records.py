"""Records: what must not be lost. They are numbered per stream, kept by the client until acked, replayed."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, get_args

from offcam_proto import validation as check
from offcam_proto.errors import MalformedMessage
from offcam_proto.limits import MAX_EPISODES_PER_BODY
from offcam_proto.validation import Checked, FileName, Flag, PositiveInt, Real, Text, UInt


class EpisodeRecord(Checked, frozen=True):
    """One finished episode of one (sub-)environment.

    Attributes:
        env_index: index of the sub-environment, 0 for a single env.
        episode: 0-based number of the episode in this (sub-)environment, counting resets.
        return_: sum of the episode's rewards; NaN and the infinities are kept.
        length: number of steps.
        duration: seconds from reset to the last step, from a monotonic clock.
        started: seconds since the Unix epoch at reset.
        terminated: whether the last step ended in a terminal state.
        truncated: whether the last step was cut off.
        seed: the seed given to the reset, as text where it exceeds 63 bits, or None.
        info: what the last step's ``info`` said of the episode, by its keys; without those that are not known.
    """

    KIND: ClassVar[int] = 1

    env_index: UInt
    episode: UInt
    return_: Real
    length: UInt
    duration: Real
    started: Real
    terminated: Flag
    truncated: Flag
    seed: Annotated[int | str | None, check.seed]
    info: Annotated[dict[str, float], check.episode_values] = {}  # noqa: RUF012 - each struct has its own


class ClipRecord(Checked, frozen=True):
    """The client's account of one clip it has ended: with it, every offered frame is accounted for.

    Attributes:
        clip: number of the clip in its stream.
        name: video name without suffix, part or extension.
        part: 1, or higher where the frame size changed or the daemon was replaced within the video.
        episode: RecordVideo's episode id when the clip began.
        step: RecordVideo's step id when the clip began (-1 becomes 0: no step yet).
        steps: steps taken within the clip.
        return_: sum of the rewards of those steps (of sub-environment 0 in a vector env).
        offered: frames the wrapper captured for this clip.
        dropped: frames never sent, by reason. ``offered - sum(dropped)`` frames were sent.
        fps: frames per second of the video.
        started: seconds since the Unix epoch.
        complete: whether the clip ended as its owner meant it to, rather than being cut off.
        first_row: the row of the table of steps that its frame with the index 0 shows; the frame with the index
            n shows the n-th one behind it. None where no steps are recorded.
        diverged: of a replayed video, the step that differed from the recorded one (0 for the reset), and how it
            differed, for people; empty where none did.
        unended: why the last episode that it shows came to no end, for people; empty where it did, or nobody knows.
    """

    KIND: ClassVar[int] = 2

    clip: UInt
    name: FileName
    part: PositiveInt
    episode: UInt
    step: UInt
    steps: UInt
    return_: Real
    offered: UInt
    dropped: Annotated[dict[str, int], check.counts]
    fps: Real
    started: Real
    complete: Flag
    first_row: Annotated[int | None, check.optional_uint] = None
    diverged: Annotated[tuple[()] | tuple[int, str], check.divergence] = ()
    unended: Text = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if sum(self.dropped.values()) > self.offered:
            raise MalformedMessage(
                f"dropped {check.shown(self.dropped)} is more than the {self.offered} frames offered"
            )

    @property
    def sent(self) -> int:
        """Frames handed to the wire."""
        return self.offered - sum(self.dropped.values())


class KeepRecord(Checked, frozen=True):
    """What a rule needs to know of an episode that is over, to keep its video or let it go.

    Attributes:
        name: the video's name, as of its clips.
        return_: sum of the episode's rewards.
        length: its steps.
        tests: what the rule's tests say of the episode, a bit for each in their order.
        over: whether the episode was played to its end, or was reset; else the video is let go.
        keep: the rule, as in `messages.OpenClip`, for a video without clips, which is rendered only once it is kept.
            Empty for a video with clips, which name the rule themselves.
        keep_bytes: as in `messages.OpenClip`, for a video without clips.
        video: JSON by which a video without clips is rendered; the daemon keeps it for the renderer and does not read
            it.
    """

    KIND: ClassVar[int] = 4

    name: FileName
    return_: Real
    length: UInt
    tests: UInt
    over: Flag
    keep: Text = ""
    keep_bytes: UInt = 0
    video: Text = ""


class EpisodeColumns(Checked, frozen=True):
    """Episodes of one vector env that ended in one step, as columns: as many records, with consecutive numbers.

    Each column is one little-endian number for each episode. Any bytes are valid if there are as many as that takes; an
    episode whose values do not fit into these types is sent as an `EpisodeRecord`.

    Attributes:
        count: how many episodes.
        ended: seconds since the Unix epoch at that step; an episode began its ``duration`` earlier.
        columns: one behind the other: env_index (uint32), episode (uint32), return (float64), length (uint32), duration
            (float64), terminated and truncated (each uint8, 0 for False); and where any has a seed, seed (int64) and
            seeded (uint8, 0 where it has none). Last a float64 for each of the names, NaN where it is not known.
        names: of the episodes' values.
    """

    KIND: ClassVar[int] = 3

    count: Annotated[int, check.within(MAX_EPISODES_PER_BODY, low=1)]
    ended: Real
    columns: Annotated[bytes, check.columns]
    names: Annotated[tuple[str, ...], check.value_names] = ()

    def __post_init__(self) -> None:
        # A vector env makes one of these in each step: where the types are plainly right, no field is checked by
        # itself.
        plain = type(self.count) is int and type(self.ended) is float and type(self.columns) is bytes
        if not plain or self.names != () or not 0 < self.count <= MAX_EPISODES_PER_BODY:
            super().__post_init__()
        more = 8 * len(self.names)
        unseeded, seeded = _UNSEEDED_BYTES + more, _SEEDED_BYTES + more
        if len(self.columns) not in (self.count * unseeded, self.count * seeded):
            raise MalformedMessage(
                f"columns of {self.count} episodes with {len(self.names)} values have {unseeded} or {seeded} bytes for "
                f"each, got {len(self.columns)} in all"
            )

    def rows(self) -> Iterator[tuple[int, int, float, int, float, float, bool, bool, int | None, dict[str, float]]]:
        """The fields of each episode's `EpisodeRecord`, in their order."""
        count, end = self.count, len(self.columns) - 8 * len(self.names) * self.count
        codes = _SEEDED if end == count * _SEEDED_BYTES else _UNSEEDED
        values = struct.unpack("<" + "".join(f"{count}{code}" for code in codes), self.columns[:end])
        env_index, episode, return_, length, duration, terminated, truncated, *seeds = (
            values[begin : begin + count] for begin in range(0, len(values), count)
        )
        started = [self.ended - each for each in duration]
        seed = [value if given else None for value, given in zip(*seeds, strict=True)] if seeds else [None] * count
        over = (map(bool, terminated), map(bool, truncated))
        return zip(env_index, episode, return_, length, duration, started, *over, seed, self._values(), strict=True)

    def _values(self) -> Iterator[dict[str, float]]:
        """The values of each episode that are known."""
        if not self.names:
            return ({} for _ in range(self.count))
        numbers = struct.unpack(f"<{len(self.names) * self.count}d", self.columns[-8 * len(self.names) * self.count :])
        of_each = zip(
            *(numbers[begin : begin + self.count] for begin in range(0, len(numbers), self.count)), strict=True
        )
        return ({n: v for n, v in zip(self.names, each, strict=True) if not math.isnan(v)} for each in of_each)


class StepRecord(Checked, frozen=True):
    """Consecutive rows of one of a stream's tables of steps, of a single env or of neighbouring sub-environments.

    Attributes:
        table: which one, of `offcam_runs.steps.layout.TABLES`.
        env_index: the first sub-environment that they tell of, 0 for a single env.
        first_row: number of the first row in its table, from 0 on. A gap before it is rows that are lost.
        count: how many rows.
        first_episode: smallest number of an episode that a row is of.
        last_episode: largest one.
        layout: the columns of a row: the text of an `offcam_runs.steps.layout.Layout`.
        rows: one behind the other, each with as many bytes as the layout says.
        heap: the values that have no fixed size, in the order of rows and columns.
    """

    KIND: ClassVar[int] = 5

    table: UInt
    env_index: UInt
    first_row: UInt
    count: PositiveInt
    first_episode: UInt
    last_episode: UInt
    layout: Annotated[str, check.text]
    rows: Annotated[bytes, check.columns]
    heap: Annotated[bytes, check.columns] = b""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first_episode > self.last_episode or len(self.rows) % self.count:
            raise MalformedMessage(
                f"{self.count} rows of episodes {self.first_episode} to {self.last_episode} in {len(self.rows)} bytes"
            )


_UNSEEDED, _SEEDED = "IIdIdBB", "IIdIdBBqB"  # the columns, as `struct` has them
_UNSEEDED_BYTES, _SEEDED_BYTES = struct.calcsize(f"<{_UNSEEDED}"), struct.calcsize(f"<{_SEEDED}")

Record = EpisodeRecord | ClipRecord | EpisodeColumns | KeepRecord | StepRecord
RECORD_KINDS: dict[int, type[Record]] = {cls.KIND: cls for cls in get_args(Record)}

_UINT8, _UINT16 = 0xCC, 0xCD  # what msgpack begins integers with that do not fit in 7 bits
_ARRAY16 = 0xDC  # and arrays of 16 values or more, behind which come two bytes of their number


def kind_of(body: bytes) -> int:
    """The kind of a record that this side has packed: it stands behind msgpack's head of an array."""
    return body[3] if body[0] == _ARRAY16 else body[1]


def count_records(body: bytes) -> int:
    """How many records a body stands for, and so how many numbers: of columns, one for each episode.

    It is read from the body's first bytes alone.

    Client and daemon both count by this rule, so a body that cannot be parsed shifts no other's number. A body whose
    count cannot be read counts as one record.
    """
    if len(body) < 6 or body[1] != EpisodeColumns.KIND:
        return 1
    count = body[2]
    if count == _UINT8:
        count = body[3]
    elif count == _UINT16:
        count = body[3] << 8 | body[4]
    return count if 1 <= count <= MAX_EPISODES_PER_BODY else 1


def count_all(bodies: Iterable[bytes]) -> int:
    """How many records several bodies stand for."""
    return sum(map(count_records, bodies))


def numbered(first_seq: int, bodies: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Consecutive bodies, each with the number of its first record."""
    for body in bodies:
        yield first_seq, body
        first_seq += count_records(body)
