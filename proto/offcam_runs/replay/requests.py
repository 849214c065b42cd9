"""What a process that replays is asked for, and what it answers: a line of JSON each. Sans-I/O."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final, NamedTuple

from offcam_proto import validation as check
from offcam_proto.errors import MalformedMessage

END: Final = b"\n"
"""The line behind the last request. The process leaves at the end of its input, too, but a forked child keeps that."""


class Request(NamedTuple):
    """A video to be made of steps that were recorded.

    Attributes:
        folder: absolute path of the run folder.
        stream: id of the stream, 32 hexadecimal digits.
        first_row: the first row of its table of steps that is to be shown.
        last_row: the last one.
        name: of the video, without ``.mp4``.
        episode: as of `records.ClipRecord`.
        step: likewise.
        fps: frames per second; 0 for the env's own.
        max_size: ``[width, height]`` as of `RecordVideo`; zeros for none.
        crf: likewise; None for the daemon's.
        preset: likewise; empty for the daemon's.
        arguments: with which the env is made beside its own, as the size of its pictures.
        every: take each so manieth frame of it, and its last.
        env_index: the sub-environment.
        terminal: whether its last frame is what an episode ended with, also where its sub-environment was reset in the
            same step.
        seen: no video is made, but what it would show compared with this: what was drawn at the time, as
            `offcam.replay.seen` packs it.
        keep: the rule that keeps its episode, as of `messages.OpenClip`; empty for a video that stays in any case.
        keep_bytes: likewise.
        size: ``[width, height]`` that its pictures are rendered in, where the env can; else they fit in that. None for
            the env's own.
        camera: name or number of the camera that they are seen by, of an env that has several; empty for its own.
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

    @property
    def line(self) -> str:
        """As a line of JSON."""
        return json.dumps(self._asdict()) + "\n"

    @staticmethod
    def parse(line: str) -> Request:
        """The request that a line is of.

        Raises:
            MalformedMessage: it is of none.
        """
        return Request.of(line, {})

    @staticmethod
    def of(text: str, about: dict[str, Any]) -> Request:
        """The request that has some fields by themselves, and the others in a line of JSON. Raises as `parse`."""
        names = tuple(name for name in Request._fields if name not in about)
        return Request(**_fields(text, names, Request._field_defaults), **about)


class Follow(NamedTuple):
    """Videos of a stream are to be made that its rule keeps: those that it keeps by now, and each that it will.

    It is answered, by an empty `Answer`, once none is left to be made; until then and from then on each that is made,
    or cannot be, is told by one that nobody has asked for.

    Attributes:
        folder: as of `Request`.
        follow: id of the stream.
    """

    folder: str
    follow: str

    @property
    def line(self) -> str:
        """As a line of JSON."""
        return json.dumps(self._asdict()) + "\n"


def parse(line: str) -> Request | Follow:
    """What a line asks for.

    Raises:
        MalformedMessage: nothing that there is.
    """
    with suppress(MalformedMessage):
        return Follow(**_fields(line, Follow._fields, {}))
    return Request.parse(line)


class Answer(NamedTuple):
    """What became of a request.

    Attributes:
        name: of the video.
        file: its path; empty where there is none.
        why: why there is none; empty where there is one.
        plan: by which the episode happened again, for people.
        diverged_at: the step of the video that was another one than when it was recorded, 0 for its reset.
        changes: what is another than when it was recorded: see `fingerprint.differences`.
        pictures: how many different ones were compared, where that was asked for, and were those of then.
        unread: whether it was not tried, as its steps are not there, or not yet.
        kept: whether it was made as a rule keeps it, rather than asked for.
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
        """As a line of JSON."""
        return json.dumps(self._asdict()) + "\n"

    @staticmethod
    def parse(line: str) -> Answer:
        """The answer that a line is of.

        Raises:
            MalformedMessage: it is of none.
        """
        return Answer(**_fields(line, Answer._fields, Answer._field_defaults))


def _fields(line: str, names: tuple[str, ...], defaults: dict[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise MalformedMessage(f"not a line of a process that replays: {check.shown(line)}") from error
    if not isinstance(found, dict) or not set(names) - set(defaults) <= set(found) <= set(names):
        raise MalformedMessage(f"not a line of a process that replays: {check.shown(line)}")
    return found
