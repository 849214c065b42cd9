"""Replaying episodes of a run in this process, with all that the env returns, to make a dataset of them."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from offcam.recorder.actions import ActionCodec
from offcam.replay import recipe
from offcam.replay.plans import Plan, find_plan, play, stretch
from offcam.replay.tape_file import FileTape
from offcam_proto.errors import ConfigError, NotReplayable
from offcam_runs.database import open_to_read
from offcam_runs.episodes import read_episodes
from offcam_runs.replay.recipe import read_key
from offcam_runs.steps.layout import STEPS
from offcam_runs.steps.reader import StepReader
from offcam_runs.streams import read_streams

if TYPE_CHECKING:
    import sqlite3

    from gymnasium.envs.registration import EnvSpec

    from offcam.replay.plans import Stretch
    from offcam_runs.replay.recipe import Recipe
    from offcam_runs.sessions import Session


class Observed(NamedTuple):
    """What an env's base returned and was given, from a reset to the end of an episode.

    Attributes:
        episode: number of the episode.
        spec: the spec that its env is made from.
        seed, options: arguments of the reset.
        first: the observation and the info of the reset.
        steps: for each step the action, and what the base returned. So the last step's flags are the base's, in which a
            time limit of a wrapper has no part.
    """

    episode: int
    spec: EnvSpec
    seed: Any
    options: Any
    first: tuple[Any, dict[str, Any]]
    steps: list[tuple[Any, tuple[Any, Any, Any, Any, dict[str, Any]]]]


def observed(
    folder: str | os.PathLike[str],
    *,
    episodes: Sequence[int] | None = None,
    session: Session = None,
    trust: bool = False,
) -> Iterator[Observed]:
    """Replay episodes in order of their arrival, and check each step.

    Args:
        folder: a run that was recorded with ``source="replay"`` with the packages that this interpreter has.
        episodes: numbers of the episodes; by default all that ended.
        session: the session whose episodes are meant; by default the newest.
        trust: whether to run code that the folder names although this user did not record it on this host.

    Raises:
        ConfigError: there are no such episodes.
        NotReplayable: an episode's steps are not all there, or its replay differs; or the run was not recorded for
            replay, or by another user.
        RunFolderError: the run cannot be read.
    """
    with open_to_read(folder, session=session) as database:
        keys = list(read_streams(database))
        table = read_episodes(database, keys)
        wanted = [
            (keys[int(stream)], int(episode))
            for stream, episode in zip(table.stream, table.episode, strict=True)
            if episodes is None or int(episode) in episodes
        ]
        if not wanted:
            raise ConfigError(f"{os.fspath(folder)} has no such episodes that ended; `offcam ls` lists those it has.")
        again = {key: _Again(database, os.fspath(folder), key, trust=trust) for key, _ in wanted}
        marks = [again[key].marks(number) for key, number in wanted]
    for (key, number), (first, last) in zip(wanted, marks, strict=True):  # the index is closed by now
        yield again[key].observe(number, first, last)


class _Again:
    """One stream, whose episodes are replayed."""

    def __init__(self, database: sqlite3.Connection, folder: str, key: int, *, trust: bool) -> None:
        self._reader = StepReader(database, folder)
        self._key = key
        self._tape = FileTape(database, folder, key)
        self._recipe: Recipe = self._tape.recipe()
        self._plan: list[Plan] = []
        if not trust and not self._recipe.is_sealed_by(read_key(os.environ, os.getuid())):
            raise NotReplayable(
                f"{folder} was not recorded by you on this machine, and to have its episodes happen again runs code "
                "that it names. If you trust it, pass `trust=True`."
            )

    def marks(self, number: int) -> tuple[int, int]:
        """The rows of the tape of an episode's reset and of its last step."""
        steps = self._reader.episode(self._key, STEPS, 0, number)
        if not steps.complete or "tape" not in steps or not (steps["tape"] >= 0).all():
            why = steps.gaps[0].reason if steps.gaps else "it has no whole tape: record with source='replay'"
            raise NotReplayable(f"episode {number} cannot happen again: {why}")
        return int(steps["tape"][0]), int(steps["tape"][-1])

    def observe(self, number: int, first: int, last: int) -> Observed:
        """Replay an episode, whose reset and last step are these rows of the tape."""
        wanted = stretch(self._tape.resets, first, last)
        found = find_plan(self._tape, wanted, self._make, first=self._plan)
        if not found.verified:
            raise NotReplayable(
                f"episode {number} did not happen again, from event {found.diverged_at} on: {found.why}"
            )
        self._plan = [found.plan]
        env = self._make()
        try:
            return self._take(number, first, wanted, found.plan, env)
        finally:
            env.close()

    def _make(self) -> Any:  # noqa: ANN401 - a base env
        env = recipe.make(self._recipe)
        self._tape.actions = self._tape.actions or ActionCodec(env.action_space)
        return env

    def _take(self, number: int, first: int, wanted: Stretch, plan: Plan, env: Any) -> Observed:  # noqa: ANN401 - a base env
        given = _Given(env)
        taken: Observed | None = None
        for event, why in play(self._tape, wanted, plan, env):
            if why:
                raise NotReplayable(f"episode {number} is another one each time that it is replayed: {why}")
            if event.reset is not None:
                if event.row > first:
                    raise NotReplayable(f"episode {number} has more than one of its env's: it was reset within")
                spec = recipe.spec_of(self._recipe)
                taken = Observed(
                    episode=number,
                    spec=spec,
                    seed=event.reset.seed,
                    options=event.reset.options,
                    first=given.last,
                    steps=[],
                )
            elif taken is not None:
                taken.steps.append((event.action, given.last))
        assert taken is not None  # noqa: S101 - a stretch begins with a reset
        return taken


class _Given:
    """Replaces ``reset`` and ``step`` of an env, and keeps copies of what they return, as an env may reuse arrays."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401 - a base env
        self.last: Any = None
        self._env = env
        vars(env).update(reset=self._reset, step=self._step)

    def _reset(self, **options: Any) -> Any:  # noqa: ANN401 - the env's
        result = type(self._env).reset(self._env, **options)
        self.last = copy.deepcopy(result)
        return result

    def _step(self, action: Any) -> Any:  # noqa: ANN401 - the env's
        result = type(self._env).step(self._env, action)
        self.last = copy.deepcopy(result)
        return result
