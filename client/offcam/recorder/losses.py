"""What a strict recording has lost: counted as it happens, raised at its end."""

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
    """What is not recorded of one stream, or not known to be.

    Attributes:
        records: episodes' and videos' records that are in no index, or not confirmed.
        frames: frames dropped, by a reason that is offcam's.
        videos: videos that are not whole, with the reason.
    """

    records: int = 0
    frames: Counter[str] = field(default_factory=Counter)
    videos: dict[str, str] = field(default_factory=dict)

    def settle(self, wire: ClientStream, unfinished: Iterable[str]) -> None:
        """Count what its stream still waits for, now that nothing is waited for any more."""
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
