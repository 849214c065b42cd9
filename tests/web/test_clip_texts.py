"""What is told of a clip is made once, and is what would be told of it now, whatever has happened meanwhile."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from starlette.datastructures import QueryParams

import made
from journal_samples import write_journal
from offcam_proto.codec import pack_record
from offcam_runs.objects.evicted import note_evicted
from offcam_runs.pins import write_pin
from offcam_runs.run_ids import run_id
from offcamd.store.index import RunIndex
from offcamd.web import clip_texts, queries
from offcamd.web.clip_texts import ClipTexts
from offcamd.web.encoding import encoded
from offcamd.web.params import Query
from offcamd.web.reading import AskedRun

OTHER = b"o" * 16
KEY = f"{made.STREAM.hex()}-1"
FILE = "rl-video-episode-10.mp4"


@pytest.fixture
def own(tmp_path, video):
    """A run whose fourth clip began with an episode that has not ended."""
    folder = made.make_run(tmp_path / "run", 30, 10, video=video)
    with changing(folder) as index:
        made.add_clip(index, folder, made.STREAM, 3, 30, video)
        index._db.execute("UPDATE clips SET complete = 1")
        index._db.execute("UPDATE streams SET ended = NULL, state = 'live'")
    with changing(folder) as index:
        index.open_stream(made.open_stream(folder, OTHER, handle=1), made.PEER)
    return AskedRun(run_id(folder), folder)


@contextmanager
def changing(folder):
    """Change a run's index in a transaction, as a daemon does."""
    index = RunIndex.open(folder)
    try:
        with index.transaction():
            yield index
    finally:
        index.close()


def text(asked, texts):
    return encoded(queries.clips_page(asked, Query(QueryParams(sort="oldest")), texts))


def sql(statement):
    def change(folder):
        with changing(folder) as index:
            index._db.execute(statement)

    return change


def end_episode(folder, number, seq):
    with changing(folder) as index:
        index.apply(made.STREAM, seq, [pack_record(made.episode(number, made.BEGAN))])


def leave_pending(folder):
    write_journal(folder, made.episode(30, made.BEGAN), opening=made.open_stream(folder), first_seq=34)


def end_episode_of_another(folder):
    with changing(folder) as index:
        index.apply(OTHER, 1, [pack_record(made.episode(0, made.BEGAN))])


def evict(folder):
    note_evicted(folder, "s3://bucket/run", [(made.STREAM.hex(), 1)])
    (folder / FILE).unlink()


CHANGES = {
    "pinned": [
        lambda folder: write_pin(folder, KEY, "falls late"),
        lambda folder: write_pin(folder, KEY, "falls"),
        lambda folder: write_pin(folder, KEY, None),
    ],
    "its row": [
        sql("UPDATE clips SET keep_reason = 'best of 10' WHERE clip = 1"),
        sql("UPDATE clips SET state = 'evicted' WHERE clip = 1"),
    ],
    "its stream": [sql("UPDATE streams SET num_envs = 2")],
    "its episode ends": [lambda folder: end_episode(folder, 30, 34)],
    "later ones end": [lambda folder: end_episode(folder, 31, 34)],
    "its episode waits": [leave_pending, end_episode_of_another],
    "evicted": [evict, lambda folder: (folder / FILE).write_bytes(b"is here again")],
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_it_is_what_would_be_made_now(own, changes):
    texts = ClipTexts()
    before = text(own, texts)
    assert before == text(own, texts) == text(own, ClipTexts())
    for change in changes:
        change(own.folder)
        now = text(own, texts)
        assert now == text(own, ClipTexts())
        assert now != before
        before = now


def test_only_what_changed_is_made_again(own, monkeypatch):
    texts, made_again = ClipTexts(), []
    text(own, texts)
    found = clip_texts.clips_at

    def noting(database, folder, places):
        made_again.append(places)
        return found(database, folder, places)

    monkeypatch.setattr(clip_texts, "clips_at", noting)
    text(own, texts)
    assert made_again == []
    write_pin(own.folder, KEY, "")
    text(own, texts)
    assert made_again == [[2]]
    end_episode_of_another(own.folder)
    text(own, texts)
    assert made_again == [[2], [4]]  # what that one began with has not ended, and it might have been this
    sql("UPDATE streams SET num_envs = 2")(own.folder)
    text(own, texts)
    assert made_again[2:] == [[1, 2, 3, 4]]


def test_of_many_those_that_were_made_last_are_kept(own, monkeypatch):
    monkeypatch.setattr(clip_texts, "MOST_OF_RUN", 2)
    texts = ClipTexts()
    assert text(own, texts) == text(own, ClipTexts())
    (kept,) = texts._runs._kept.values()
    assert list(kept.texts) == [3, 4]


def test_a_file_that_was_removed_is_no_reason_to_make_it_again(own, monkeypatch):
    texts = ClipTexts()
    before = text(own, texts)
    (own.folder / FILE).unlink()
    monkeypatch.setattr(clip_texts, "clips_at", lambda *_: pytest.fail("it was made again"))
    assert text(own, texts) == before
