"""What has become of a run: whether it is recorded, has ended, or came to an end that nobody said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from offcam_runs import format as fmt

if TYPE_CHECKING:
    from collections.abc import Collection

    from offcam_runs.streams import Stream

LIVE: Final = "live"
ENDED: Final = "ended"
CRASHED: Final = "crashed"
LOST: Final = "lost"
RUN_STATES: Final = (LIVE, ENDED, CRASHED, LOST)
"""States of a run, in order: somebody records into it; each of its streams was closed by its client; a client vanished,
as if it was killed; unknown, as its recorder was gone before its end or the folder cannot be read."""


def state_of(streams: Collection[Stream]) -> str:
    """The state of a run that nobody records into at this moment.

    A stream whose client vanished does not count where a later stream went on with its environment; nor does a stream
    that replays other streams' episodes.

    Args:
        streams: of the session in question.
    """
    own = [stream for stream in streams if not stream.replays]
    latest = {_environment(stream): stream for stream in sorted(own, key=lambda stream: stream.started)}
    states = {stream.state for stream in own if stream.state != fmt.LOST or not _went_on(stream, latest)}
    if fmt.LIVE in states:
        return LOST
    return CRASHED if fmt.LOST in states else ENDED


def _environment(stream: Stream) -> tuple[str, str, int]:
    return stream.env_id, stream.prefix, stream.suffix


def _went_on(stream: Stream, latest: dict[tuple[str, str, int], Stream]) -> bool:
    return stream.ended is not None and latest[_environment(stream)].started >= stream.ended
