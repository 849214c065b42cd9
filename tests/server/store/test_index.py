"""What is written into an index: streams, records and clips, each once, in whichever order it comes."""

import json
import math
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offcam_proto.errors import LocalProtocolError, RemoteProtocolError, RunFolderError
from offcam_proto.records import ClipRecord
from offcam_runs.accounts import EncodedResult
from offcam_runs.totals import run_totals
from offcamd.store.entries import OpenedClip
from offcamd.store.index import RunIndex
from run_samples import PEER, A, B, clip, columns, episode, open_clip, packed, rows, stream


def counts(index, number=0):
    query = "SELECT offered, received, encoded, dropped, state FROM clips WHERE clip = "
    ((*numbers, dropped, state),) = rows(index, query + str(number))
    return *numbers, json.loads(dropped), state


# --- streams and records ----------------------------------------------------------------------------------


def test_a_stream_is_opened_again_and_closed(index):
    assert index.open_stream(stream(suffix=2), PEER) == (0, 2)
    index.apply(A, 1, packed(episode()))
    index.close_stream(A, lost=True)
    query = "SELECT stream, env_id, suffix, pid, last_seq, state, ended IS NULL FROM streams"
    assert rows(index, query) == [(A.hex(), "CartPole-v1", 2, 4711, 1, "lost", 0)]
    assert index.live_streams() == []
    assert index.open_stream(stream(), PEER) == (1, 2)
    assert rows(index, query) == [(A.hex(), "CartPole-v1", 2, 4711, 1, "live", 1)]
    assert index.live_streams() == [A]
    index.close_stream(A)
    assert rows(index, "SELECT state FROM streams") == [("closed",)]


@pytest.mark.parametrize("lost", [False, True])
def test_what_is_added_after_a_stream_ended_leaves_its_end_as_it_was(lost, index):
    index.open_stream(stream(), PEER)
    index.close_stream(A, lost=lost)
    query = "SELECT state, ended FROM streams WHERE id = 1"
    (before,) = rows(index, query)
    with index.transaction(), index.reopened(stream(), PEER) as suffix:
        assert suffix == 0
        index.clip_opened(A, open_clip(0), "video.mp4")
    (after,) = rows(index, query)
    assert after[0] == before[0]
    assert (after == before) is not lost, "nobody knows when one ended whose client did not say so"


def test_a_stream_that_nobody_knew_before_is_lost(index):
    with index.transaction(), index.reopened(stream(), PEER):
        pass
    assert rows(index, "SELECT state FROM streams") == [("lost",)]


def test_episodes_are_stored_as_they_are(index):
    index.open_stream(stream(), PEER)
    records = [
        episode(0, return_=math.nan, duration=math.nan),
        episode(1, return_=-math.inf, terminated=False, truncated=True),
        episode(2, seed=str(2**70), length=2**63 - 1),
        episode(3, seed=None, env_index=7),
    ]
    applied = index.apply(A, 1, packed(*records))
    assert applied.last_seq == 4
    assert applied.episodes == len(records)
    query = "SELECT return, length, duration, terminated, truncated, seed, env_index FROM episodes ORDER BY seq"
    assert rows(index, query) == [
        (None, 20, None, 1, 0, 0, 0),
        (-math.inf, 21, 0.5, 0, 1, 1, 0),
        (12.0, 2**63 - 1, 0.5, 1, 0, str(2**70), 0),
        (13.0, 23, 0.5, 1, 0, None, 7),
    ]


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(1, 12)), max_size=8))
def test_every_record_counts_once_however_often_it_is_sent(tmp_path_factory, slices):
    records = [clip(0, dropped={"credit": 1}), *map(episode, range(10)), clip(1)]
    index = RunIndex.open(tmp_path_factory.mktemp("run"))
    index.open_stream(stream(), PEER)
    last = 0
    for start, size in [*slices, (0, 12)]:
        bodies = packed(*records[start : start + size])
        if start > last:
            with pytest.raises(RemoteProtocolError, match=f"records {last + 1} to {start} "):
                index.apply(A, start + 1, bodies)
            continue
        applied = index.apply(A, start + 1, bodies)
        fresh = records[last : start + size]
        assert applied.clips == [record for record in fresh if isinstance(record, ClipRecord)]
        assert applied.episodes == len(fresh) - len(applied.clips)
        last = max(last, start + len(bodies))
        assert applied.last_seq == last
    assert rows(index, "SELECT seq, episode FROM episodes ORDER BY id") == [(n + 2, n) for n in range(10)]
    assert rows(index, "SELECT clip, offered FROM clips ORDER BY clip") == [(0, 21), (1, 21)]
    assert rows(index, "SELECT last_seq FROM streams") == [(12,)]
    index.close()


