"""What a recording has lost, counted as it happens; if the recording is strict, raised at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from offcam_proto.errors import RecordingLost

if TYPE_CHECKING:
    from offcam_proto.client_stream import ClientStream

_MOST_NAMES = 10


@dataclass
class Losses:
    """What was lost of one stream, or may have been.

    Attributes:
        records: how many records of episodes and videos are in no index, or are not confirmed to be.
        frames: how many frames were dropped, by reason; only reasons that are offcam's fault.
        videos: names of videos that are not whole, with the reason.
    """

    records: int = 0
    frames: Counter[str] = field(default_factory=Counter)
    videos: dict[str, str] = field(default_factory=dict)

    def settle(self, wire: ClientStream, unfinished: Iterable[str]) -> None:
        """Count as lost what the stream still waits for, at the end of all waiting."""
        self.records += wire.unacked + wire.lost_records
        for name in unfinished:
            self.videos.setdefault(name, "not confirmed to be final")

    def raise_if_any(self, folder: str) -> None:
        """Raise RecordingLost where something was lost."""
        if not (self.records or self.frames or self.videos):
            return
        what = []
        if self.records:
            what.append(f"{self.records} records of episodes or videos are not confirmed")
        if self.frames:
            counts = ", ".join(f"{reason}: {count}" for reason, count in self.frames.items())
            what.append(f"{self.frames.total()} frames were dropped ({counts})")
        if self.videos:
            names = [f"{name!r} ({why})" for name, why in list(self.videos.items())[:_MOST_NAMES]]
            what.append(f"{len(self.videos)} videos are not whole: {', '.join(names)}")
        raise RecordingLost(
            f"not everything was recorded into {folder}: {'; '.join(what)}. `offcam ls {folder}` and `offcam doctor` "
            "know more; without strict=True or OFFCAM=require this is a warning.",
            records=self.records,
            frames=self.frames,
            videos=tuple(self.videos),
        )
