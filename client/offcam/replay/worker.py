"""Replays episodes of a run, checks each step, and records the pictures, as a client of the daemon."""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from offcam.recorder import frames
from offcam.recorder.actions import ActionCodec
from offcam.recorder.clip_writer import ClipWriter, Encoding
from offcam.recorder.env_stream import EnvStream
from offcam.replay import limits, recipe
from offcam.replay.fingerprint import differences, fingerprint
from offcam.replay.plans import Outcome, Plan, find_plan, stretch
from offcam.replay.render import Film, picture
from offcam.replay.seen import FrameComparison
from offcam.replay.tape_file import FileTape
from offcam.replay.views import Views
from offcam_proto.errors import NotReplayable, OffcamError, RecordingLost
from offcam_runs.database import open_to_read
from offcam_runs.replay.kept import made
from offcam_runs.replay.requests import Answer, RenderProgress
from offcam_runs.steps.layout import RESET, STEPS
from offcam_runs.steps.reader import LOST, StepReader
from offcam_runs.streams import read_streams

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from offcam.replay.plans import Stretch
    from offcam_runs.replay.recipe import Recipe
    from offcam_runs.replay.requests import Request
    from offcam_runs.steps.rows import Steps
    from offcam_runs.streams import Stream

ROWS_SECONDS: Final = 60.0
"""How long to wait for rows that are still on their way from the client."""

DEFAULT_FPS: Final = 30.0

_LOOK_SECONDS = 0.1
_NOT_MADE: Final = "the recorder daemon has not made it: see its log"
_HURRIES: Final = "nobody waits for it any more"

_Plans = dict[tuple[str, int], Plan]


