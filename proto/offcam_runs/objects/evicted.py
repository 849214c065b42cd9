"""Videos and steps of a run folder that were removed there, as object storage has them: ``offcam.evicted.json``.

Whoever sends the run writes it, before the files go, and never the index, which is the recorder's.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from offcam_proto.errors import ConfigError, RunFolderError
from offcam_runs.filesystem import replace_file
from offcam_runs.format import EVICTED_NAME
from offcam_runs.json_text import dumps
from offcam_runs.objects.layout import ObjectPlace

VERSION: Final = 1
MOST_BYTES: Final = 64 << 20
"""Of a file that is read: a larger one is none of ours."""

Spans = tuple[tuple[int, int], ...]
"""Numbers in order, as the first and the last of each stretch without a gap."""

Places = Mapping[str, Mapping[str, Spans]]
"""By the URL of a run's place in object storage, and by stream, numbers of what is there."""


@dataclass(frozen=True)
class Evicted:
    """Which clips' files and which files of steps are in object storage alone.

    Attributes:
        places: of clips.
        steps: of files of steps.
    """

    places: Places = field(default_factory=dict)
    steps: Places = field(default_factory=dict)

    def url_of(self, stream: str, clip: int) -> str | None:
        """The URL of the run that has the file of a clip; None for a clip that was not evicted."""
        return _url_of(self.places, stream, clip)

    def url_of_steps(self, stream: str, file: int) -> str | None:
        """Likewise of one of the stream's files of steps."""
        return _url_of(self.steps, stream, file)

    def with_clips(self, url: str, clips: Iterable[tuple[str, int]]) -> Evicted:
        """The same, and these clips, each by its stream and its number in that."""
        return replace(self, places=_with(self.places, url, clips))

    def with_steps(self, url: str, numbers: Iterable[tuple[str, int]]) -> Evicted:
        """Likewise of files of steps."""
        return replace(self, steps=_with(self.steps, url, numbers))

    def count_steps(self, url: str) -> int:
        """How many files of steps a place alone has."""
        return sum(last - first + 1 for spans in self.steps.get(url, {}).values() for first, last in spans)


def _url_of(places: Places, stream: str, number: int) -> str | None:
    for url, streams in places.items():
        if any(first <= number <= last for first, last in streams.get(stream, ())):
            return url
    return None


def _with(places: Places, url: str, numbers: Iterable[tuple[str, int]]) -> Places:
    streams = dict(places.get(url, {}))
    added: dict[str, list[int]] = {}
    for stream, number in numbers:
        added.setdefault(stream, []).append(number)
    for stream, own in added.items():
        streams[stream] = joined([*streams.get(stream, ()), *((number, number) for number in own)])
    return {**places, url: streams}


def joined(spans: Iterable[tuple[int, int]]) -> Spans:
    """Stretches of numbers in order, those that touch each other as one."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return tuple(found)


def read_evicted(folder: str | os.PathLike[str]) -> Evicted:
    """What was evicted of a run; nothing where the file is damaged, or of another program. Never raises."""
    with suppress(OSError, ValueError):
        return _read(Path(folder))
    return Evicted()


def note_evicted(
    folder: str | os.PathLike[str],
    url: str,
    clips: Iterable[tuple[str, int]] = (),
    steps: Iterable[tuple[str, int]] = (),
) -> None:
    """Note that files of clips, or of steps, are about to go, as a place has them. It is on the disk when this returns.

    Of one process at a time: the caller sees to that.

    Raises:
        RunFolderError: the folder cannot be written, or its file is not one that is understood.
    """
    file = Path(folder, EVICTED_NAME)
    try:
        found = _read(Path(folder)).with_clips(url, clips).with_steps(url, steps)
        replace_file(file, dumps({"version": VERSION, "places": found.places, "steps": found.steps}))
    except OSError as error:
        raise RunFolderError(
            f"{folder} cannot be written by user id {os.geteuid()} ({error.strerror}), so nothing is removed there: "
            "make it writable, or send without a limit"
        ) from error
    except ValueError as error:
        raise RunFolderError(
            f"{file} is not understood ({error}), so nothing is removed there: move it away, or use a newer offcam"
        ) from error


def _read(folder: Path) -> Evicted:
    """What the file says; nothing where there is none. Raises OSError and ValueError."""
    try:
        descriptor = os.open(folder / EVICTED_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Evicted()
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > MOST_BYTES:
            raise ValueError(f"it is no file of at most {MOST_BYTES} bytes")
        return _parsed(os.read(descriptor, facts.st_size))
    finally:
        os.close(descriptor)


@lru_cache(maxsize=8)  # a reader asks for each clip by itself
def _parsed(text: bytes) -> Evicted:
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    kinds = [found.get("places"), found.get("steps", {})] if isinstance(found, dict) else []
    if not kinds or found.get("version") != VERSION or not all(isinstance(places, dict) for places in kinds):
        raise ValueError(f"it is not of version {VERSION}")
    return Evicted(*map(_checked_places, kinds))


def _checked_places(places: dict[str, Any]) -> Places:
    return {_checked_url(url): _checked_streams(streams) for url, streams in places.items()}


def _checked_url(url: str) -> str:
    try:
        return ObjectPlace.parse(url).url
    except ConfigError as error:
        raise ValueError(str(error)) from error


def _checked_streams(streams: Any) -> dict[str, Spans]:  # noqa: ANN401 - whatever somebody has written
    try:
        return {stream: _checked_spans(spans) for stream, spans in streams.items()}
    except AttributeError:
        raise ValueError("a place has no streams") from None


def _checked_spans(spans: Any) -> Spans:  # noqa: ANN401 - as above
    if not isinstance(spans, list) or not all(map(_is_span, spans)):
        raise ValueError("a stream has something else than first and last numbers")
    if any(before[1] >= after[0] for before, after in pairwise(spans)):
        raise ValueError("a stream's numbers are not in order")
    return tuple((first, last) for first, last in spans)


def _is_span(span: Any) -> bool:  # noqa: ANN401 - as above
    return (
        isinstance(span, Sequence)
        and len(span) == 2
        and all(type(number) is int for number in span)
        and 0 <= span[0] <= span[1]
    )
