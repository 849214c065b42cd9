"""Messages to parts and back: one msgpack header, then, as it is, what some have behind it: pixels, JSON, episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import msgspec
from msgspec.structs import astuple

from offcam_proto import messages as msg
from offcam_proto import validation as check
from offcam_proto.errors import LimitExceeded, MalformedMessage, RemoteProtocolError, VersionMismatch
from offcam_proto.layout import FrameLayout
from offcam_proto.limits import (
    MAX_EPISODES_BYTES,
    MAX_HEADER_BYTES,
    MAX_PIXEL_PARTS,
    MAX_RECORD_BYTES,
    MAX_STATS_BYTES,
    PROTOCOL_VERSION,
)
from offcam_proto.pushing import ClipElsewhere, ClipsGone
from offcam_proto.records import RECORD_KINDS, ClipRecord, EpisodeColumns, Record
from offcam_proto.resuming import RunReply

Parts = list[msg.Buffer]
"""One message as it travels: the header, then the parts outside of it (pixels, JSON or episodes)."""


_BEHIND: dict[type[Any], int] = {msg.StatsReply: MAX_STATS_BYTES, RunReply: MAX_EPISODES_BYTES}
"""Messages whose last field is a part of its own behind the header, and its largest size in bytes."""

_CLIENT: dict[int, type[Any]] = {cls.TYPE: cls for cls in get_args(msg.ClientMessage)}
_SERVER: dict[int, type[Any]] = {cls.TYPE: cls for cls in get_args(msg.ServerMessage)}
_pack = msgspec.msgpack.Encoder().encode
_unpack_any = msgspec.msgpack.Decoder().decode  # one with types would take 1 for 1.0, and pass over surplus fields


def encode(message: msg.Message) -> Parts:
    """Turn a message into its parts; a frame's pixels are passed on, never copied.

    Raises:
        LimitExceeded: the header is larger than `MAX_HEADER_BYTES`.
    """
    if isinstance(message, msg.Frame):
        layouts = [(lay.shape, lay.strides, lay.offset) for lay in message.layouts]
        header = (msg.Frame.TYPE, message.handle, message.clip, message.index, layouts)
        return [_bounded(_pack(header)), *message.pixels]
    if isinstance(message, msg.SlotFrames):
        sized = [(lay.shape, lay.strides, lay.offset, lay.nbytes) for lay in message.layouts]
        return [_bounded(_pack((msg.SlotFrames.TYPE, message.handle, message.clip, sized, message.frames)))]
    if type(message) in _BEHIND:
        *values, behind = astuple(message)
        return [_bounded(_pack((message.TYPE, *values))), behind]
    return [_bounded(_pack((message.TYPE, *astuple(message))))]


def decode_client(parts: Sequence[msg.Buffer]) -> msg.ClientMessage:
    """Parse what a client sent. See `_decode` for what is raised."""
    message: msg.ClientMessage = _decode(parts, _CLIENT)
    return message


def decode_server(parts: Sequence[msg.Buffer]) -> msg.ServerMessage:
    """Parse what a daemon sent. See `_decode` for what is raised."""
    message: msg.ServerMessage = _decode(parts, _SERVER)
    return message


def pack_record(record: Record) -> bytes:
    """Pack one record, or many as columns, for a `Records` message.

    Raises:
        LimitExceeded: it is larger than `MAX_RECORD_BYTES`.
    """
    body = _pack((record.KIND, *astuple(record)))
    if len(body) > MAX_RECORD_BYTES:
        raise LimitExceeded(f"a record is at most {MAX_RECORD_BYTES} bytes, got {len(body)}")
    return body


def unpack_record(body: bytes) -> Record:
    """Parse one record.

    Raises:
        MalformedMessage: the bytes are not a record.
        LimitExceeded: it, or one of its fields, is too large.
    """
    if len(body) > MAX_RECORD_BYTES:
        raise LimitExceeded(f"a record is at most {MAX_RECORD_BYTES} bytes, got {len(body)}")
    kind, values = _unpack(body)
    if kind in (ClipRecord.KIND, EpisodeColumns.KIND):
        values = [tuple(value) if isinstance(value, list) else value for value in values]
    record: Record = _build(RECORD_KINDS.get(kind), kind, values)
    return record


def unpack_value(data: bytes) -> Any:  # noqa: ANN401 - of msgpack's types
    """Parse one value that stands alone, as an action of no fixed size does.

    Raises:
        MalformedMessage: the bytes are not one msgpack value.
    """
    try:
        return _unpack_any(data)
    except (ValueError, TypeError, RecursionError, msgspec.MsgspecError) as error:
        raise MalformedMessage(f"not a msgpack value: {error}") from error


def version_mismatch(daemon: int, client: int) -> VersionMismatch:
    """The error of two sides that speak different versions of the protocol."""
    return VersionMismatch(
        f"the daemon speaks protocol version {daemon} and the client {client}: install the same offcam on both "
        "sides, or unset OFFCAM_ADDR, as daemons of several versions can run side by side.",
    )


def _bounded(header: msg.Buffer) -> msg.Buffer:
    size = memoryview(header).nbytes
    if size > MAX_HEADER_BYTES:
        raise LimitExceeded(f"a header is at most {MAX_HEADER_BYTES} bytes, got {size}")
    return header


def _unpack(data: msg.Buffer) -> tuple[int, list[Any]]:
    try:
        header = _unpack_any(data)
    except (ValueError, TypeError, RecursionError, msgspec.MsgspecError) as error:
        raise MalformedMessage(f"not a msgpack header: {error}") from error
    if not isinstance(header, list) or not header or type(header[0]) is not int:
        raise MalformedMessage("a header is an array that starts with a type code")
    return header[0], header[1:]


def _build(cls: type[Any] | None, code: int, values: list[Any]) -> Any:  # noqa: ANN401 - one of a union, which the callers name
    if cls is None:
        raise MalformedMessage(f"unknown type code {code}")
    if len(values) != len(cls.__struct_fields__):
        raise MalformedMessage(f"{cls.__name__} has {len(cls.__struct_fields__)} fields, got {len(values)}")
    return cls(*values)


def _decode(parts: Sequence[msg.Buffer], known: dict[int, type[Any]]) -> Any:  # noqa: ANN401 - see _build
    """Parse one message.

    Raises:
        MalformedMessage: the bytes are not a message of this direction.
        LimitExceeded: it, or one of its fields, is larger than its limit.
    """
    if not parts:
        raise MalformedMessage("a message without parts")
    header, *others = parts
    code, values = _unpack(_bounded(header))
    cls = known.get(code)
    if cls is msg.Frame:
        return _decode_frame(values, others)
    if cls in _BEHIND:
        return _build(cls, code, [*values, _only_part(code, others, _BEHIND[cls])])
    if others and cls is not None:
        raise MalformedMessage(f"type code {code} is a header alone, got {len(others)} more parts")
    if cls is msg.SlotFrames:
        return _decode_slot_frames(values)
    if cls in (msg.Records, msg.OpenClip, ClipElsewhere, ClipsGone):
        values = [tuple(value) if isinstance(value, list) else value for value in values]
    try:
        return _build(cls, code, values)
    except RemoteProtocolError as error:
        if cls is msg.Hello:
            _check_version(values, error)
        raise


def _check_version(values: list[Any], error: RemoteProtocolError) -> None:
    """Say that a Hello is of another version, where that is why it cannot be understood."""
    if len(values) >= 2 and values[0] == msg.Hello.MAGIC and type(values[1]) is int and values[1] != PROTOCOL_VERSION:
        raise version_mismatch(PROTOCOL_VERSION, values[1]) from error


def _only_part(code: int, others: list[msg.Buffer], limit: int) -> bytes:
    if len(others) != 1:
        raise MalformedMessage(f"type code {code} is a header and one more part, got {len(others)}")
    size = memoryview(others[0]).nbytes
    if size > limit:  # before it is copied
        raise LimitExceeded(f"what is behind the header of type code {code} is at most {limit} bytes, got {size}")
    return bytes(others[0])


def _decode_frame(values: list[Any], pixels: list[msg.Buffer]) -> msg.Frame:
    if len(pixels) > MAX_PIXEL_PARTS:
        raise LimitExceeded(f"a frame has at most {MAX_PIXEL_PARTS} pixel buffers, got {len(pixels)}")
    try:
        handle, clip, index, rows = values
        layouts = tuple(
            FrameLayout(shape=_numbers(shape), strides=_numbers(strides), offset=offset, nbytes=memoryview(part).nbytes)
            for (shape, strides, offset), part in zip(rows, pixels, strict=True)
        )
    except (TypeError, ValueError) as error:
        raise MalformedMessage(f"not a frame header: {error}") from error
    return msg.Frame(handle=handle, clip=clip, index=index, layouts=layouts, pixels=tuple(pixels))


def _decode_slot_frames(values: list[Any]) -> msg.SlotFrames:
    try:
        handle, clip, rows, frames = values
        layouts = tuple(
            FrameLayout(shape=_numbers(shape), strides=_numbers(strides), offset=offset, nbytes=nbytes)
            for shape, strides, offset, nbytes in rows
        )
        return msg.SlotFrames(handle, clip, layouts, tuple(map(_numbers, frames)))
    except (TypeError, ValueError) as error:
        raise MalformedMessage(f"not a header of frames in slots: {error}") from error


def _numbers(values: object) -> tuple[Any, ...]:
    if not isinstance(values, list):  # bytes would iterate as numbers, too
        raise MalformedMessage(f"a layout's shape and strides are arrays, got {check.shown(values)}")
    return tuple(values)
