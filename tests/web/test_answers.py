"""The same answer is given again while a run stands still, and none that is out of date."""

from __future__ import annotations

import os

import pytest

import made
from offcam_proto.codec import pack_record
from offcam_runs.format import INDEX_COMPANIONS, INDEX_NAME, PENDING_NAME, PINS_NAME
from offcam_runs.pins import write_pin
from offcam_runs.run_ids import run_id
from offcamd.store.index import RunIndex
from offcamd.web import queries
from offcamd.web.reading import settled_signature

LONG_AGO = made.BEGAN


def age(folder, at=LONG_AGO):
    """The last that has happened in the folder was long ago."""
    names = ("", INDEX_NAME, PINS_NAME, *(INDEX_NAME + companion for companion in INDEX_COMPANIONS))
    for path in (folder / name for name in names):
        if path.exists():
            os.utime(path, (at, at))


@pytest.fixture
def own(tmp_path, look):
    """A run of this test's own, for long as it is, and where its episodes and clips are."""
    folder = made.make_run(tmp_path / "run", 30, 10)
    age(folder)
    return folder, look(folder), f"/api/runs/{run_id(folder)}"


def add(folder, number):
    """One more episode, as a daemon enters it."""
    index = RunIndex.open(folder)
    with index.transaction():
        index.apply(made.STREAM, 34 + number - 30, [pack_record(made.episode(number, LONG_AGO))])
    index.close()


def test_an_answer_is_made_once_while_nothing_changes(own, monkeypatch):
    _, client, base = own
    page = f"{base}/episodes?sort=duration"
    first = client.get(page)

    def no_more(*_arguments):
        pytest.fail("it was read again")

    monkeypatch.setattr(queries, "episodes_page", no_more)
    assert client.get(page).content == first.content
    assert client.head(page).headers["content-length"] == str(len(first.content))
    assert first.json()["total"] == 30


def test_what_is_new_is_in_the_next_answer(own):
    folder, client, base = own
    for place in range(3):
        assert client.get(f"{base}/episodes").json()["total"] == 30 + place
        add(folder, 30 + place)
        age(folder, LONG_AGO + 1 + place)
    clips = f"{base}/clips?pinned=true"
    assert client.get(clips).json()["total"] == 0
    write_pin(folder, f"{made.STREAM.hex()}-1", "falls late")
    assert client.get(clips).json()["total"] == 1


def test_what_has_just_changed_is_not_known_by_its_time(own):
    """Another change may get the same time, and the same size."""
    folder, _, _ = own
    assert settled_signature(folder) is not None
    add(folder, 30)
    assert settled_signature(folder) is None
    age(folder)
    before = settled_signature(folder)
    assert before is not None
    write_pin(folder, f"{made.STREAM.hex()}-1", "")
    assert settled_signature(folder) is None
    age(folder, LONG_AGO + 1)
    assert settled_signature(folder) != before


def test_what_lies_in_journals_becomes_due_without_a_change(own):
    folder, _, _ = own
    (folder / PENDING_NAME).mkdir()
    (folder / PENDING_NAME / f"{'ab' * 16}.rec").touch()
    age(folder)
    assert settled_signature(folder) is None