class RenderWorker:
    """Does what is asked for, one request after the other. On the main thread.

    Args:
        tell: is told how far a video is that asks for that.
    """

    def __init__(self, tell: Callable[[RenderProgress], None]) -> None:
        self._tell = tell
        self._plans: _Plans = {}  # that reproduced an episode of a stream last
        self._streams: dict[str, EnvStream] = {}  # what is recorded of each
        self._compares = False
        self._hurries = False

    def do(self, request: Request) -> Answer:
        """Make a video, or compare the frames it would have. If that cannot be done, the answer says why."""
        return self._do(request, ROWS_SECONDS) or Answer(
            request.name,
            why=f"its steps are not in {request.folder}: they are lost, or were not recorded",
            unread=True,
        )

    def make(self, request: Request) -> Answer | None:
        """As `do`, for a video that nobody waits for; None where its steps are still on their way."""
        return self._do(request, 0.0)

    def _do(self, request: Request, patience: float) -> Answer | None:
        limits.allow()
        try:
            self._compares = request.seen is not None
            try:
                if self._compares and self._hurries:
                    raise NotReplayable(_HURRIES)
                try:
                    found = _read(request, patience)
                except OffcamError as error:
                    return Answer(request.name, why=str(error), unread=True)
                answer = None if found is None else self._replay(request, *found)
                return _as_kept(request, answer) if answer is not None and answer.file and request.keep else answer
            finally:
                self._compares = False
        except OffcamError as error:
            return Answer(request.name, why=str(error))
        except MemoryError:
            return Answer(request.name, why="it takes more than half of this machine's memory")

    def hurry(self, *_: Any) -> None:  # noqa: ANN401 - a signal's handler
        """Give up comparisons, as nobody waits for them any more."""
        self._hurries = True
        if self._compares:
            raise NotReplayable(_HURRIES)

    def close(self) -> None:
        """Close the streams of the recorded videos."""
        while self._streams:
            _, stream = self._streams.popitem()
            with suppress(RecordingLost):  # the answer has said already that a video is not whole
                stream.release(self)

    def _replay(self, request: Request, stream: Stream, tape: FileTape, steps: Steps) -> Answer:
        seen = None if request.seen is None else FrameComparison(request.seen)
        marks = _marks(steps, request, tape.resets, seen)
        wanted = stretch(tape.resets, min(marks), max(marks))
        how = tape.recipe()
        found, kind = self._verified(request, tape, how, wanted)
        views, changes = Views(kind), tuple(differences(how.fingerprint, fingerprint(kind)))
        answer = Answer(request.name, plan=str(found.plan), diverged_at=found.diverged_at, changes=changes)
        if found.diverged_at is not None:
            if seen is None:
                self._note(request, stream, found.diverged_at, found.why)
            return answer._replace(why=f"it did not happen again: {found.why}")
        if request.size and not views.sizes:
            request = request._replace(max_size=request.size)
        env = recipe.make(how, "rgb_array", **views.arguments(request), **request.arguments)
        try:
            film = Film(tape, wanted, found.plan, env)
            numbered = _numbered(film, marks)
            if seen is None:
                fps = request.fps or float(env.metadata.get("render_fps") or DEFAULT_FPS)
                file = self._record(request._replace(fps=fps), stream, film, numbered, steps)
                answer = answer._replace(file=file, why="" if file else _NOT_MADE)
            else:
                answer = _compared(answer, seen, numbered, steps)
        finally:
            env.close()
        if film.outcome is not None and not film.outcome.verified:
            why = f"it happens otherwise where it is rendered: {film.outcome.why}"
            return answer._replace(file="", why=why, diverged_at=film.outcome.diverged_at)
        return answer

    def _verified(self, request: Request, tape: FileTape, how: Recipe, wanted: Stretch) -> tuple[Outcome, type]:
        """Replay the stretch without pictures to find a plan. Returns the outcome, and the env's class."""
        which = request.stream, request.env_index
        kinds: list[type] = []

        def make() -> Any:  # noqa: ANN401 - a base env
            env = recipe.make(how)
            kinds.append(type(env))
            tape.actions = tape.actions or ActionCodec(env.action_space)
            return env

        found = find_plan(tape, wanted, make, first=[self._plans[which]] if which in self._plans else ())
        if found.verified:
            self._plans[which] = found.plan
        return found, kinds[0]

    def _record(
        self, request: Request, stream: Stream, film: Film, numbered: Iterator[tuple[int, Any]], steps: Steps
    ) -> str:
        """Record a film as a video. Returns its path; empty where it is not whole."""
        own = self._stream(request, stream)
        clip = self._clip(request, stream, own)
        counts = _counted(steps, vector=stream.vector)
        white, told = 1.0, -1
        complete = False
        try:
            last = request.last_row - request.first_row
            for number, rendered in numbered:
                if number % request.every == 0 or number == last:
                    shown = frames.frames_of(picture(rendered))
                    white = max(white, *map(frames.white_of, shown))
                    clip.add(*frames.tiles(shown, white, (1, 1)), number)
                if counts[number]:
                    clip.step(steps["reward"][number])
                if request.tells and (percent := 100 * number // max(last, 1)) > told:
                    told = percent
                    self._tell(RenderProgress(percent))
                complete = number == last
            if film.outcome is not None and film.outcome.diverged_at is not None:
                complete = False
                clip.diverge(film.outcome.diverged_at, film.outcome.why)
        finally:
            clip.end(complete=complete)
        whole = own.flush()
        return (own.videos.newest() or "") if whole and complete else ""

    @staticmethod
    def _clip(request: Request, stream: Stream, own: EnvStream) -> ClipWriter:
        width, height = request.max_size
        clip = ClipWriter(
            own,
            request.name,
            encoding=Encoding(
                *(float(request.fps) or DEFAULT_FPS, width, height, request.preset, request.crf),
                *(request.keep, request.keep_bytes),
                urgent=request.urgent,
            ),
            episode=request.episode,
            step=request.step,
            overflow="block",
            envs=(request.env_index,) if stream.vector else (),
        )
        clip.first_row = request.first_row
        return clip

    def _note(self, request: Request, stream: Stream, step: int, why: str) -> None:
        """Record in the run that there is no video, and why."""
        own = self._stream(request, stream)
        clip = self._clip(request._replace(keep="", keep_bytes=0), stream, own)  # no rule is to judge it
        clip.diverge(step, why)
        clip.end(complete=False)
        own.flush()

    def _stream(self, request: Request, stream: Stream) -> EnvStream:
        """The stream into which a stream's replayed videos are recorded."""
        which = f"{request.folder} {stream.stream}"
        if which not in self._streams:
            own = EnvStream(
                request.folder,
                env_id=stream.env_id,
                num_envs=1,
                vector=False,
                prefix=stream.prefix,
                replays=bytes.fromhex(stream.stream),
            )
            own.acquire(self, strict=True).open()
            self._streams[which] = own
        return self._streams[which]


def _as_kept(request: Request, answer: Answer) -> Answer:
    """The answer; changed if the rule let the video go while it was being made."""
    with open_to_read(request.folder, settled=True, session="all") as database:
        file = made(database, request)
    if file is None:
        return answer._replace(file="", why="its rule has let it go meanwhile, or it is not whole")
    return answer._replace(file=os.path.join(request.folder, file))


def _read(request: Request, patience: float) -> tuple[Stream, FileTape, Steps] | None:
    """The stream, its tape, and the rows that are to be shown, once all of them can be read.

    None where those that are missing have not come in time, and may still come. Who waits for a video has it of rows,
    too, that the training has not sent yet.
    """
    deadline = time.monotonic() + patience
    unsealed = False
    while True:
        with open_to_read(request.folder, session="all", unsealed=unsealed) as database:
            found = {stream.stream: (key, stream) for key, stream in read_streams(database).items()}
            if request.stream in found:
                key, stream = found[request.stream]
                rows = (request.first_row, request.last_row + 1)
                steps = StepReader(database, request.folder).rows(key, STEPS, request.env_index, *rows)
                if steps.complete:
                    return stream, FileTape(database, request.folder, key, request.env_index), steps
                if told := [gap.reason for gap in steps.gaps if gap.reason != LOST]:
                    raise NotReplayable(f"its steps were not written, or cannot be read: {told[0]}")
                if stream.ended is not None:
                    break
        if time.monotonic() >= deadline:
            return None
        if unsealed:
            time.sleep(_LOOK_SECONDS)
        unsealed = True
    raise NotReplayable(f"its steps are not in {request.folder}: they are lost, or were not recorded")


def _marks(
    steps: Steps, request: Request, resets: Sequence[int], seen: FrameComparison | None = None
) -> dict[int, list[int]]:
    """For each row of the tape behind which a picture is taken, the numbers of the frames that show the picture.

    A row of a vector env in which only other sub-environments were reset has no frame.
    """
    if "tape" not in steps or not (steps["tape"] >= 0).all():
        raise NotReplayable("what was done to its env is not on a tape: it was not recorded with source='replay'")
    marks: dict[int, list[int]] = {}
    rows = zip(steps.row.tolist(), steps["tape"].tolist(), steps["episode"].tolist(), strict=True)
    for row, mark, episode in rows:
        number = row - request.first_row
        if episode < 0 or (seen is not None and number not in seen.numbers):
            continue
        terminal = request.terminal and row == request.last_row and _is_among(resets, mark)
        marks.setdefault(mark - terminal, []).append(number)
    return marks


def _is_among(numbers: Sequence[int], number: int) -> bool:
    place = bisect_left(numbers, number)
    return place < len(numbers) and numbers[place] == number


def _counted(steps: Steps, *, vector: bool) -> NDArray[np.bool_]:
    """Which rows count as steps of the video: no resets, and no first step whose frame shows a reset."""
    counted: NDArray[np.bool_] = steps["flags"] & RESET == 0
    if vector and len(steps.row) > 1 and counted[1] and 0 <= steps["episode"][0] < steps["episode"][1]:
        counted[0] = False
    return counted


def _compared(answer: Answer, seen: FrameComparison, film: Iterator[tuple[int, Any]], steps: Steps) -> Answer:
    """The answer with the outcome of comparing the frames of a film."""
    if all(seen.look(number, picture(rendered)) for number, rendered in film):
        return answer._replace(pictures=seen.pictures)
    assert seen.differs_at is not None  # noqa: S101 - set when a frame differed
    step, episode = int(steps["step"][seen.differs_at]), int(steps["episode"][seen.differs_at])
    return answer._replace(why=f"the picture after step {step} of episode {episode} differs from the recorded one")


def _numbered(film: Film, marks: dict[int, list[int]]) -> Iterator[tuple[int, Any]]:
    """The frames of a video, each with its number."""
    for mark, rendered in film.frames(marks):
        for number in marks[mark]:
            yield number, rendered