def test_columns_are_as_many_rows_each_once(index):
    index.open_stream(stream(), PEER)
    bodies = packed(episode(0), columns(), episode(1))
    assert index.apply(A, 1, bodies[:2]).episodes == 3
    applied = index.apply(A, 1, bodies)
    assert (applied.episodes, applied.last_seq) == (1, 4)
    assert index.apply(A, 2, bodies[1:]).episodes == 0
    query = (
        "SELECT seq, env_index, episode, return, length, duration, started, terminated, truncated, seed FROM episodes"
    )
    assert rows(index, f"{query} WHERE seq IN (2, 3) ORDER BY id") == [
        (2, 3, 0, 20.0, 20, 0.25, 1010.25, 1, 0, 0),
        (3, 4095, 41, -math.inf, 1, 0.5, 1010.0, 0, 1, None),
    ]


def test_columns_that_cannot_be_understood_take_their_numbers_with_them(index):
    index.open_stream(stream(), PEER)
    body = packed(columns())[0][:-1]
    bodies = [*packed(episode(0)), body, *packed(episode(1))]
    applied = index.apply(A, 1, bodies)
    assert (applied.episodes, applied.quarantined, applied.last_seq) == (2, 2, 4)
    assert rows(index, "SELECT seq, body FROM quarantine") == [(2, body)]
    assert rows(index, "SELECT seq FROM episodes") == [(1,), (4,)]


def test_poison_is_set_aside_alone(index):
    index.open_stream(stream(), PEER)
    unknown_reason = packed(clip(5, dropped={"gremlins": 1}))[0]
    bodies = [*packed(episode(0)), b"\xc1", b"\x92\x63\x00", unknown_reason, *packed(episode(1))]
    applied = index.apply(A, 1, bodies)
    assert applied.last_seq == 5
    assert applied.quarantined == 3
    assert applied.clips == []
    assert rows(index, "SELECT seq, episode FROM episodes") == [(1, 0), (5, 1)]
    stored = rows(index, "SELECT seq, body, reason FROM quarantine ORDER BY seq")
    assert [(seq, body) for seq, body, _ in stored] == [(2, b"\xc1"), (3, b"\x92\x63\x00"), (4, unknown_reason)]
    assert "msgpack" in stored[0][2]
    assert "gremlins" in stored[2][2]
    assert index.apply(A, 1, bodies).quarantined == 0


def test_a_stream_that_was_never_opened(index):
    with pytest.raises(LocalProtocolError, match="never opened"):
        index.apply(A, 1, packed(episode()))
    with pytest.raises(LocalProtocolError, match="never opened"):
        index.close_stream(A)


