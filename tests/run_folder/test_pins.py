"""Clips that somebody has pinned: a file of the run folder that is whole at any time, and never trusted."""

from __future__ import annotations

import json
import os

import pytest

from offcam_proto.errors import RunFolderError
from offcam_runs.format import PINS_NAME
from offcam_runs.pins import MOST_BYTES, MOST_NOTE, MOST_PINS, read_pins, write_pin

KEY, OTHER = f"{'ab' * 16}-7", f"{'ab' * 16}-8"


def test_it_is_read_as_it_was_written_until_it_is_unpinned(tmp_path):
    assert read_pins(tmp_path) == {}
    write_pin(tmp_path, KEY, "looks back\nat the goal")
    write_pin(tmp_path, OTHER, "")
    first = read_pins(tmp_path)
    assert {key: pin.note for key, pin in first.items()} == {KEY: "looks back\nat the goal", OTHER: ""}
    write_pin(tmp_path, KEY, "x" * (MOST_NOTE + 1))
    assert read_pins(tmp_path)[KEY] == ("x" * MOST_NOTE, first[KEY].at), "its time is when it was pinned"
    write_pin(tmp_path, KEY, None)
    write_pin(tmp_path, KEY, None)
    assert read_pins(tmp_path) == {OTHER: first[OTHER]}
    assert [path.name for path in tmp_path.iterdir()] == [PINS_NAME]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"version": 2, "pins": {}}',
        '{"version": 1, "pins": []}',
        json.dumps({"version": 1, "pins": {"x-1": {"note": "", "at": 1}}}),
        json.dumps({"version": 1, "pins": {KEY: {"note": 1, "at": 1}}}),
        json.dumps({"version": 1, "pins": {KEY: {"note": "", "at": True}}}),
        f'{{"version": 1, "pins": {{"{KEY}": {{"note": "", "at": NaN}}}}}}',
        f'{{"version": 1, "pins": {{"{KEY}": {{"note": "", "at": {"9" * 400}}}}}}}',
        " " * (MOST_BYTES + 1),
    ],
)
def test_what_is_not_understood_counts_for_nothing_and_is_not_overwritten(tmp_path, text):
    (tmp_path / PINS_NAME).write_text(text)
    assert read_pins(tmp_path) == {}
    with pytest.raises(RunFolderError, match="is not understood"):
        write_pin(tmp_path, KEY, "")
    assert (tmp_path / PINS_NAME).read_text() == text


def test_a_link_and_a_pipe_are_not_read(tmp_path):
    write_pin(tmp_path, KEY, "")
    run = tmp_path / "run"
    run.mkdir()
    (run / PINS_NAME).symlink_to(tmp_path / PINS_NAME)
    assert read_pins(run) == {}
    (run / PINS_NAME).unlink()
    os.mkfifo(run / PINS_NAME)
    assert read_pins(run) == {}


def test_no_more_are_pinned_than_may(tmp_path):
    pins = {f"{number:x}-0": {"note": "", "at": 1.0} for number in range(MOST_PINS)}
    (tmp_path / PINS_NAME).write_text(json.dumps({"version": 1, "pins": pins}))
    with pytest.raises(RunFolderError, match=f"{MOST_PINS} clips .* are pinned already"):
        write_pin(tmp_path, KEY, "")
    write_pin(tmp_path, "0-0", None)
    write_pin(tmp_path, KEY, "")
    assert len(read_pins(tmp_path)) == MOST_PINS


def test_a_folder_that_is_gone_is_said_with_its_reason(tmp_path):
    with pytest.raises(RunFolderError, match=r"cannot be written by user id .*No such file"):
        write_pin(tmp_path / "gone", KEY, "")
