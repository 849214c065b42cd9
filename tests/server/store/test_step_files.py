"""Steps on the disk: each row once, whatever happens in between, and what is not there is said."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from contextlib import contextmanager, suppress

import numpy as np
import pytest

import offcam
from offcam_proto.errors import ConfigError
from offcam_runs.run import read_run
from offcam_runs.steps import files
from offcam_runs.steps.layout import TAPE
from offcam_runs.steps.places import Gap
from offcamd.store import step_files
from offcamd.store.index import RunIndex
from offcamd.store.recovery import recover
from run_samples import PEER, A, B, episode, packed, rows, stream
from step_samples import episodes


@pytest.fixture
def steps(index):
    index.open_stream(stream(), PEER)
    return index


class Undone(Exception):
    """Why a transaction is not kept."""


@contextmanager
def undone(transaction):
    """What is done here is not kept."""
    with suppress(Undone), transaction:
        yield
        raise Undone


def read(index: RunIndex, number: int = 0, **where):
    return read_run(index.folder).steps(number, **where)


def numbers(index: RunIndex, count: int, **where) -> list[list[int]]:
    return [read(index, number, **where).row.tolist() for number in range(count)]


def on_disk(index: RunIndex) -> list[str]:
    return sorted(path.name for path in (index.folder / files.FOLDER).glob("*"))


def test_episodes_are_found_in_their_blocks(steps):
    steps.apply(A, 1, packed(episodes(0, 2), episodes(2), episode(0), episodes(3, 2)))
    assert numbers(steps, 5) == [[4 * number + row for row in range(4)] for number in range(5)]
    found = read(steps, 3)
    assert found.complete
    assert found["episode"].tolist() == [3] * 4
    assert found["step"].tolist() == [0, 1, 2, 3]
    assert np.isnan(found["reward"][0])
    assert found["reward"][1:].tolist() == [0.5, 1.0, 1.5]
    assert found["action"].tolist() == [0, 100, 200, 300]
    with pytest.raises(ConfigError, match="no steps of episode 5"):
        read(steps, 5)


def test_rows_that_come_again_under_another_number_are_there_once(steps):
    steps.apply(A, 1, packed(episodes(0), episodes(1)))
    steps.apply(A, 3, packed(episodes(1), episodes(2)))
    assert rows(steps, "SELECT seq, first_row FROM step_blocks ORDER BY seq") == [(1, 0), (2, 4), (4, 8)]


def test_what_was_not_committed_is_written_over(steps):
    steps.apply(A, 1, packed(episodes(0)))
    (name,) = on_disk(steps)
    size = (steps.folder / files.FOLDER / name).stat().st_size
    with undone(steps.transaction()):
        steps.apply(A, 2, packed(episodes(7, 9)))
        assert (steps.folder / files.FOLDER / name).stat().st_size > size
    steps.apply(A, 2, packed(episodes(1)))
    assert numbers(steps, 2) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_nothing_is_left_of_a_file_that_was_not_committed(steps):
    with undone(steps.transaction()):
        steps.apply(A, 1, packed(episodes(0)))
    assert on_disk(steps) == []
    steps.apply(A, 1, packed(episodes(0)))
    assert numbers(steps, 1) == [[0, 1, 2, 3]]


def test_a_task_that_is_undone_leaves_those_of_others(steps):
    steps.open_stream(stream(B, prefix="other"), PEER)
    with steps.transaction():
        steps.apply(A, 1, packed(episodes(0)))
        with undone(steps.savepoint()):
            steps.apply(B, 1, packed(episodes(0)))
        steps.apply(A, 2, packed(episodes(1)))
    assert numbers(steps, 2) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    steps.apply(B, 1, packed(episodes(0)))
    assert read(steps, 0, stream=B.hex()).complete
    with pytest.raises(ConfigError, match=f"several streams.*{B.hex()}"):
        read(steps, 0)


def test_a_daemon_that_died_before_its_commit_leaves_bytes_that_the_next_one_cuts_off(steps):
    steps.apply(A, 1, packed(episodes(0)))
    path = steps.folder / files.FOLDER / on_disk(steps)[0]
    whole = path.read_bytes()
    path.write_bytes(whole + b"half a block" * 99)
    heir = RunIndex.open(steps.folder)
    recover(heir)
    heir.open_stream(stream(), PEER)
    heir.apply(A, 2, packed(episodes(1)))
    assert path.read_bytes().startswith(whole)
    assert b"half a block" not in path.read_bytes()
    assert numbers(heir, 2) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    heir.close()


@pytest.mark.parametrize("how", ["removed", "damaged"])
def test_of_a_file_that_is_gone_or_damaged_the_rows_are_missing_and_said(steps, how):
    steps.apply(A, 1, packed(episodes(0), episodes(1)))
    path = steps.folder / files.FOLDER / on_disk(steps)[0]
    if how == "removed":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1  # in the second block
        path.write_bytes(data)
    steps.apply(A, 3, packed(episodes(2)))
    assert read(steps, 2).complete, "what comes is kept, in another file if need be"
    found = read(steps, 1)
    assert not found.complete
    ((first, count, why),) = found.gaps
    assert (first, count) == (4, 4)
    assert ("not there" if how == "removed" else "damaged") in why
    assert read(steps, 0).complete == (how == "damaged")


def test_a_large_file_is_followed_by_another(steps, monkeypatch):
    monkeypatch.setattr(files, "FILE_BYTES", 300)
    for number in range(9):
        steps.apply(A, 1 + number, packed(episodes(number)))
    assert on_disk(steps) == [f"{A.hex()}-{place}.steps" for place in range(len(on_disk(steps)))]
    assert len(on_disk(steps)) > 2
    assert numbers(steps, 9) == [[4 * number + row for row in range(4)] for number in range(9)]


def test_a_file_that_somebody_is_about_to_remove_is_followed_by_another(steps):
    """As by a sender, once object storage has it: it holds a lock, and whoever has a file open holds one against it."""
    steps.apply(A, 1, packed(episodes(0)))
    steps.close_stream(A)
    (name,) = on_disk(steps)
    with (steps.folder / files.FOLDER / name).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody has it open any more
        steps.open_stream(stream(), PEER)
        steps.apply(A, 2, packed(episodes(1)))
    assert on_disk(steps) == [name, name.replace("-0.", "-1.")]
    with (steps.folder / files.FOLDER / on_disk(steps)[1]).open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert numbers(steps, 2) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_link_in_place_of_the_folder_is_not_followed(steps, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (steps.folder / files.FOLDER).symlink_to(elsewhere)
    steps.apply(A, 1, packed(episodes(0), episode(0)))
    assert list(elsewhere.iterdir()) == []
    assert read_run(steps.folder).step_totals.dropped == {"io": 4}
    assert len(read_run(steps.folder).episodes) == 1


def test_what_is_beyond_the_limit_is_counted_and_said_once(folder, caplog):
    index = RunIndex.open(folder, 400)
    index.open_stream(stream(), PEER)
    for number in range(9):
        index.apply(A, 1 + number, packed(episodes(number)))
    run = read_run(folder)
    kept = run.step_totals
    assert kept.rows + kept.dropped["limit"] == 9 * 4
    assert 0 < kept.bytes <= 400
    assert read(index, 8).gaps == (Gap(kept.rows, 36 - kept.rows, "limit"),)
    assert len([record for record in caplog.records if "steps_limit" in record.message]) == 1
    assert run.as_dict()["steps"]["dropped"] == {"limit": kept.dropped["limit"]}
    index.close()


@pytest.mark.parametrize("anew", [False, True])
def test_what_was_removed_counts_towards_the_limit_no_longer(folder, anew):
    index = RunIndex.open(folder, 400)
    index.open_stream(stream(), PEER)
    for number in range(9):
        index.apply(A, 1 + number, packed(episodes(number)))
    kept = read_run(folder).step_totals.blocks
    assert 0 < kept < 9
    if anew:
        index.close()
    shutil.rmtree(folder / files.FOLDER)
    if anew:
        index = RunIndex.open(folder, 400)
    for number in range(9, 18):
        index.apply(A, 1 + number, packed(episodes(number)))
    assert read(index, 9).complete
    assert read_run(folder).step_totals.blocks == 2 * kept
    assert read(index, 17).gaps
    index.close()


def test_what_replays_an_episode_counts_in_bytes_and_not_as_steps(steps):
    steps.apply(A, 1, packed(episodes(0)))
    before = read_run(steps.folder).step_totals
    steps.apply(A, 2, packed(episodes(0, table=TAPE)))
    after = read_run(steps.folder).step_totals
    assert after[:2] == before[:2] == (1, 4)
    assert after.bytes > before.bytes


def test_a_stream_may_say_another_limit(folder):
    index = RunIndex.open(folder, 10)
    index.open_stream(stream(steps_limit=10**6), PEER)
    index.apply(A, 1, packed(episodes(0)))
    assert read(index).complete
    index.close()


@pytest.mark.parametrize(("code", "reason"), [(errno.ENOSPC, "disk_full"), (errno.EIO, "io")])
def test_a_disk_that_takes_no_steps_holds_nothing_else_up(steps, monkeypatch, code, reason):
    def refused(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(step_files, "write_all", refused)
    steps.apply(A, 1, packed(episodes(0), episode(0)))
    monkeypatch.undo()
    steps.apply(A, 3, packed(episodes(1), episode(1)))
    run = read_run(steps.folder)
    assert len(run.episodes) == 2
    assert run.step_totals.dropped == {reason: 4}
    assert run.steps(1).complete
    assert run.steps(0).gaps == (Gap(0, 4, reason),)


def test_a_record_that_is_no_block_is_set_aside(steps):
    applied = steps.apply(A, 1, packed(episodes(0, heap=b"x"), episodes(1)))
    assert applied.quarantined == 1
    assert read(steps, 1).rows == 4


def test_rows_that_never_came_are_lost(steps):
    steps.apply(A, 1, packed(episodes(0)))
    steps.apply(A, 2, packed(episodes(2)))
    with pytest.raises(ConfigError):
        read(steps, 1)
    assert read(steps, 2).complete
    found = offcam.load(steps.folder).clips
    assert found == ()
