"""The golden vectors: every message and record, byte for byte. ``proto/vectors`` is what other programs test by.

``python tests/proto/test_vectors.py`` writes them anew, from `wire_samples`. A change in them is a change of the wire.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import wire_samples as samples

from offcam_proto import codec
from offcam_proto import messages as msg
from offcam_proto.errors import LimitExceeded, MalformedMessage, RemoteProtocolError, VersionMismatch
from offcam_proto.layout import FrameLayout
from offcam_proto.limits import PROTOCOL_VERSION
from offcam_proto.messages import ClientMessage, ServerMessage
from offcam_proto.records import RECORD_KINDS

FOLDER = Path(__file__).parents[2] / "proto" / "vectors"
DECODE = {"client": codec.decode_client, "daemon": codec.decode_server}
KINDS = {cls.__name__: cls for cls in (*ClientMessage.__args__, *ServerMessage.__args__)}
ERRORS = {cls.reason: cls for cls in (MalformedMessage, LimitExceeded, VersionMismatch)}


# --- messages as JSON: bytes are {"hex": ...}, NaN and the infinities {"float": ...} -----------------------


def to_json(value: object) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"hex": bytes(value).hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, FrameLayout):
        return {"shape": list(value.shape), "strides": list(value.strides), "offset": value.offset}
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    return value


def from_json(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(from_json(item) for item in value)
    if isinstance(value, dict) and value.keys() == {"hex"}:
        return bytes.fromhex(value["hex"])
    if isinstance(value, dict) and value.keys() == {"float"}:
        return float(value["float"])
    return value


def described(thing: Any) -> dict[str, Any]:
    told = {name.rstrip("_"): to_json(getattr(thing, name)) for name in thing.__struct_fields__}
    if isinstance(thing, msg.SlotFrames):  # whose pixels are not beside it
        told["layouts"] = [to_json(layout) | {"nbytes": layout.nbytes} for layout in thing.layouts]
    return told


def message_from(vector: dict[str, Any]) -> msg.Message:
    values = {name: from_json(value) for name, value in vector["fields"].items()}
    if vector["message"] == "Frame":
        values["layouts"] = tuple(
            FrameLayout(tuple(row["shape"]), tuple(row["strides"]), row["offset"], len(pixels))
            for row, pixels in zip(vector["fields"]["layouts"], values["pixels"], strict=True)
        )
    if vector["message"] == "SlotFrames":
        values["layouts"] = tuple(
            FrameLayout(tuple(row["shape"]), tuple(row["strides"]), row["offset"], row["nbytes"])
            for row in vector["fields"]["layouts"]
        )
    message: msg.Message = KINDS[vector["message"]](**values)
    return message


def record_from(vector: dict[str, Any]) -> codec.Record:
    values = {name: from_json(value) for name, value in vector["fields"].items()}
    if "return" in values:
        values["return_"] = values.pop("return")
    kinds = {cls.__name__: cls for cls in RECORD_KINDS.values()}
    return kinds[vector["record"]](**values)


def message_vectors() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "from": side,
            "message": type(message).__name__,
            "fields": described(message),
            "parts": [bytes(part).hex() for part in codec.encode(message)],
        }
        for side, sent in (("client", samples.CLIENT), ("daemon", samples.SERVER))
        for name, message in sent.items()
    ]


def record_vectors() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "record": type(record).__name__,
            "fields": described(record),
            "body": codec.pack_record(record).hex(),
        }
        for name, record in samples.RECORDS.items()
    ]


def stored(name: str) -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads((FOLDER / name).read_text("utf-8"))
    return vectors


def text_of(vectors: list[dict[str, Any]]) -> str:
    return json.dumps(vectors, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def by_name(vector: dict[str, Any]) -> str:
    return str(vector["name"])


MESSAGES = stored("messages.json") if (FOLDER / "messages.json").exists() else []
RECORDS = stored("records.json") if (FOLDER / "records.json").exists() else []
INVALID = stored("invalid.json")


# --- the tests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", MESSAGES, ids=by_name)
def test_a_message_is_these_bytes(vector):
    parts = codec.encode(message_from(vector))
    assert [bytes(part).hex() for part in parts] == vector["parts"]


@pytest.mark.parametrize("vector", MESSAGES, ids=by_name)
@pytest.mark.parametrize("kind", [bytes, bytearray, lambda part: memoryview(bytes(part))])
def test_these_bytes_are_the_message(vector, kind):
    message = DECODE[vector["from"]]([kind(bytes.fromhex(part)) for part in vector["parts"]])
    assert type(message).__name__ == vector["message"]
    assert described(message) == vector["fields"]


@pytest.mark.parametrize("vector", RECORDS, ids=by_name)
def test_a_record_is_these_bytes_and_they_are_the_record(vector):
    assert codec.pack_record(record_from(vector)).hex() == vector["body"]
    assert described(codec.unpack_record(bytes.fromhex(vector["body"]))) == vector["fields"]


@pytest.mark.parametrize("vector", INVALID, ids=by_name)
def test_an_invalid_message_is_refused_for_the_stated_reason(vector):
    with pytest.raises(RemoteProtocolError) as caught:
        DECODE[vector["from"]]([bytes.fromhex(part) for part in vector["parts"]])
    assert type(caught.value) is ERRORS[vector["reason"]]
    assert ("fields, got" in str(caught.value)) == ("field" in vector["why"])  # not as its message has got more since


@pytest.mark.parametrize("vector", [v for v in MESSAGES if v["message"] != "Goodbye"], ids=by_name)
def test_a_message_of_the_other_direction_is_none(vector):
    other = "daemon" if vector["from"] == "client" else "client"
    with pytest.raises(MalformedMessage, match="unknown type code"):
        DECODE[other]([bytes.fromhex(part) for part in vector["parts"]])


def test_every_message_and_record_has_a_vector():
    shown = {(vector["from"], vector["message"]) for vector in MESSAGES}
    sent = {("client", cls.__name__) for cls in ClientMessage.__args__}
    assert shown == sent | {("daemon", cls.__name__) for cls in ServerMessage.__args__}
    assert {vector["record"] for vector in RECORDS} == {cls.__name__ for cls in RECORD_KINDS.values()}


def test_the_files_are_what_the_samples_say():
    again = "run `python tests/proto/test_vectors.py`, if the wire was meant to change"
    assert (FOLDER / "messages.json").read_text("utf-8") == text_of(message_vectors()), again
    assert (FOLDER / "records.json").read_text("utf-8") == text_of(record_vectors()), again


def test_type_codes_are_unique_and_client_codes_are_below_64():
    client, server = ({cls.TYPE for cls in union.__args__} for union in (ClientMessage, ServerMessage))
    assert len(client) == len(ClientMessage.__args__)
    assert len(server) == len(ServerMessage.__args__)
    assert client & server == {msg.Goodbye.TYPE}
    assert max(client) < 64 <= min(server - {msg.Goodbye.TYPE})


def test_a_hello_of_any_later_shape_tells_its_version():
    header = codec._pack([msg.Hello.TYPE, msg.Hello.MAGIC, PROTOCOL_VERSION + 1, {"new": "shape"}])
    with pytest.raises(VersionMismatch, match=f"version {PROTOCOL_VERSION} and the client {PROTOCOL_VERSION + 1}"):
        codec.decode_client([header])


def write() -> None:
    (FOLDER / "messages.json").write_text(text_of(message_vectors()), "utf-8")
    (FOLDER / "records.json").write_text(text_of(record_vectors()), "utf-8")


if __name__ == "__main__":
    write()