def test_one_transaction_over_streams_is_all_or_nothing(index):
    index.open_stream(stream(A), PEER)
    index.open_stream(stream(B), PEER)

    def interrupted():
        with index.transaction():
            index.apply(A, 1, packed(episode()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert rows(index, "SELECT count(*) FROM episodes") == [(0,)]
    with index.transaction():
        assert index.apply(A, 1, packed(episode())).last_seq == 1
        with pytest.raises(RemoteProtocolError):  # one stream's breach is not the others'
            index.apply(B, 5, packed(episode()))
        assert rows(index, "SELECT count(*) FROM episodes") == [(0,)]
    assert rows(index, "SELECT count(*) FROM episodes") == [(1,)]


def test_an_index_that_cannot_be_written_says_so_and_keeps_nothing(index):
    index.open_stream(stream(), PEER)
    pages = index._db.execute("PRAGMA page_count").fetchone()[0]
    index._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own "disk is full"
    bodies = packed(*(episode(n) for n in range(2000)))
    with pytest.raises(RunFolderError, match="full"):
        index.apply(A, 1, bodies)
    index._db.execute("PRAGMA max_page_count = 100000")
    assert index.apply(A, 1, bodies).last_seq == 2000
    assert rows(index, "SELECT count(*) FROM episodes") == [(2000,)]


def test_committed_records_survive_the_death_of_the_daemon(folder):
    code = f"""
        import pathlib, sys
        from run_samples import *
        from offcamd.store.index import RunIndex
        index = RunIndex.open(pathlib.Path({str(folder)!r}))
        index.open_stream(stream(), PEER)
        index.apply(A, 1, packed(episode(0), episode(1)))
        with index.transaction():
            index.apply(A, 3, packed(episode(2)))
            print("ready", flush=True)
            sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as daemon:
        assert daemon.stdout.readline() == b"ready\n"
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    index = RunIndex.open(folder)
    assert index.live_streams() == [A]
    assert index.open_stream(stream(), PEER).last_seq == 2
    assert index.apply(A, 2, packed(episode(1), episode(2))).episodes == 1
    assert run_totals(index._db).total().episodes == 3
    index.close()


def test_totals_are_read_back(index):
    index.open_stream(stream(A), PEER)
    index.open_stream(stream(B), PEER)
    index.apply(A, 1, packed(episode(0), episode(1, return_=math.nan)))
    index.apply(B, 1, packed(episode(4)))
    index.apply(A, 3, packed(episode(2)))
    run = run_totals(index._db)
    assert {key: value.episodes for key, value in run.streams.items()} == {A.hex(): 3, B.hex(): 1}
    assert [length for _, length in run.recent] == [20, 21, 24, 22]
    assert run.as_dict()["non_finite"] == 1
    assert run.as_dict()["return"]["max"] == 14.0


# --- clips ------------------------------------------------------------------------------------------------

ENDED = EncodedResult("final", "x.mp4", 15, {"io": 2}, 600, 400, 4321, 0.5, 0.02)


@pytest.mark.parametrize("record_first", [False, True])
def test_the_halves_of_an_account_in_either_order(index, record_first):
    index.open_stream(stream(), PEER)
    index.clip_opened(A, open_clip(), "x.mp4")
    assert counts(index) == (0, 0, 0, {}, "recording")
    bodies = packed(clip(dropped={"credit": 3}))
    if record_first:
        index.apply(A, 1, bodies)
        assert counts(index) == (21, 0, 0, {"credit": 3}, "recording")
        index.clip_encoded(A, 0, ENDED)
    else:
        index.clip_encoded(A, 0, ENDED)
        assert counts(index) == (17, 17, 15, {"io": 2}, "final")
        index.apply(A, 1, bodies)
    assert counts(index) == (21, 17, 15, {"credit": 3, "io": 2, "lost": 1}, "final")
    query = "SELECT file, fps, width, height, file_bytes, duration, encode_seconds, steps, return FROM clips"
    assert rows(index, query) == [("x.mp4", 30.0, 600, 400, 4321, 0.5, 0.02, 20, 9.0)]


def test_a_clip_the_daemon_never_saw_is_accounted_for(index):
    index.open_stream(stream(), PEER)
    index.apply(A, 1, packed(clip(dropped={"no_daemon": 20}, return_=math.nan)))
    assert counts(index) == (21, 0, 0, {"no_daemon": 20, "lost": 1}, "aborted")
    assert rows(index, "SELECT file, return, complete FROM clips") == [(None, None, 1)]


def test_a_clip_opened_after_its_record_is_recorded_after_all(index):
    index.open_stream(stream(), PEER)
    assert index.apply(A, 1, packed(clip())).lost == [21]
    assert index.clip_opened(A, open_clip(), "x.mp4") == 21
    assert counts(index) == (21, 0, 0, {}, "recording")
    index.clip_encoded(A, 0, EncodedResult("final", "x.mp4", 21))
    assert counts(index) == (21, 21, 21, {}, "final")


def test_a_second_account_of_a_clip_takes_the_place_of_the_first(index):
    """Of those that were lost with a daemon, another one has recorded most."""
    index.open_stream(stream(), PEER)
    index.clip_opened(A, open_clip(), "x.mp4")
    index.apply(A, 1, packed(clip()))
    index.clip_encoded(A, 0, EncodedResult("recovered", "x.mp4", 5))
    assert counts(index) == (21, 5, 5, {"lost": 16}, "recovered")
    applied = index.apply(A, 2, packed(clip(offered=6), clip(clip=1, offered=15)))
    assert applied.lost == [-15, 15]
    assert counts(index) == (6, 5, 5, {"lost": 1}, "recovered")


def test_opening_a_clip_twice_changes_nothing(index):
    index.open_stream(stream(), PEER)
    index.clip_opened(A, open_clip(), "x.mp4")
    index.clip_opened(A, open_clip(), "x.mp4")
    index.clip_encoded(A, 0, ENDED)
    before = rows(index, "SELECT * FROM clips")
    index.clip_opened(A, open_clip(), "x.mp4")
    assert rows(index, "SELECT * FROM clips") == before


def test_a_recovered_clip_replaces_what_was_known(index):
    index.open_stream(stream(), PEER)
    index.clip_opened(A, open_clip(), "x.mp4")
    index.apply(A, 1, packed(clip()))
    assert index.open_clips() == [OpenedClip(A, 0, "x.mp4", 1000.5)]
    index.clip_encoded(A, 0, EncodedResult("recovered", "x.mp4", 18, error="the daemon died"))
    assert index.open_clips() == []
    assert counts(index) == (21, 18, 18, {"lost": 3}, "recovered")
    assert rows(index, "SELECT error FROM clips") == [("the daemon died",)]


def test_a_clip_without_a_file(index):
    index.open_stream(stream(), PEER)
    index.clip_opened(A, open_clip(), "x.mp4")
    index.clip_encoded(A, 0, EncodedResult("aborted", None, 0, {"disk_full": 4}, error="no space left"))
    assert counts(index) == (4, 4, 0, {"disk_full": 4}, "aborted")
    assert rows(index, "SELECT file, width FROM clips") == [(None, None)]


def test_a_file_of_an_earlier_clip_is_replaced(index):
    index.open_stream(stream(A), PEER)
    index.open_stream(stream(B), PEER)
    index.clip_opened(A, open_clip(), "x.mp4")
    index.clip_encoded(A, 0, ENDED)
    index.clip_opened(B, open_clip(3), "x.mp4")
    assert counts(index)[-1] == "final"  # until the new one is whole
    index.clip_encoded(B, 3, ENDED)
    assert counts(index) == (17, 17, 15, {"io": 2}, "replaced")
    assert counts(index, 3)[-1] == "final"
    assert rows(index, "SELECT clip FROM clips WHERE file = 'x.mp4'") == [(3,)]


def test_an_encoded_clip_must_have_been_opened(index):
    index.open_stream(stream(), PEER)
    with pytest.raises(LocalProtocolError, match=r"clip 9 .* never opened"):
        index.clip_encoded(A, 9, ENDED)
    with pytest.raises(LocalProtocolError, match="gremlins"):
        index.clip_encoded(A, 9, EncodedResult("final", "x.mp4", 0, {"gremlins": 1}))
