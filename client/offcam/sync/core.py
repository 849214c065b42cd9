"""What to send next, and the position after that, by what was sent and what the index has. No I/O and no clocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

MOST_EPISODES: Final = 500
"""Most episodes in one batch."""

FIRST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 300.0

_REFUSED: Final = (401, 403)
_MOST_CAUSES: Final = 10


class EpisodeSent(NamedTuple):
    """An episode, as a tracker gets it.

    Attributes:
        number: how many episodes of the session came before it, which is its step at the tracker.
        env_index: index of its sub-environment.
        episode: its number in that sub-environment.
        return_: sum of its rewards; may be NaN or infinite.
        length: its length in steps.
        duration: in seconds, NaN where it is not known.
        ended: when it ended, in seconds since the epoch.
        steps: steps of all the session's episodes up to its end.
        info: its values, by name.
    """

    number: int
    env_index: int
    episode: int
    return_: float
    length: int
    duration: float
    ended: float
    steps: int
    info: dict[str, float]

    @property
    def values(self) -> dict[str, float]:
        """The episode's numbers, by the names that they have at all trackers."""
        named = {"return": self.return_, "length": self.length, "duration": self.duration, "steps": self.steps}
        values = {**{f"info/{name}": value for name, value in self.info.items()}, **named}
        return {f"offcam/{name}": float(value) for name, value in values.items()}


class ClipSent(NamedTuple):
    """A video, as a tracker gets it.

    Attributes:
        stream: id of its stream.
        clip: number of the clip in the stream.
        path: path of its file; where that was evicted, of a copy which is there as long as the sink.
        name: name of its file, without ``.mp4``.
        number: ``number`` of the episode that it begins with, as in `EpisodeSent`.
        episode: number of that episode in its env.
        return_: as in `offcam_runs.clips.Clip`.
        length: as in `offcam_runs.clips.Clip`.
        fps: frames per second.
        frames: number of frames in the file.
        ended: when the file was final, in seconds since the epoch.
        reason: why it was kept; empty where no rule applies.
        recovered: whether its daemon died, so that the file has what could be saved.
        cut_off: whether its client vanished, or its encoder failed, so that the file has only the frames until then.
        recorded: where its file was recorded, if ``path`` is a copy; else empty.
    """

    stream: str
    clip: int
    path: str
    name: str
    number: int
    episode: int
    return_: float
    length: int | None
    fps: float
    frames: int
    ended: float
    reason: str
    recovered: bool = False
    cut_off: bool = False
    recorded: str = ""

    @property
    def source(self) -> str:
        """Where its file was recorded."""
        return self.recorded or self.path

    @property
    def caption(self) -> str:
        """What the video shows, in one line."""
        parts = [f"episode {self.episode}", f"return {self.return_:g}", f"{self.frames} frames"]
        ends = ["recovered"] * self.recovered + ["cut off"] * self.cut_off
        return ", ".join([*parts, *ends, *[self.reason] * bool(self.reason)])


class Batch(NamedTuple):
    """What is sent at once: episodes, or one clip.

    Attributes:
        episodes: in the order of the index, at most `MOST_EPISODES`.
        last_id: ``episodes.id`` of the last of these, or without any, of the last episode that was sent before.
        clip: the video; None where there are episodes.
    """

    episodes: tuple[EpisodeSent, ...] = ()
    last_id: int = 0
    clip: ClipSent | None = None


class ClipRow(NamedTuple):
    """What the index has of a clip that may not be sent yet.

    Attributes:
        stream: id of its stream.
        clip: number of the clip in the stream.
        final: whether it can be sent now.
        open: whether it may become final later.
        ended: when it ended, in seconds since the epoch; None before.
        place: id of its row in the index, at this moment.
    """

    stream: str
    clip: int
    final: bool
    open: bool
    ended: float | None
    place: int = 0


@dataclass(frozen=True)
class StreamClips:
    """Which clips of a stream are settled, that is sent or never to be sent: all up to ``seen`` but ``waiting``."""

    seen: int = -1
    waiting: tuple[int, ...] = ()

    def has(self, clip: int) -> bool:
        """Whether a clip is settled."""
        return clip <= self.seen and clip not in self.waiting


