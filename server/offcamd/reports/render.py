"""Rendering videos of episodes that were recorded without pictures: which episodes, and by which process."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from offcam_proto.errors import ConfigError, NotReplayable
from offcam_runs.analysis.success import SuccessRule
from offcam_runs.database import open_to_read
from offcam_runs.episodes import read_episodes
from offcam_runs.idle import hurry
from offcam_runs.journal_reader import living_streams
from offcam_runs.keep.judge import Facts, Judge
from offcam_runs.keep.rules import Episode, tests_of
from offcam_runs.replay.kept import waiting
from offcam_runs.replay.process import start
from offcam_runs.replay.recipe import Recipe, read_key
from offcam_runs.replay.requests import Answer, Request, parse_answer
from offcam_runs.steps.layout import RESETS, STEPS
from offcam_runs.steps.reader import StepReader
from offcam_runs.steps.rows import Rows
from offcam_runs.streams import read_streams

if TYPE_CHECKING:
    import sqlite3
    import subprocess
    from pathlib import Path

    from numpy.typing import NDArray

    from offcam_runs.episodes import EpisodeTable
    from offcam_runs.keep.rules import Rule
    from offcam_runs.sessions import Session
    from offcam_runs.steps.rows import Steps
    from offcam_runs.streams import Stream


@dataclass(frozen=True)
class EpisodeChoice:
    """Which episodes to render: those that meet all of these conditions.

    Attributes:
        episodes: their numbers; none for all.
        where: a condition as of `SuccessRule`; empty for none.
        best: how many of these with the highest returns; None for all.
        worst: how many with the lowest returns; None for all.
        env_index: their sub-environment.
        stream: id of their stream; empty for all.
        keep: a rule as of `offcam.keep`, over all episodes; None for all.
        kept: instead of all that, the episodes that the recording's own rule keeps and that have no video yet.
    """

    episodes: tuple[int, ...] = ()
    where: str = ""
    best: int | None = None
    worst: int | None = None
    env_index: int = 0
    stream: str = ""
    keep: Rule | None = None
    kept: bool = False

    @property
    def by_result(self) -> bool:
        """Whether the choice depends on the episodes' results, so that their records have to be read."""
        return bool(self.where) or any(each is not None for each in (self.best, self.worst, self.keep))


class VideoStyle(NamedTuple):
    """What the videos should look like, if not as the training would have recorded them; as in `Request`."""

    arguments: dict[str, Any]
    size: list[int] | None = None
    camera: str = ""


class Wanted(NamedTuple):
    """An episode to render, and its steps."""

    key: int
    stream: Stream
    episode: int
    first_row: int
    last_row: int


class Rendered(NamedTuple):
    """What became of an episode that was to be rendered."""

    episode: int
    answer: Answer


