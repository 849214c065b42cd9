"""How an episode is made to happen again: which part of what came before it has to be done first, too.

Many envs need nothing, as a reset makes all of their state anew. In some a part of it survives, so that a few resets,
or all there were, come before; in some each step counts. The digests say which: the search begins with the cheapest.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from offcam.replay import hooks, random_state
from offcam.replay.digest import Digest
from offcam.replay.tape import DIGEST_MASK, Event, Reset, TapeReader
from offcam_proto.errors import NotReplayable

MOST_PRIMED: Final = 8
"""With how many of the last resets an env is primed at most, before all of them are tried."""


class Plan(NamedTuple):
    """What is done before an episode.

    Attributes:
        resets: how many of the last resets; None for all of them.
        steps: whether their steps, too: with all resets the whole lineage.
    """

    resets: int | None = 0
    steps: bool = False

    def __str__(self) -> str:
        if self.steps:
            return "the whole lineage"
        return "fresh" if self.resets == 0 else f"primed with {'all' if self.resets is None else self.resets} resets"


PLANS: Final = (*map(Plan, range(MOST_PRIMED + 1)), Plan(None), Plan(None, steps=True))
"""All there are, the cheapest first."""


class Stretch(NamedTuple):
    """Rows of a tape that are to happen again: from that of a reset on, before ``end``."""

    begin: int
    end: int


class Outcome(NamedTuple):
    """How it went.

    Attributes:
        plan: by which it was tried; of several the one that came farthest.
        diverged_at: the first event that was another one than on the tape, 0 for the stretch's reset, k for the k-th
            event behind it; None where all were the same.
        why: in what way it was another one.
    """

    plan: Plan
    diverged_at: int | None
    why: str = ""

    @property
    def verified(self) -> bool:
        """Whether each event of the stretch was as it is on the tape."""
        return self.diverged_at is None


def stretch(resets: Sequence[int], first: int, last: int) -> Stretch:
    """What has to happen again so that the rows from ``first`` to ``last`` do.

    Raises:
        NotReplayable: there is no reset before.
    """
    place = bisect_right(resets, first)
    if not place:
        raise NotReplayable(f"the tape has no reset before row {first}: it is lost, or there was none")
    return Stretch(resets[place - 1], last + 1)


def find_plan(
    tape: TapeReader,
    wanted: Stretch,
    make: Callable[[], Any],
    *,
    first: Sequence[Plan] = (),
    most_events: int = 1_000_000,
) -> Outcome:
    """The cheapest plan by which a stretch happens again.

    Args:
        tape: what happened.
        wanted: the stretch.
        make: makes a fresh base env, which is closed here.
        first: plans to try before the others, as those that reproduced other episodes of this tape.
        most_events: how many resets and steps are played in all before the search gives up.

    Raises:
        NotReplayable: no plan could do it, as something is not on the tape.
    """
    best: Outcome | None = None
    for plan in _different(tape.resets, wanted, (*first, *PLANS)):
        most_events -= _cost(tape.resets, wanted, plan)
        if best is not None and most_events < 0:
            return best._replace(why=f"{best.why}; the plan that is left, {plan}, would take too long")
        env = make()
        try:
            outcome = attempt(tape, wanted, plan, env)
        finally:
            env.close()
        if best is None or outcome.verified or (outcome.diverged_at or 0) > (best.diverged_at or 0):
            best = outcome
        if best.verified:
            break
    assert best is not None  # noqa: S101 - there is a first plan
    return best


def attempt(tape: TapeReader, wanted: Stretch, plan: Plan, env: Any) -> Outcome:  # noqa: ANN401 - a base env
    """Try one plan in a fresh base env.

    Raises:
        NotReplayable: as `play`.
    """
    for event, why in play(tape, wanted, plan, env):
        if why:
            return Outcome(plan, event.row - wanted.begin, why)
    return Outcome(plan, None)


def play(
    tape: TapeReader,
    wanted: Stretch,
    plan: Plan,
    env: Any,  # noqa: ANN401 - a base env
    *,
    first_seen: Callable[[], object] = lambda: None,
) -> Iterator[tuple[Event, str]]:
    """Have a stretch happen again.

    Args:
        tape: what happened.
        wanted: the stretch.
        plan: what is done before it. Whether that is as it was, nobody looks.
        env: a base env that was just made. It is closed by whoever made it.
        first_seen: is called after the first reset of all.

    Yields:
        Each event of the stretch, once it has happened, and in what way it was another one than on the tape; empty
        where it was the same. It ends with the first that was not.

    Raises:
        NotReplayable: something that is needed is not on the tape.
    """
    player = _Player(env)
    for event in _events_before(tape, wanted, plan):
        player.play(event)
        first_seen()
        first_seen = _nothing
    expected = wanted.begin
    for event in tape.events(*wanted):
        if event.row != expected:
            break
        why = player.play(event)
        first_seen()
        first_seen = _nothing
        yield event, why
        if why:
            return
        expected += 1
    if expected < wanted.end:
        raise NotReplayable(f"the tape has lost row {expected}, and without it what follows cannot happen again")


class _Player:
    """Does to an env what is on a tape."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401 - a base env
        self._env = env
        self._digest = Digest()

    def play(self, event: Event) -> str:
        """Do one thing, and say in what way it was another one than on the tape."""
        try:
            if event.reset is not None:
                now = self._digest.begin(self._reset(event.reset))
            else:
                observation, reward, terminated, truncated, _ = self._env.step(event.action)
                now = self._digest.go_on(observation, reward, terminated, truncated)
        except NotReplayable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the env raises: it did not when it was recorded
            return f"the env raised {error!r}"
        if now & DIGEST_MASK == event.digest:
            return ""
        return "the first observation is another one" if event.reset else "observation, reward or flags are others"

    def _reset(self, given: Reset) -> Any:  # noqa: ANN401 - an observation
        if given.why:
            raise NotReplayable(given.why)
        if given.random is not None:
            random_state.give_back(self._env, given.random)
        if given.hooks:
            hooks.give_back(self._env, given.hooks)
        observation, _ = self._env.reset(seed=given.seed, options=given.options)
        return observation


def _events_before(tape: TapeReader, wanted: Stretch, plan: Plan) -> Iterator[Event]:
    rows = _resets_before(tape.resets, wanted, plan)
    if plan.steps and rows:
        yield from tape.events(rows[0], wanted.begin)
        return
    for row in rows:
        yield from tape.events(row, row + 1)


def _resets_before(resets: Sequence[int], wanted: Stretch, plan: Plan) -> Sequence[int]:
    end = bisect_left(resets, wanted.begin)
    return resets[0 if plan.resets is None else max(end - plan.resets, 0) : end]


def _cost(resets: Sequence[int], wanted: Stretch, plan: Plan) -> int:
    """How many events a plan plays at most."""
    before = _resets_before(resets, wanted, plan)
    return wanted.end - wanted.begin + (wanted.begin - before[0] if plan.steps and before else len(before))


def _different(resets: Sequence[int], wanted: Stretch, plans: Sequence[Plan]) -> Iterator[Plan]:
    """Those that do not come to the same as one before."""
    known: set[tuple[int, bool]] = set()
    for plan in plans:
        before = len(_resets_before(resets, wanted, plan))
        what = (before, plan.steps and before > 0)
        if what not in known:
            known.add(what)
            yield plan


def _nothing() -> None:
    """What is done after a reset that is not the first."""
