"""What a process that replays is asked for, and what it answers: one line of JSON each. Sans-I/O."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final, NamedTuple

from offcam_proto import validation as check
from offcam_proto.errors import MalformedMessage

END: Final = b"\n"
"""The line behind the last request. The end of its input means the same, but a forked child may keep that open."""


class Request(NamedTuple):
    """A video to be made of steps that were recorded.

    Attributes:
        folder: absolute path of the run folder.
        stream: id of the stream, 32 hexadecimal digits.
        first_row: the first row of its table of steps that is to be shown.
        last_row: the last one.
        name: of the video, without ``.mp4``.
        episode: as in `records.ClipRecord`.
        step: as in `records.ClipRecord`.
        fps: frames per second; 0 for the env's own.
        max_size: ``[width, height]`` in pixels, as of `RecordVideo`; zeros for none.
        crf: as of `RecordVideo`; None for the daemon's own.
        preset: as of `RecordVideo`; empty for the daemon's own.
        arguments: keyword arguments to make the env with, beside its own, such as the size of its pictures.
        every: take each n-th frame, and the last.
        env_index: the sub-environment.
        terminal: whether the last frame is the terminal one of an episode, even where its sub-environment was reset in
            the
            same step.
        seen: no video is made; what it would show is compared with this: what was drawn at the time, as
            `offcam.replay.seen` packs it.
        keep: the rule that keeps its episode, as of `messages.OpenClip`; empty for a video that stays in any case.
        keep_bytes: as of `messages.OpenClip`.
        size: ``[width, height]`` in pixels that its pictures are rendered in where the env can do that; else they are
            scaled to fit in it. None for the env's own.
        camera: name or number of the camera to render from, of an env that has several; empty for its own.
        urgent: as of `messages.OpenClip`.
        tells: whether lines of `RenderProgress` come before its answer.
    """

    folder: str
    stream: str
    first_row: int
    last_row: int
    name: str
    episode: int
    step: int
    fps: float
    max_size: list[int]
    crf: int | None
    preset: str
    arguments: dict[str, Any]
    every: int = 1
    env_index: int = 0
    terminal: bool = False
    seen: dict[str, Any] | None = None
    keep: str = ""
    keep_bytes: int = 0
    size: list[int] | None = None
    camera: str = ""
    urgent: bool = False
    tells: bool = False

    @property
    def line(self) -> str:
        """The request as a line of JSON."""
        return json.dumps(self._asdict()) + "\n"

    @staticmethod
    def parse(line: str) -> Request:
        """Parse a line of JSON.

        Raises:
            MalformedMessage: the line is not a request.
        """
        return Request.of(line, {})

    @staticmethod
    def of(text: str, about: dict[str, Any]) -> Request:
        """A request from a line of JSON that has some of its fields; the others are given. Raises as `parse`."""
        names = tuple(name for name in Request._fields if name not in about)
        return Request(**_fields(text, names, Request._field_defaults), **about)


class Follow(NamedTuple):
    """Asks for all videos of a stream that its rule keeps: those that it keeps by now, and each that it will keep.

    An empty `Answer` says that none is left to be rendered. Before and after that, an `Answer` that nobody asked for
    tells of each video that was rendered or cannot be.

    Attributes:
        folder: absolute path of the run folder.
        follow: id of the stream.
    """

    folder: str
    follow: str

    @property
    def line(self) -> str:
        """The request as a line of JSON."""
        return json.dumps(self._asdict()) + "\n"


def parse(line: str) -> Request | Follow:
    """Parse a line of JSON.

    Raises:
        MalformedMessage: the line is not one of these requests.
    """
    with suppress(MalformedMessage):
        return Follow(**_fields(line, Follow._fields, {}))
    return Request.parse(line)


class RenderProgress(NamedTuple):
    """How far a video is that asked for it: each number of percent once, at most.

    Attributes:
        percent: of its steps that have happened again and are rendered.
    """

    percent: int

    @property
    def line(self) -> str:
        """As a line of JSON."""
        return json.dumps(self._asdict()) + "\n"


class Answer(NamedTuple):
    """What became of a request.

    Attributes:
        name: of the video.
        file: its path; empty where there is none.
        why: why there is none; empty where there is one.
        plan: the way in which the episode was replayed, for people.
        diverged_at: the first step of the video that differed from the recorded one, 0 for its reset.
        changes: what differs from the time of the recording: see `fingerprint.differences`.
        pictures: how many different pictures were compared, where that was asked for, and matched.
        unread: whether nothing was tried, as the steps are not there, or not yet.
        kept: whether the video was made because a rule keeps it, not because it was asked for.
    """

    name: str
    file: str = ""
    why: str = ""
    plan: str = ""
    diverged_at: int | None = None
    changes: tuple[str, ...] = ()
    pictures: int = 0
    unread: bool = False
    kept: bool = False

    @property
    def line(self) -> str:
        """The answer as a line of JSON."""
        return json.dumps(self._asdict()) + "\n"

    @staticmethod
    def parse(line: str) -> Answer:
        """Parse a line of JSON.

        Raises:
            MalformedMessage: the line is not an answer.
        """
        return Answer(**_fields(line, Answer._fields, Answer._field_defaults))


def parse_answer(line: str) -> RenderProgress | Answer:
    """What a line of the process tells.

    Raises:
        MalformedMessage: nothing that there is.
    """
    with suppress(MalformedMessage):
        return RenderProgress(**_fields(line, RenderProgress._fields, {}))
    return Answer.parse(line)


def _fields(line: str, names: tuple[str, ...], defaults: dict[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise MalformedMessage(f"not a line of a process that replays: {check.shown(line)}") from error
    if not isinstance(found, dict) or not set(names) - set(defaults) <= set(found) <= set(names):
        raise MalformedMessage(f"not a line of a process that replays: {check.shown(line)}")
    return found