def render(
    folder: Path,
    choice: EpisodeChoice,
    *,
    session: Session = None,
    look: VideoStyle | None = None,
    trusts: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Iterator[Rendered]:
    """Replay episodes in the interpreter that they were recorded in, and make videos of them.

    Args:
        folder: of the run.
        choice: which episodes.
        session: which session; by default the newest.
        look: what the videos should look like.
        trusts: whether to run the code that a folder names even if this user has not recorded it on this host.
        progress: is called with each percent that a video has come to.

    Raises:
        ConfigError: there are no such episodes.
        NotReplayable: the run was recorded by another user or not for replay, or its interpreter is gone.
        RunFolderError: the run cannot be read.
    """
    with open_to_read(folder, session=session, unsealed=True) as database:
        asked = _kept(database, folder) if choice.kept else _asked(database, folder, choice)
        recipes = {
            key: _recipe(database, folder, key, choice.env_index) for key in dict.fromkeys(key for key, _ in asked)
        }
    if not trusts:
        _check_whose(folder, recipes.values())
    for key, how in recipes.items():
        others = (look or VideoStyle({}))._asdict() | {"tells": progress is not None}
        own = [request._replace(**others) for of, request in asked if of == key]
        told = progress or (lambda _: None)
        for request, answer in zip(own, _answers(how, [request.line for request in own], told), strict=True):
            yield Rendered(request.episode, answer)


def _asked(database: sqlite3.Connection, folder: Path, choice: EpisodeChoice) -> list[tuple[int, Request]]:
    """The requests, each with the key of its stream."""
    return [(each.key, _request(folder, each, choice.env_index)) for each in _wanted(database, folder, choice)]


def _kept(database: sqlite3.Connection, folder: Path) -> list[tuple[int, Request]]:
    """As `_asked`, for videos that rules keep and nobody has rendered."""
    place = str(folder.absolute())
    return [
        (key, request)
        for key, stream in read_streams(database).items()
        for request in waiting(database, place, stream.stream)
    ]


def _wanted(database: sqlite3.Connection, folder: Path, choice: EpisodeChoice) -> list[Wanted]:
    """The episodes to render whose steps are there."""
    streams = read_streams(database)
    reader = StepReader(database, folder)
    chosen = [key for key, stream in streams.items() if choice.stream in ("", stream.stream)]
    pairs = (
        _by_result(database, choice, chosen) if choice.by_result else [(k, n) for k in chosen for n in choice.episodes]
    )
    found, gone = [], []
    going_on = living_streams(folder)
    for key, number in pairs:
        steps = reader.episode(key, STEPS, choice.env_index, number)
        gone += [f"{gap.rows} steps are not there ({gap.reason})" for gap in steps.gaps]
        if streams[key].stream in going_on and not _is_over(reader, steps, key, choice.env_index):
            gone.append(f"episode {number} is not over yet. Ask again once it is")
        elif steps.rows:
            # where the step that ends an episode resets a sub-environment, its row shows how the next one begins
            within = streams[key].vector and steps["step"][0] == 1 and steps.row[0] > 0
            found.append(
                Wanted(
                    key=key,
                    stream=streams[key],
                    episode=number,
                    first_row=int(steps.row[0]) - int(within),
                    last_row=int(steps.row[-1]),
                )
            )
    if not found and gone:
        raise ConfigError(f"{folder} has not all steps of what you ask for: {gone[0]}")
    if not found:
        raise ConfigError(
            f"{folder} has no steps of an episode that you ask for. Record with source='replay', and ask for episodes "
            "that `offcam ls` lists; --session says of which training."
            + (" Steps of a training that found no room for them come later: ask again." if going_on else "")
        )
    return found


def _is_over(reader: StepReader, steps: Steps, key: int, env_index: int) -> bool:
    """Whether an episode of a training that goes on has all its steps: it is seen to end, or others came behind it."""
    if steps.complete or steps.gaps or not steps.rows:
        return True
    behind = int(steps.row[-1]) + 1
    return bool(reader.rows(key, STEPS, env_index, behind, behind + 1).rows)


def _by_result(database: sqlite3.Connection, choice: EpisodeChoice, chosen: Sequence[int]) -> list[tuple[int, int]]:
    """The stream's row id and the number of each episode that a choice means, in order of arrival, or of rank."""
    table = read_episodes(database, {key: place for place, key in enumerate(read_streams(database))})
    keys = list(read_streams(database))
    mask: NDArray[np.bool_] = (table.env_index == choice.env_index) & np.isin(
        np.array(keys, np.int64)[table.stream], chosen
    )
    if choice.episodes:
        mask &= np.isin(table.episode, choice.episodes)
    if choice.where:
        columns = {"return": table.return_, "length": table.length, "terminated": table.terminated}
        mask &= SuccessRule(choice.where)({**columns, "truncated": table.truncated, **table.info})
    places = np.flatnonzero(mask)
    if choice.keep is not None:
        places = np.intersect1d(places, _by_rule(choice.keep, table, choice.env_index))
    ranked = places[np.argsort(table.return_[places], kind="stable")]
    found: list[int] = []
    if choice.best is not None:
        found += ranked[::-1][: choice.best].tolist()
    if choice.worst is not None:
        found += ranked[: choice.worst].tolist()
    if choice.best is None and choice.worst is None:
        found = places.tolist()
    return [(keys[int(table.stream[place])], int(table.episode[place])) for place in dict.fromkeys(found)]


def _by_rule(rule: Rule, table: EpisodeTable, env_index: int) -> list[int]:
    """The places, in a table of all episodes, of those that a rule keeps once it has judged all."""
    judge, tests = Judge(rule), tests_of(rule)
    own: list[int] = np.flatnonzero(table.env_index == env_index).tolist()
    said = [table.info[name] for name in ("is_success", "success") if name in table.info]
    kept = set[int]()
    for number, place in enumerate(own):
        episode = Episode(
            episode=int(table.episode[place]),
            return_=float(table.return_[place]),
            length=int(table.length[place]),
            terminated=bool(table.terminated[place]),
            truncated=bool(table.truncated[place]),
            success=next((bool(values[place]) for values in said if not math.isnan(values[place])), None),
        )
        bits = sum(bool(test.asks(episode)) << bit for bit, test in enumerate(tests))
        verdict = judge.judge(Facts(episode.return_, episode.length, bits))
        kept.difference_update(verdict.evicted)
        kept |= {*verdict.admitted, *((number,) if verdict.kept else ())}
    return [own[number] for number in sorted(kept)]


def _recipe(database: sqlite3.Connection, folder: Path, key: int, env_index: int) -> Recipe:
    for block in StepReader(database, folder).blocks(key, RESETS, env_index):
        for text in block.heap.get("recipe", ()) if isinstance(block, Rows) else ():
            if text:
                return Recipe.parse(text)
    raise NotReplayable(f"{folder} was not recorded with source='replay': nothing says how its episodes happen again")


def _check_whose(folder: Path, recipes: Sequence[Recipe] | Any) -> None:  # noqa: ANN401 - a view of a dict
    key = read_key(os.environ, os.getuid())
    if not all(recipe.is_sealed_by(key) for recipe in recipes):
        raise NotReplayable(
            f"{folder} was not recorded by you on this machine, and to render it runs code that it names. If you trust "
            "it, say --trust."
        )


def _request(folder: Path, wanted: Wanted, env_index: int) -> Request:
    of = f"-env-{env_index}" if wanted.stream.vector else ""
    return Request(
        folder=str(folder.absolute()),
        stream=wanted.stream.stream,
        first_row=wanted.first_row,
        last_row=wanted.last_row,
        name=f"{wanted.stream.prefix or 'rl-video'}{of}-episode-{wanted.episode}",
        episode=wanted.episode,
        step=0,
        fps=0,
        max_size=[0, 0],
        crf=None,
        preset="",
        arguments={},
        env_index=env_index,
        terminal=wanted.stream.vector,
    )


def _answers(how: Recipe, lines: list[str], progress: Callable[[int], object]) -> Iterator[Answer]:
    """What the process answers; where it ends before that, why there is no video."""
    with start(how, os.environ) as process:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - pipes both
        hurry(process.pid)  # somebody waits for it
        try:
            for line in lines:
                yield _answer(process, line, progress)
        except SystemExit:  # by a signal: nobody waits for the video
            process.kill()
            raise
        finally:
            process.stdin.close()


def _answer(process: subprocess.Popen[bytes], line: str, progress: Callable[[int], object]) -> Answer:
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - pipes both
    with suppress(BrokenPipeError):
        process.stdin.write(line.encode())
        process.stdin.flush()
        while said := process.stdout.readline():
            found = parse_answer(said.decode())
            if isinstance(found, Answer):
                return found
            progress(found.percent)
    return Answer(Request.parse(line).name, why=f"the process that replays ended: {process.wait()}; see above")
