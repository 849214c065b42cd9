"""``proto/SPEC.md`` says what the code does: its tables and bytes are compared with it."""

from __future__ import annotations

import re

import pytest
from test_vectors import FOLDER, MESSAGES, RECORDS

from offcam_proto import limits
from offcam_proto.messages import ClientMessage, Goodbye, ServerMessage
from offcam_proto.records import RECORD_KINDS

SPEC = (FOLDER.parent / "SPEC.md").read_text("utf-8")
BEHIND_THE_HEADER = {"Frame": ["pixels"], "StatsReply": ["json"], "RunReply": ["episodes"]}
BLOCKS = re.findall(r"^```hex(-record)? (\S+)\n(.*?)^```$", SPEC, re.DOTALL | re.MULTILINE)


def section(title: str, code: str) -> str:
    """The section whose heading is followed by this code."""
    found = re.findall(rf"^### {title}\n\n{code}[ ,.](.*?)(?=^##|\Z)", SPEC, re.DOTALL | re.MULTILINE)
    assert len(found) == 1, title
    return str(found[0])


def table_fields(text: str) -> list[str]:
    table = text.partition("| field | type | meaning |\n|---|---|---|\n")[2].partition("\n\n")[0]
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


@pytest.mark.parametrize("cls", [*ClientMessage.__args__, *ServerMessage.__args__[:-1]])
def test_each_message_has_its_code_direction_and_fields(cls):
    text = section(cls.__name__, f"Code {cls.TYPE}")
    side = "either side" if cls is Goodbye else "the client" if cls in ClientMessage.__args__ else "the daemon"
    assert text.startswith(f" from {side}.")
    names = list(cls.__struct_fields__)
    assert table_fields(text) + BEHIND_THE_HEADER.get(cls.__name__, []) == names


@pytest.mark.parametrize("cls", RECORD_KINDS.values())
def test_each_record_has_its_kind_and_fields(cls):
    text = section(cls.__name__, f"Kind {cls.KIND}")
    assert table_fields(text) == [name.rstrip("_") for name in cls.__struct_fields__]


@pytest.mark.parametrize(("record", "name", "text"), BLOCKS, ids=[block[1] for block in BLOCKS])
def test_each_example_is_a_golden_vector(record, name, text):
    vectors = {vector["name"]: [vector["body"]] for vector in RECORDS}
    if not record:
        vectors = {vector["name"]: vector["parts"] for vector in MESSAGES}
    assert text.split() == vectors[name]


def test_each_message_has_an_example():
    shown = {name for record, name, _ in BLOCKS if not record}
    messages = {vector["message"] for vector in MESSAGES if vector["name"] in shown}
    assert messages == {vector["message"] for vector in MESSAGES}


def test_the_limits_are_the_limits():
    stated = dict(re.findall(r"^\| `(MAX_\w+)` \| (\d+) \|", SPEC, re.MULTILINE))
    assert stated == {name: str(value) for name, value in vars(limits).items() if name.startswith("MAX_")}


def test_the_version_is_the_version():
    assert f"\nVersion {limits.PROTOCOL_VERSION} of the protocol" in SPEC


def test_the_worked_example_of_a_frame():
    (pixels,) = [text.split()[1] for _, name, text in BLOCKS if name == "frame-transposed"]
    data = bytes.fromhex(pixels)
    rows = re.findall(r"^\| \*\*y = (\d)\*\* \| `(.*?)` \| `(.*?)` \| `(.*?)` \|$", SPEC, re.MULTILINE)
    assert len(rows) == 2
    for y, *cells in rows:
        for x, cell in enumerate(cells):
            start = int(y) * 3 + x * 6
            assert bytes.fromhex(cell) == data[start : start + 3]


def test_each_link_leads_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", SPEC, re.MULTILINE)
    }
    for target in re.findall(r"\]\((.*?)\)", SPEC):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif not target.startswith("https://"):
            assert (FOLDER.parent / target).exists(), target
