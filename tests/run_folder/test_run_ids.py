"""By what the page names a run: the same after a restart, a move and a rename; never twice."""

import shutil
import sqlite3
from contextlib import closing

from offcam_runs.format import INDEX_NAME
from offcam_runs.run_ids import by_id, path_id, run_id, with_id
from offcamd.store.index import RunIndex


def made(folder):
    RunIndex.open(folder).close()
    return folder


def test_it_moves_with_its_folder_and_stays_the_same(tmp_path):
    folder = made(tmp_path / "a")
    own = run_id(folder)
    assert own not in (path_id(folder), run_id(made(tmp_path / "other")))
    RunIndex.open(folder).close()
    moved = folder.rename(tmp_path / "b")
    assert run_id(moved) == own


def test_a_copy_is_another_run(tmp_path):
    first = made(tmp_path / "a")
    copy = tmp_path / "b"
    shutil.copytree(first, copy)
    assert by_id([first, copy]) == {run_id(first): first, path_id(copy): copy}


def test_one_without_an_id_is_named_by_its_path_until_it_has_one(tmp_path):
    folder = tmp_path / "a"
    assert run_id(folder) == path_id(folder)
    made(folder)
    with sqlite3.connect(folder / INDEX_NAME) as database:
        database.execute("DELETE FROM meta WHERE key = 'run'")
    database.close()
    assert run_id(folder) == path_id(folder)
    made(folder)
    assert run_id(folder) != path_id(folder)
    assert with_id(by_id([folder]), path_id(folder)) == folder  # a page that was open before still has it
    assert with_id(by_id([folder]), "0" * 12) is None


def test_what_is_no_index_is_named_by_its_path(tmp_path):
    folder = made(tmp_path / "a")
    (folder / INDEX_NAME).unlink()
    (folder / INDEX_NAME).write_bytes(b"no database" * 1000)
    assert run_id(folder) == path_id(folder)
    (folder / INDEX_NAME).unlink()
    (folder / INDEX_NAME).symlink_to(made(tmp_path / "b") / INDEX_NAME)
    assert run_id(folder) == path_id(folder)
    (folder / INDEX_NAME).unlink()
    made(folder)
    with sqlite3.connect(folder / INDEX_NAME) as database:
        database.execute("UPDATE meta SET value = '../../etc' WHERE key = 'run'")
    database.close()
    assert run_id(folder) == path_id(folder)


def test_one_that_could_not_be_read_for_a_moment_is_found_by_its_own_id(tmp_path):
    folder = made(tmp_path / "a")
    with closing(sqlite3.connect(folder / INDEX_NAME)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        meanwhile = by_id([folder])
    assert meanwhile == {path_id(folder): folder}
    assert with_id(meanwhile, run_id(folder)) == folder
    assert run_id(folder) != path_id(folder)
