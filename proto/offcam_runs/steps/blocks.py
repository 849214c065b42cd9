"""A block: the rows of one record of steps as they lie on the disk, transposed by bytes and compressed.

First come the first bytes of all rows, then the second bytes, and so on: so the columns lie one behind the other, and
within a column its bytes of equal weight, which compresses best. ``proto/FORMAT.md`` is its specification.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, NamedTuple

from offcam_proto.errors import ConfigError, MalformedMessage
from offcam_proto.limits import MAX_RECORD_BYTES
from offcam_proto.records import StepRecord
from offcam_runs.steps.layout import FIRST_COLUMNS, HEAP, STEPS, TABLES, Layout

HEAD: Final = struct.Struct("<BBHIIQQQQ")
"""What a block begins with: its codec, its table, the length of its layout, how many rows and bytes of heap it has, and
its env_index, first_row, first_episode and last_episode."""

STORED: Final = 0
ZSTD: Final = 1
"""Codecs of a block: not compressed, or by Zstandard."""

LEVEL: Final = 3
"""Level of compression, of Zstandard."""


def pack(record: StepRecord) -> bytes:
    """A record as a block. It is not compressed where Zstandard is missing, or gains nothing.

    Raises:
        MalformedMessage: the record's bytes are not the rows of its layout.
    """
    import numpy as np  # noqa: PLC0415 - a daemon takes records before it has loaded that

    layout = layout_of(record)
    rows = np.frombuffer(record.rows, np.uint8).reshape(record.count, layout.row_bytes)
    plain: bytes = rows.T.tobytes() + record.heap
    codec, data = STORED, plain
    if (zstd := _zstd()) is not None and len(packed := zstd.compress(_pieces(plain, record))) < len(plain):
        codec, data = ZSTD, packed
    text = record.layout.encode()
    sizes = (len(text), record.count, len(record.heap))
    numbers = (record.env_index, record.first_row, record.first_episode, record.last_episode)
    return HEAD.pack(codec, record.table, *sizes, *numbers) + text + data


def unpack(block: bytes) -> StepRecord:
    """The record in a block. No more is decompressed than a record can have.

    Raises:
        RemoteProtocolError: the bytes are not a block, or are damaged.
        ConfigError: the block is compressed, and Zstandard is not installed.
    """
    import numpy as np  # noqa: PLC0415 - as above

    if len(block) < HEAD.size:
        raise MalformedMessage(f"a block of steps has at least {HEAD.size} bytes, got {len(block)}")
    codec, table, text_bytes, count, heap_bytes, *numbers = HEAD.unpack_from(block)
    env_index, first_row, first_episode, last_episode = numbers
    begin = HEAD.size + text_bytes
    try:
        text = block[HEAD.size : begin].decode()
    except UnicodeDecodeError as error:
        raise MalformedMessage(f"the layout of a block of steps is no text: {error}") from error
    row_bytes = Layout.parse(text).row_bytes
    if not 0 < count * row_bytes + heap_bytes <= MAX_RECORD_BYTES:
        raise MalformedMessage(f"a block of steps has at most {MAX_RECORD_BYTES} bytes, got {count} of {row_bytes}")
    plain = _plain(codec, block[begin:], count * row_bytes + heap_bytes)
    columns = np.frombuffer(plain, np.uint8, count * row_bytes).reshape(row_bytes, count)
    record = StepRecord(
        table=table,
        env_index=env_index,
        first_row=first_row,
        count=count,
        first_episode=first_episode,
        last_episode=last_episode,
        layout=text,
        rows=columns.T.tobytes(),
        heap=plain[count * row_bytes :],
    )
    layout_of(record)
    return record


def layout_of(record: StepRecord) -> Layout:
    """The layout of a record's rows.

    Raises:
        MalformedMessage: the record's bytes are not rows of that layout, or there is no such table.
    """
    import numpy as np  # noqa: PLC0415 - as above

    layout = Layout.parse(record.layout)
    if record.table not in TABLES:
        raise MalformedMessage(f"the tables of steps are {TABLES}, got {record.table}")
    if record.table == STEPS and layout.columns[: len(FIRST_COLUMNS)] != FIRST_COLUMNS:
        raise MalformedMessage(f"rows of steps begin with {FIRST_COLUMNS}, got {record.layout}")
    if not layout.row_bytes or len(record.rows) != record.count * layout.row_bytes:
        raise MalformedMessage(
            f"{record.count} rows of {layout.row_bytes} bytes each cannot have {len(record.rows)}: {record.layout}"
        )
    if len(record.rows) + len(record.heap) > MAX_RECORD_BYTES:
        raise MalformedMessage(f"a record of steps is at most {MAX_RECORD_BYTES} bytes, got {len(record.rows)} of rows")
    try:
        fits = layout.dtype.itemsize == layout.row_bytes and layout.dtype.names == tuple(c.name for c in layout.columns)
    except ValueError as error:
        raise MalformedMessage(f"numpy cannot have such rows: {error}") from error
    if not fits:
        raise MalformedMessage(f"numpy cannot have such rows: {record.layout}")
    rows = np.frombuffer(record.rows, layout.dtype)
    heap = sum(int(rows[name].sum(dtype=np.uint64)) for name, dtype, _ in layout.columns if dtype == HEAP)
    if heap != len(record.heap):
        raise MalformedMessage(f"the values of the rows' heap have {heap} bytes, and it has {len(record.heap)}")
    return layout


def _pieces(plain: bytes, record: StepRecord) -> list[bytes]:
    """A block's data in pieces that are coded each by itself, since noise beside what is not has both take more room.

    Each plane of bytes that are not all alike begins one, and the heap.
    """
    count = record.count
    begins = [
        begin
        for begin in range(0, len(record.rows), count)
        if not begin or plain.count(plain[begin], begin, begin + count) < count
    ]
    ends = [*begins[1:], len(record.rows)]
    pieces = [plain[begin:end] for begin, end in zip(begins, ends, strict=True)]
    return [*pieces, record.heap] if record.heap else pieces


# --- compression ------------------------------------------------------------------------------------------


class _Zstd(NamedTuple):
    """Zstandard, from Python itself or from a package.

    Attributes:
        compress: makes one frame, which says its size, of some pieces, each in blocks of its own.
        decompress: reads a frame of exactly so many bytes; ValueError for any other.
    """

    compress: Callable[[Sequence[bytes]], bytes]
    decompress: Callable[[bytes, int], bytes]


def _plain(codec: int, data: bytes, size: int) -> bytes:
    if codec == STORED and len(data) == size:
        return data
    if codec != ZSTD:
        raise MalformedMessage(f"a block of steps of {size} bytes in {len(data)} bytes, compressed by {codec}")
    zstd = _zstd()
    if zstd is None:
        raise ConfigError('steps are compressed, and zstandard is not installed. Run: pip install "offcam[replay]"')
    try:
        return zstd.decompress(data, size)
    except ValueError as error:
        raise MalformedMessage(f"a block of steps is damaged: {error}") from error


@lru_cache(maxsize=1)
def _zstd() -> _Zstd | None:
    """Zstandard of Python, from 3.14 on, or of the package; None where there is neither."""
    with suppress(ImportError):
        return _of_python(import_module("compression.zstd"))
    with suppress(ImportError):
        return _of_package(import_module("zstandard"))
    return None


def _of_python(module: Any) -> _Zstd:  # noqa: ANN401 - a module
    def decompress(data: bytes, size: int) -> bytes:
        try:
            said = module.get_frame_info(data).decompressed_size
            plain: bytes = module.ZstdDecompressor().decompress(data, size) if said == size else b""
        except module.ZstdError as error:
            raise ValueError(str(error)) from error
        return _of_size(plain, said, size)

    def compress(pieces: Sequence[bytes]) -> bytes:
        compressor = module.ZstdCompressor(LEVEL)
        compressor.set_pledged_input_size(sum(map(len, pieces)))
        parts = [compressor.compress(piece, compressor.FLUSH_BLOCK) for piece in pieces]
        return b"".join((*parts, compressor.flush(compressor.FLUSH_FRAME)))

    return _Zstd(compress, decompress)


def _of_package(module: Any) -> _Zstd:  # noqa: ANN401 - as above
    def decompress(data: bytes, size: int) -> bytes:
        try:
            said = module.frame_content_size(data)  # it makes room for as much as the data claims
            plain: bytes = module.ZstdDecompressor().decompress(data, size) if said == size else b""
        except module.ZstdError as error:
            raise ValueError(str(error)) from error
        return _of_size(plain, said, size)

    def compress(pieces: Sequence[bytes]) -> bytes:
        compressor = module.ZstdCompressor(level=LEVEL).compressobj(size=sum(map(len, pieces)))
        parts = [
            part
            for piece in pieces
            for part in (compressor.compress(piece), compressor.flush(module.COMPRESSOBJ_FLUSH_BLOCK))
        ]
        return b"".join((*parts, compressor.flush()))

    return _Zstd(compress, decompress)


def _of_size(plain: bytes, said: int | None, size: int) -> bytes:
    if len(plain) != size:
        raise ValueError(f"its data has {said} bytes instead of {size}")
    return plain
