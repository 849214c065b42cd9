"""The journal of a stream: the records that no index has yet, in a file that its client appends to.

Here is what the file looks like, and where it lies: in the run folder, in `PENDING_NAME`, or where that cannot be
written, in `state_folder`. The client writes it (`offcam.recorder.journal`). ``proto/FORMAT.md`` is its specification.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zlib import crc32

from offcam_proto import codec
from offcam_proto.limits import MAX_EPISODES_PER_BODY
from offcam_runs.format import JOURNAL_EXTENSION, PENDING_NAME, TAIL_EXTENSION

if TYPE_CHECKING:
    import os

    from offcam_proto.messages import Buffer, Hello, OpenStream

MAGIC: Final = b"OFFCAMJ1"
"""What a journal begins with."""

END: Final = bytes(4)
"""The length that ends a journal, written behind each frame that is appended: what follows may be of older frames."""

FRAME: Final = struct.Struct("<IIQ")
"""What each frame begins with: the length of its body, the CRC-32 of the rest, and the number of its first record."""

_NUMBER = struct.Struct("<Q")


def journal_of(folder: str | os.PathLike[str], stream: bytes) -> Path:
    """Where the journal of a stream of a run lies."""
    return Path(folder, PENDING_NAME, stream.hex() + JOURNAL_EXTENSION)


def tail_of(journal: Path) -> Path:
    """Where the tail of a stream lies: beside its journal, without which there is none."""
    return journal.with_suffix(TAIL_EXTENSION)


def state_folder(environ: Mapping[str, str], uid: int) -> str:
    """The folder, of this host and this user, in which journals lie that cannot lie in their run's folder."""
    if (state := environ.get("XDG_STATE_HOME", "")).startswith("/"):
        return f"{state}/offcam"
    if (home := environ.get("HOME", "")).startswith("/"):
        return f"{home}/.local/state/offcam"
    return f"/var/tmp/offcam-{uid}"  # noqa: S108 - used only where it is this user's alone


def frame(seq: int, body: bytes) -> bytes:
    """A frame: one record, or with number 0 how the stream is opened and by whom."""
    return FRAME.pack(len(body), crc32(body, crc32(_NUMBER.pack(seq))), seq) + body


def head(info: OpenStream, client: Hello) -> bytes:
    """What a journal begins with, its first two frames included: how its stream is opened, and who its client is."""
    return MAGIC + b"".join(frame(0, bytes(codec.encode(each)[0])) for each in (info, client))


def frames(data: Buffer) -> Iterator[tuple[int, bytes]]:
    """The frames of a journal, each one's number and body, up to the journal's end or to a torn frame.

    In the place of a damaged frame with a whole one behind it come frames with empty bodies, which are no records: one
    for each number in between. There are none where the data is no journal.
    """
    view = memoryview(data)
    at = len(MAGIC)
    if bytes(view[:at]) != MAGIC:
        return
    while at + FRAME.size <= len(view):
        length, crc, seq = FRAME.unpack_from(view, at)
        body = bytes(view[at + FRAME.size : at + FRAME.size + length])
        at += FRAME.size + length
        if not length or len(body) < length:
            return
        if crc32(body, crc32(_NUMBER.pack(seq))) == crc:
            yield seq, body
        elif seq and 1 <= (lost := _begins(view[at:]) - seq) <= MAX_EPISODES_PER_BODY:
            yield from ((number, b"") for number in range(seq, seq + lost))
        else:
            return


def _begins(view: memoryview) -> int:
    """The number of the whole frame that the data begins with; 0 where it begins with none."""
    if len(view) < FRAME.size:
        return 0
    length, crc, seq = FRAME.unpack_from(view)
    body = view[FRAME.size : FRAME.size + length]
    return int(seq) if len(body) == length > 0 and crc32(body, crc32(_NUMBER.pack(seq))) == crc else 0
