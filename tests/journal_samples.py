"""Journals as `proto/FORMAT.md` has them, written by hand, for the tests of those who read them and take them in."""

import struct
import zlib
from pathlib import Path

from offcam_proto.codec import encode, pack_record
from offcam_proto.records import numbered
from run_samples import stream


def frame(seq, body):
    numbered = struct.pack("<Q", seq) + body
    return struct.pack("<II", len(body), zlib.crc32(numbered)) + numbered


def journal_bytes(opening, *records, first_seq=1):
    frames = [frame(0, encode(opening)[0])]
    frames += [frame(seq, body) for seq, body in numbered(first_seq, map(pack_record, records))]
    return b"OFFCAMJ1" + b"".join(frames)


def write_journal(folder, *records, opening=None, first_seq=1, spare=4096):
    """Leave a journal in a run folder, with room behind its frames as a client allocates it."""
    opening = opening or stream()
    path = Path(folder) / "offcam.pending" / f"{opening.stream.hex()}.rec"
    path.parent.mkdir(0o755, parents=True, exist_ok=True)
    path.write_bytes(journal_bytes(opening, *records, first_seq=first_seq) + bytes(spare))
    return path
