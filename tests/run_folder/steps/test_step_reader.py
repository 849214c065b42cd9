"""Reading steps: of an episode over several blocks, of what a clip shows, and what is not there is said."""

from __future__ import annotations

import numpy as np
import pytest

from offcam_runs.database import open_to_read
from offcam_runs.run import read_run
from offcam_runs.steps import files
from offcam_runs.steps.layout import FIRST_COLUMNS, RESET, STEPS, TERMINATED, Column, Layout
from offcam_runs.steps.load import steps_of_rows
from offcam_runs.steps.places import Gap
from offcam_runs.steps.reader import StepReader
from offcamd.store.index import RunIndex
from run_samples import PEER, A, packed, stream
from step_samples import PLAIN, record_of, rows_of_episodes

FOUR = rows_of_episodes(0, 4, 9)
"""Four episodes of ten rows."""


@pytest.fixture
def index(folder):
    opened = RunIndex.open(folder)
    opened.open_stream(stream(), PEER)
    yield opened
    opened.close()


def put(index: RunIndex, *spans: tuple[int, int], first_seq: int = 1) -> None:
    """Rows of `FOUR`, a record for each span of them."""
    index.apply(A, first_seq, packed(*(record_of(FOUR[first:behind], first) for first, behind in spans)))


def drop(index: RunIndex, monkeypatch, *spans: tuple[int, int], first_seq: int) -> None:
    """The same, of which the daemon writes nothing."""
    monkeypatch.setattr(index.steps, "_limit", 1)
    put(index, *spans, first_seq=first_seq)
    monkeypatch.undo()


def episode(index: RunIndex, number: int, env_index: int = 0):
    return read_run(index.folder).steps(number, env_index=env_index)


def test_an_episode_over_several_blocks_is_in_one_piece(index):
    put(index, (0, 3), (3, 14), (14, 15), (15, 40))
    for number in range(4):
        found = episode(index, number)
        assert found.complete
        assert found.gaps == ()
        assert found.row.tolist() == list(range(10 * number, 10 * number + 10))
        np.testing.assert_equal(found["action"], FOUR["action"][found.row])
        np.testing.assert_equal(found["reward"], FOUR["reward"][found.row])


def test_steps_are_printed_as_their_columns(index):
    put(index, (0, 15))
    columns = ", ".join(f"{name} {FOUR[name].dtype}" for name in FOUR.dtype.names)
    assert repr(episode(index, 0)) == f"<Steps: 10 rows; {columns}>"
    assert repr(episode(index, 1)) == f"<Steps: 5 rows, some are missing; {columns}>"


@pytest.mark.parametrize("cut", [1, 5, 9])
def test_an_episode_that_goes_on_is_not_complete(index, cut):
    put(index, (0, 10 + cut))
    assert episode(index, 0).complete
    found = episode(index, 1)
    assert (found.rows, found.gaps, found.complete) == (cut, (), False)


@pytest.mark.parametrize(
    ("spans", "number", "lost"),
    [
        ([(0, 12), (15, 40)], 1, [Gap(12, 3, "lost")]),
        ([(0, 8), (12, 40)], 0, [Gap(8, 4, "lost")]),
        ([(0, 8), (12, 40)], 1, [Gap(8, 4, "lost")]),
        ([(13, 40)], 1, [Gap(0, 13, "lost")]),
        ([(0, 12), (13, 14), (16, 40)], 1, [Gap(12, 1, "lost"), Gap(14, 2, "lost")]),
    ],
    ids=["in its midst", "at its end", "at its begin", "all before", "twice"],
)
def test_rows_that_never_came_are_said(index, spans, number, lost):
    put(index, *spans)
    found = episode(index, number)
    assert list(found.gaps) == lost
    assert not found.complete
    assert episode(index, 3).complete


def test_a_gap_of_others_is_not_the_episodes(index, monkeypatch):
    """A row of what was dropped may be of episodes that have no row in it, as its numbers are a span."""
    put(index, (0, 5))
    drop(index, monkeypatch, (5, 20), first_seq=2)
    put(index, (20, 33), (33, 40), first_seq=3)
    index._db.execute("UPDATE dropped_steps SET last_episode = 3")
    assert episode(index, 0).gaps == (Gap(5, 15, "limit"),)
    assert episode(index, 1).gaps == (Gap(5, 15, "limit"),)
    assert episode(index, 1).rows == 0
    for number in (2, 3):
        assert episode(index, number).complete
        assert episode(index, number).gaps == ()


