"""Plans for replaying an episode: which of the earlier resets and steps have to be done before it.

Most envs need none, as a reset makes all of their state anew. In some a part of the state survives a reset, so that a
few earlier resets, or all of them, have to be done; in some all earlier steps, too. The search for a plan begins with
the cheapest; the digests show whether it works.
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
"""Most of the last resets that a plan does first, short of the plans that do all of them."""


class Plan(NamedTuple):
    """What is done before an episode.

    Attributes:
        resets: how many of the last resets are done; None for all of them.
        steps: whether the steps behind these resets are done, too; with all resets that is the whole tape before.
    """

    resets: int | None = 0
    steps: bool = False

    def __str__(self) -> str:
        if self.steps:
            return "the whole lineage"
        return "fresh" if self.resets == 0 else f"primed with {'all' if self.resets is None else self.resets} resets"


PLANS: Final = (*map(Plan, range(MOST_PRIMED + 1)), Plan(None), Plan(None, steps=True))
"""All plans, the cheapest first."""


class Stretch(NamedTuple):
    """The rows of a tape that are to be replayed: from the row of a reset on, up to but without ``end``."""

    begin: int
    end: int


class Outcome(NamedTuple):
    """The outcome of a replay.

    Attributes:
        plan: the plan that was tried; of several the one that came farthest.
        diverged_at: the first event that differed from the tape, 0 for the stretch's reset, k for the k-th event behind
            it; None where none did.
        why: how that event differed.
    """

    plan: Plan
    diverged_at: int | None
    why: str = ""

    @property
    def verified(self) -> bool:
        """Whether each event of the stretch was as on the tape."""
        return self.diverged_at is None


def stretch(resets: Sequence[int], first: int, last: int) -> Stretch:
    """The stretch that has to be replayed for the rows from ``first`` to ``last``, both included.

    Raises:
        NotReplayable: there is no reset before ``first``.
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
    """Find the cheapest plan by which a stretch can be replayed.

    Args:
        tape: the recorded tape.
        wanted: the stretch.
        make: makes a fresh base env, which is closed here.
        first: plans to try before the others, such as those that worked for other episodes of this tape.
        most_events: how many resets and steps are played in all before the search gives up.

    Raises:
        NotReplayable: no plan can work, as something is missing on the tape.
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
    """Replay a stretch.

    Args:
        tape: the recorded tape.
        wanted: the stretch.
        plan: what is done before the stretch, without being checked.
        env: a base env that was just made. The caller closes it.
        first_seen: a function that is called after the first reset of all.

    Yields:
        Each event of the stretch, once it was replayed, and how it differed from the tape; empty where it did not. The
        first event that differs is the last.

    Raises:
        NotReplayable: something that is needed is missing on the tape.
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
    """Plays the events of a tape in an env."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401 - a base env
        self._env = env
        self._digest = Digest()

    def play(self, event: Event) -> str:
        """Play one event. Returns how it differed from the tape, empty where it did not."""
        try:
            if event.reset is not None:
                now = self._digest.begin(self._reset(event.reset))
            else:
                observation, reward, terminated, truncated, _ = self._env.step(event.action)
                now = self._digest.go_on(observation, reward, terminated, truncated)
        except NotReplayable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the env raises is a difference, as the recording went on
            return f"the env raised {error!r}"
        if now & DIGEST_MASK == event.digest:
            return ""
        return "the first observation differs" if event.reset else "observation, reward or flags differ"

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
    """The plans that do something else than each plan before them."""
    known: set[tuple[int, bool]] = set()
    for plan in plans:
        before = len(_resets_before(resets, wanted, plan))
        what = (before, plan.steps and before > 0)
        if what not in known:
            known.add(what)
            yield plan


def _nothing() -> None:
    """Do nothing, after resets that are not the first."""