@dataclass(frozen=True)
class Position:
    """How far a session was sent.

    Attributes:
        last_id: ``episodes.id`` of the last episode that was sent.
        episodes: how many episodes were sent.
        steps: number of steps of these episodes.
        clips: by stream, which clips are settled.
        sent_clips: how many clips were sent.
    """

    last_id: int = 0
    episodes: int = 0
    steps: int = 0
    clips: Mapping[str, StreamClips] = field(default_factory=dict)
    sent_clips: int = 0

    def of(self, stream: str) -> StreamClips:
        """Which clips of a stream are settled."""
        return self.clips.get(stream, _NONE)

    def as_dict(self) -> dict[str, Any]:
        """The position ready for JSON."""
        clips = {stream: [each.seen, *each.waiting] for stream, each in self.clips.items()}
        plain = {"last_id": self.last_id, "episodes": self.episodes, "steps": self.steps}
        return {**plain, "clips": clips, "sent_clips": self.sent_clips}

    @staticmethod
    def parse(found: Mapping[str, Any]) -> Position:
        """The position that `as_dict` has returned; the beginning of the session if it is not valid."""
        try:
            pairs = ((str(stream), [int(clip) for clip in each]) for stream, each in found["clips"].items())
            clips = {stream: StreamClips(seen, tuple(waiting)) for stream, (seen, *waiting) in pairs}
            last_id, episodes, steps, sent = (int(found[n]) for n in ("last_id", "episodes", "steps", "sent_clips"))
            return Position(last_id=last_id, episodes=episodes, steps=steps, clips=clips, sent_clips=sent)
        except (KeyError, TypeError, ValueError, AttributeError):
            return Position()


_NONE: Final = StreamClips()


def next_clip(position: Position, rows: Iterable[ClipRow]) -> ClipRow | None:
    """The clip to send next: of each stream's first clip that can be sent, the one that ended first."""
    first: dict[str, ClipRow] = {}
    for row in rows:
        known = first.get(row.stream)
        if row.final and not position.of(row.stream).has(row.clip) and (known is None or row.clip < known.clip):
            first[row.stream] = row
    return min(first.values(), key=lambda row: (row.ended or 0.0, row.stream), default=None)


def after_episodes(position: Position, batch: Batch) -> Position:
    """The position after a batch of episodes."""
    if not batch.episodes:
        return position
    last = batch.episodes[-1]
    return replace(position, last_id=batch.last_id, episodes=last.number + 1, steps=last.steps)


def after_clip(position: Position, rows: Iterable[ClipRow], sent: ClipRow, *, gone: bool = False) -> Position:
    """The position after a clip.

    Args:
        position: the position before that.
        rows: the clips of all streams that are not settled and not gone.
        sent: the clip that was sent.
        gone: whether instead its file was gone, as where its rule has let it go.
    """
    before = position.of(sent.stream)
    unsettled = {row.clip for row in rows if row.stream == sent.stream and (row.final or row.open)} - {sent.clip}
    seen = max(before.seen, sent.clip)
    waiting = tuple(sorted(clip for clip in unsettled if clip <= seen and not before.has(clip)))
    clips = {**position.clips, sent.stream: StreamClips(seen, waiting)}
    return replace(position, clips=clips, sent_clips=position.sent_clips + (not gone))


def wait_seconds(failures: int, spread: float) -> float:
    """How long to wait before the next try.

    Args:
        failures: how often in a row it failed, from 1.
        spread: a random number from 0 to 1, so that many processes that failed together do not return together.
    """
    longest = min(FIRST_WAIT_SECONDS * 2.0 ** min(failures - 1, 30), LONGEST_WAIT_SECONDS)
    return longest * (0.5 + spread / 2)


def refusal(error: BaseException) -> int | None:
    """The HTTP status with which a tracker refused the key (401 or 403); None if it did not.

    Args:
        error: what the tracker's package raised; the status may be in one of its causes.
    """
    found: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if found is None:
            break
        ways = (getattr(found, "response", None), found)
        statuses = [getattr(each, name, None) for each in ways for name in ("status_code", "code", "http_status")]
        asked = getattr(found, "get_http_status_code", None)  # MLflow's
        for status in (*statuses, asked() if callable(asked) else None):
            if isinstance(status, int) and status in _REFUSED:
                return status
        found = found.__cause__ or found.__context__
    return None


def numbered(position: Position, rows: Sequence[Mapping[str, Any]]) -> tuple[EpisodeSent, ...]:
    """The episodes behind a position, with their ``number`` and ``steps``.

    Args:
        position: the position behind which they come.
        rows: for each episode the fields of `EpisodeSent` but for these two.
    """
    found, steps = [], position.steps
    for number, row in enumerate(rows, position.episodes):
        steps += row["length"]
        found.append(EpisodeSent(number=number, steps=steps, **row))
    return tuple(found)
