"""``source="auto"``: decides whether the next video is of frames, or rendered from a replay. Sans-I/O.

Videos are of frames until enough of them were compared, picture by picture, with renderings of their replays. From then
on they are rendered from replays, and a few are still compared. Once one differs, frames are recorded for good.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from offcam_runs.replay.requests import Answer

PROOF: Final = 8
"""Videos of so many episodes must match before rendering in the loop ends."""

EVERY: Final = 1000
"""From then on each n-th video is compared, and those with the numbers 1, 2, 4, 8, ..."""

MOST_CHECKS: Final = 8
"""Most comparisons in progress; further videos are not compared."""

MOST_VAIN: Final = 64
"""After so many videos whose pictures were all the same, which proves nothing, no more are compared."""


class _Phase(Enum):
    PROVING = "proving"
    REPLAY = "replay"
    FRAMES = "frames"


class Audits:
    """Decides for one env, and learns from the outcomes of its videos."""

    def __init__(self) -> None:
        self._phase = _Phase.PROVING
        self._proven: set[int] = set()  # numbers of the episodes whose videos were equal
        self._vain = 0
        self._videos = 0  # number of videos since nothing is rendered in the loop
        self._due = False

    @property
    def source(self) -> Literal["render", "replay"]:
        """What videos are made of that are not compared."""
        return "replay" if self._phase is _Phase.REPLAY else "render"

    @property
    def over(self) -> bool:
        """Whether the decision is final: frames are recorded from now on."""
        return self._phase is _Phase.FRAMES

    def replays_next(self, checks: int) -> bool:
        """Whether the video that begins now is to be rendered from a replay.

        Args:
            checks: how many comparisons are in progress.
        """
        if self._phase is not _Phase.REPLAY:
            return False
        self._videos += 1
        self._due = self._due or self._videos & (self._videos - 1) == 0 or self._videos % EVERY == 0
        if self._due and checks < MOST_CHECKS:
            self._due = False
            return False
        return True

    def compares(self, checks: int) -> bool:
        """Whether a video of frames is to be compared."""
        return self._phase is not _Phase.FRAMES and checks < MOST_CHECKS

    def compared(self, episode: int, answer: Answer) -> str:
        """A video of this episode was compared, or could not be. Returns the warning that is due, else ``""``."""
        if self.over:
            return ""
        if answer.why and not answer.unread:
            return self._fails(f"episode {episode}: {told(answer)}")
        if self._phase is _Phase.PROVING and answer.pictures > 1:
            self._proven.add(episode)
            if len(self._proven) >= PROOF:
                self._phase = _Phase.REPLAY
                self._proven.clear()
        elif self._phase is _Phase.PROVING:
            self._vain += 1
            if self._vain >= MOST_VAIN:
                self._phase = _Phase.FRAMES
        return ""

    def not_made(self, episode: int, answer: Answer) -> str:
        """A video of this episode could not be rendered, as where its steps are missing. Returns as `compared`."""
        return "" if self.over else self._fails(f"episode {episode} has no video: {told(answer)}")

    def _fails(self, why: str) -> str:
        self._phase = _Phase.FRAMES
        self._proven.clear()
        return f"source='auto' records frames from here on: {why}"


def told(answer: Answer) -> str:
    """Why there is no video, for people."""
    where = "" if answer.diverged_at is None else f" (at step {answer.diverged_at}, {answer.plan})"
    changed = f" Since it was recorded, {', '.join(answer.changes)}." if answer.changes else ""
    return f"{answer.why}{where}.{changed}"