def test_gaps_behind_each_other_are_all_said(index, monkeypatch):
    drop(index, monkeypatch, (0, 10), (10, 12), first_seq=1)
    put(index, (14, 40), first_seq=3)
    assert episode(index, 1).gaps == (Gap(0, 12, "limit"), Gap(12, 2, "lost"))
    assert not episode(index, 1).complete


def test_a_layout_that_changes_leaves_what_was_not_there_empty(index):
    traced = Layout((*FIRST_COLUMNS, Column("action", "<i8"), Column("value", "<f8")))
    later = np.zeros(6, traced.dtype)
    for name in PLAIN.dtype.names:
        later[name] = FOUR[name][4:10]
    later["value"] = np.arange(6)
    index.apply(A, 1, packed(record_of(FOUR[:4], 0), record_of(later, 4, layout=traced.text)))
    found = episode(index, 0)
    assert found.complete
    assert list(found) == [*PLAIN.dtype.names, "value"]
    np.testing.assert_equal(found["value"], [*[np.nan] * 4, *range(6)])
    np.testing.assert_equal(found["action"], FOUR["action"][:10])


def two(first: int, behind: int) -> np.ndarray:
    """Rows of two sub-environments of which the first one's episodes are half as long."""
    layout = Layout((*FIRST_COLUMNS, Column("action", "<i8")), 2)
    rows = np.zeros(behind - first, layout.dtype)
    for place, row in enumerate(range(first, behind)):
        for env_index, length in enumerate((5, 10)):
            number, step = divmod(row, length)
            flags = RESET if step == 0 else TERMINATED if step == length - 1 else 0
            for name, value in zip(rows.dtype.names, (number, step, step, flags, row + 1000 * env_index), strict=True):
                rows[name][place, env_index] = value
    return rows


def test_each_sub_environment_has_its_own_episodes_in_each_group(index):
    layout = Layout((*FIRST_COLUMNS, Column("action", "<i8")), 2)
    for group in (0, 2):
        spans = [(0, 7), (7, 20)]
        index.apply(
            A,
            1 + group,
            packed(*(record_of(two(*span), span[0], layout=layout.text, env_index=group) for span in spans)),
        )
    for env_index, length, number in [(0, 5, 1), (0, 5, 3), (1, 10, 1), (2, 5, 0), (3, 10, 0)]:
        found = episode(index, number, env_index)
        assert found.complete, (env_index, number)
        begin = number * length
        assert found.row.tolist() == list(range(begin, begin + length))
        assert found["action"].tolist() == [row + 1000 * (env_index % 2) for row in range(begin, begin + length)]
    with open_to_read(index.folder) as database:
        pieces = list(StepReader(database, index.folder).pieces(1, STEPS))
    assert [env_index for env_index, _ in pieces] == [0, 1, 2, 3] * 2
    assert sum(steps.rows for _, steps in pieces) == 4 * 20


@pytest.mark.parametrize("how", ["lost", "dropped", "damaged"])
def test_rows_by_their_numbers_say_what_is_not_there(index, how, monkeypatch):
    put(index, (0, 8))
    if how == "damaged":
        put(index, (8, 12), first_seq=2)
        (path,) = (index.folder / files.FOLDER).iterdir()
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    elif how == "dropped":
        drop(index, monkeypatch, (8, 12), first_seq=2)
    put(index, (12, 40), first_seq=2 if how == "lost" else 3)
    found = steps_of_rows(index.folder, A.hex(), 0, 5, 20)
    assert found.row.tolist() == [5, 6, 7, *range(12, 20)]
    np.testing.assert_equal(found["step"], FOUR["step"][found.row])
    ((first, count, why),) = found.gaps
    assert (first, count) == (8, 4)
    assert {"dropped": "limit"}.get(how, how) in why
    assert not found.complete
    whole = steps_of_rows(index.folder, A.hex(), 0, 13, 31)
    assert whole.complete
    assert whole.row.tolist() == list(range(13, 31))
    assert steps_of_rows(index.folder, "0" * 32, 0, 0, 1) is None


def test_rows_behind_the_last_one_are_not_there_yet(index):
    put(index, (0, 10))
    found = steps_of_rows(index.folder, A.hex(), 0, 5, 12)
    assert found.row.tolist() == [5, 6, 7, 8, 9]
    assert found.gaps == (Gap(10, 2, "lost"),)


def test_what_other_rows_lie_there_is_said(index):
    put(index, (0, 10), (10, 20))
    index._db.execute("UPDATE step_blocks SET first_row = 20 WHERE seq = 2")
    (gap,) = steps_of_rows(index.folder, A.hex(), 0, 20, 30).gaps
    assert "other rows" in gap.reason
