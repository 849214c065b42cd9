"""Messages to parts and back: one msgpack header, then a `Frame`'s pixel buffers as they are."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_args

import msgpack

from offcam_proto.errors import LimitExceeded, MalformedMessage
from offcam_proto.layout import FrameLayout
from offcam_proto.limits import MAX_HEADER_BYTES, MAX_PIXEL_PARTS, MAX_RECORD_BYTES
from offcam_proto.messages import Buffer, ClientMessage, Frame, Message, Records, ServerMessage
from offcam_proto.records import RECORD_KINDS, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Parts = list[Buffer]
"""One message as it travels: the header, then the pixel buffers."""


def _by_type(union: object) -> dict[int, type[Any]]:
    return {cls.TYPE: cls for cls in get_args(union)}


_CLIENT = _by_type(ClientMessage)
_SERVER = _by_type(ServerMessage)
_FIELDS = {cls: tuple(f.name for f in fields(cls)) for cls in (*_CLIENT.values(), *_SERVER.values())}
_RECORD_FIELDS = {cls: tuple(f.name for f in fields(cls)) for cls in RECORD_KINDS.values()}


def encode(message: Message) -> Parts:
    """Turn a message into its parts; a frame's pixels are passed on, never copied.

    Raises:
        LimitExceeded: the header is larger than `MAX_HEADER_BYTES`.
    """
    if isinstance(message, Frame):
        layouts = [(lay.shape, lay.strides, lay.offset) for lay in message.layouts]
        header = (Frame.TYPE, message.handle, message.clip, message.index, layouts)
        return [_bounded(msgpack.packb(header)), *message.pixels]
    values = (getattr(message, name) for name in _FIELDS[type(message)])
    return [_bounded(msgpack.packb((message.TYPE, *values)))]


def decode_client(parts: Sequence[Buffer]) -> ClientMessage:
    """Parse what a client sent. See `_decode` for what is raised."""
    message: ClientMessage = _decode(parts, _CLIENT)
    return message


def decode_server(parts: Sequence[Buffer]) -> ServerMessage:
    """Parse what a daemon sent. See `_decode` for what is raised."""
    message: ServerMessage = _decode(parts, _SERVER)
    return message


def pack_record(record: Record) -> bytes:
    """Pack one record for a `Records` message.

    Raises:
        LimitExceeded: it is larger than `MAX_RECORD_BYTES`.
    """
    values = (getattr(record, name) for name in _RECORD_FIELDS[type(record)])
    body: bytes = msgpack.packb((record.KIND, *values))
    if len(body) > MAX_RECORD_BYTES:
        raise LimitExceeded(f"a record is at most {MAX_RECORD_BYTES} bytes, got {len(body)}")
    return body


def unpack_record(body: bytes) -> Record:
    """Parse one record.

    Raises:
        MalformedMessage: it is none.
        LimitExceeded: it, or one of its fields, is too large.
    """
    if len(body) > MAX_RECORD_BYTES:
        raise LimitExceeded(f"a record is at most {MAX_RECORD_BYTES} bytes, got {len(body)}")
    kind, values = _unpack(body)
    record: Record = _build(RECORD_KINDS.get(kind), _RECORD_FIELDS.__getitem__, kind, values)
    return record


def _bounded(header: bytes) -> bytes:
    if len(header) > MAX_HEADER_BYTES:
        raise LimitExceeded(f"a header is at most {MAX_HEADER_BYTES} bytes, got {len(header)}")
    return header


def _unpack(data: Buffer) -> tuple[int, list[Any]]:
    try:
        # strict_map_key and the default ext handling keep every key and value a plain type
        header = msgpack.unpackb(data, use_list=True, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise MalformedMessage(f"not a msgpack header: {error}") from error
    if not isinstance(header, list) or not header or type(header[0]) is not int:
        raise MalformedMessage("a header is an array that starts with a type code")
    return header[0], header[1:]


def _build(cls: type[Any] | None, names: Callable[[type[Any]], tuple[str, ...]], code: int, values: list[Any]) -> Any:  # noqa: ANN401 - one of a union, which the callers name
    if cls is None:
        raise MalformedMessage(f"unknown type code {code}")
    if len(values) != len(names(cls)):
        raise MalformedMessage(f"{cls.__name__} has {len(names(cls))} fields, got {len(values)}")
    return cls(*values)


def _decode(parts: Sequence[Buffer], known: dict[int, type[Any]]) -> Any:  # noqa: ANN401 - see _build
    """Parse one message.

    Raises:
        MalformedMessage: the bytes are not a message of this direction.
        LimitExceeded: it, or one of its fields, is larger than its limit.
    """
    if not parts:
        raise MalformedMessage("a message without parts")
    header, *pixels = parts
    _bounded(bytes(header) if not isinstance(header, bytes) else header)
    code, values = _unpack(header)
    if code == Frame.TYPE and code in known:
        return _decode_frame(values, pixels)
    if pixels:
        raise MalformedMessage(f"type code {code} carries no pixel buffers, got {len(pixels)}")
    if code == Records.TYPE and len(values) == 3 and isinstance(values[2], list):
        values[2] = tuple(values[2])
    return _build(known.get(code), _FIELDS.__getitem__, code, values)


def _decode_frame(values: list[Any], pixels: list[Buffer]) -> Frame:
    if len(pixels) > MAX_PIXEL_PARTS:
        raise LimitExceeded(f"a frame has at most {MAX_PIXEL_PARTS} pixel buffers, got {len(pixels)}")
    try:
        handle, clip, index, rows = values
        layouts = tuple(
            FrameLayout(tuple(map(_int, shape)), tuple(map(_int, strides)), _int(offset), memoryview(part).nbytes)
            for (shape, strides, offset), part in zip(rows, pixels, strict=True)
        )
    except (TypeError, ValueError) as error:
        if isinstance(error, MalformedMessage):
            raise
        raise MalformedMessage(f"not a frame header: {error}") from error
    return Frame(handle, clip, index, layouts, tuple(pixels))


def _int(value: object) -> int:
    if type(value) is not int:
        raise MalformedMessage(f"a layout holds integers, got {value!r}")
    return value
