"""What a RecordVideo tells the daemon of an episode whose video a rule is to keep or to let go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from offcam import logger
from offcam.recorder import readings
from offcam.wrappers.episode_values import SUCCESS, values_of
from offcam_proto.records import KeepRecord
from offcam_runs.keep.rules import Episode, Rule, pack, tests_of

if TYPE_CHECKING:
    from offcam_runs.keep.rules import Test


class Judging:
    """Sums up an episode, and evaluates its rule's tests at the end.

    Args:
        rule: the rule by which videos are kept.
        keep_bytes: most bytes that all kept videos may have, 0 for the daemon's own bound.

    Attributes:
        rule: as given.
        text: the rule, packed for the daemon.
        keep_bytes: as given.
        over: whether the episode was played to its end, or was reset.
    """

    def __init__(self, rule: Rule, keep_bytes: int) -> None:
        self.rule = rule
        self.text = pack(rule)
        self.keep_bytes = keep_bytes
        self.over = False
        self._tests = tests_of(rule)
        self._failed: set[Test] = set()
        self.begin(0)

    def begin(self, episode: int) -> None:
        """An episode begins."""
        self.over = False
        self._episode = episode
        self._return = 0.0
        self._length = 0
        self._last: tuple[object, object, Any] = (False, False, {})

    def step(self, reward: object, terminated: object, truncated: object, info: object) -> None:
        """Add a step. What lies in a device's memory is not read, as that would wait for the device."""
        self._return += readings.as_float(reward)
        self._length += 1
        self._last = terminated, truncated, info
        self.over = readings.over(terminated, truncated) is True

    def record(self, name: str) -> KeepRecord:
        """The record of the episode, with the result of each test. A test that raises counts as no, and warns once."""
        terminated, truncated, info = self._last
        values = values_of(info, SUCCESS)
        episode = Episode(
            episode=max(self._episode, 0),
            return_=self._return,
            length=self._length,
            terminated=readings.over(terminated, terminated) is True,
            truncated=readings.over(truncated, truncated) is True,
            info=info if isinstance(info, dict) else {},
            success=bool(next(iter(values.values()))) if values else None,
        )
        bits = sum(self._asked(test, episode) << place for place, test in enumerate(self._tests))
        return KeepRecord(name=name, return_=self._return, length=self._length, tests=bits, over=self.over)

    def _asked(self, test: Test, episode: Episode) -> bool:
        try:
            return bool(test.asks(episode))
        except Exception as error:  # noqa: BLE001 - the user's own: a bug in it must not end the training
            if test not in self._failed:
                self._failed.add(test)
                logger.warn(f"{test} raised {error!r} of episode {episode.episode}, which counts as no. (Said once.)")
            return False
