"""Reading journals: what is whole is read, and what a client did not come to finish ends them."""

import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal_samples import frame, journal_bytes, write_journal
from offcam_proto.codec import pack_record
from offcam_proto.errors import RunFolderError
from offcam_runs.file_lock import FileLock
from offcam_runs.journal_reader import in_order, journals, pending, read
from run_samples import A, B, clip, episode, packed, stream

RECORDS = [episode(0), clip(0), episode(1), episode(2)]


def test_all_of_a_journal_is_read(tmp_path):
    path = write_journal(tmp_path, *RECORDS)
    journal = read(path)
    assert journal.stream == stream()
    assert (journal.first_seq, journal.last_seq) == (1, 4)
    assert journal.bodies == packed(*RECORDS)
    assert journal.ended == path.stat().st_mtime


def test_a_journal_that_was_cut_back_begins_later(tmp_path):
    journal = read(write_journal(tmp_path, *RECORDS, first_seq=71))
    assert (journal.first_seq, journal.last_seq) == (71, 74)


def test_a_journal_without_records_is_its_streams(tmp_path):
    journal = read(write_journal(tmp_path))
    assert (journal.stream, journal.bodies, journal.last_seq) == (stream(), [], 0)


def test_a_journal_cut_off_anywhere_is_read_up_to_its_last_whole_record(tmp_path):
    whole = journal_bytes(stream(), *RECORDS)
    ends = [len(journal_bytes(stream(), *RECORDS[:count])) for count in range(len(RECORDS) + 1)]
    path = write_journal(tmp_path)
    for size in range(len(whole) + 1):
        for rest in (b"", bytes(100)):
            path.write_bytes(content := whole[:size] + rest)
            journal = read(path)
            records = sum(content[:end] == whole[:end] for end in ends) - 1  # a record may end with zeros
            assert (journal is None) == (records < 0)
            assert journal is None or journal.bodies == packed(*RECORDS[:records])


@given(place=st.integers(8), bit=st.integers(0, 7))
def test_a_flipped_bit_costs_one_record_or_what_is_behind_it_and_makes_nothing_up(tmp_path_factory, place, bit):
    data = bytearray(journal_bytes(stream(), *RECORDS))
    place = 8 + place % (len(data) - 8)
    data[place] ^= 1 << bit
    path = write_journal(tmp_path_factory.mktemp("run"))
    path.write_bytes(data)
    begins = [len(journal_bytes(stream(), *RECORDS[:count])) for count in range(len(RECORDS) + 1)]
    before = sum(place >= begin for begin in begins) - 1
    if before < 0:  # who it is of
        with contextlib.suppress(RunFolderError):
            assert read(path) is None
        return
    field = place - begins[before]
    found = before < len(RECORDS) - 1 and not (field < 4 or 8 <= field < 16)  # its length and number lead to the next
    left = [b"", *packed(*RECORDS[before + 1 :])] if found else []
    assert read(path).bodies == packed(*RECORDS[:before]) + left


def test_what_lies_behind_from_an_earlier_time_is_not_read(tmp_path):
    path = write_journal(tmp_path, episode(8), episode(9), first_seq=9, spare=0)
    path.write_bytes(path.read_bytes() + frame(4, pack_record(episode(3))) + frame(5, pack_record(episode(4))))
    assert read(path).bodies == packed(episode(8), episode(9))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"OFFCAMJ2" + bytes(100), "other bytes"),
        (b"OFFCAMJ1" + frame(0, b"\x91\x42"), "cannot be understood"),
        (b"OFFCAMJ1" + frame(0, bytes.fromhex("920701")), "not its stream's"),
        (b"OFFCAMJ1" + journal_bytes(stream())[8:].replace(frame(0, b"")[8:16], frame(7, b"")[8:16]), ""),
    ],
)
def test_what_is_no_journal_is_refused(tmp_path, content, why):
    path = write_journal(tmp_path)
    path.write_bytes(content)
    if not why:  # the number is behind the CRC: the frame is torn
        assert read(path) is None
        return
    with pytest.raises(RunFolderError, match=why):
        read(path)


def test_journals_are_found_by_their_names(tmp_path):
    assert journals(tmp_path) == pending(tmp_path) == []
    paths = [write_journal(tmp_path, episode(), opening=stream(name)) for name in (A, B)]
    for name in ("notes.txt", f"{A.hex()}.rec.claim", "ABC.rec"):
        (tmp_path / "offcam.pending" / name).write_text("another's")
    assert journals(tmp_path) == paths


def test_those_that_cannot_be_read_are_left_out_and_told(tmp_path, caplog):
    good = write_journal(tmp_path, episode())
    write_journal(tmp_path, opening=stream(B)).write_bytes(b"what is this")
    os.mkfifo(good.with_name(f"{'c' * 32}.rec"))
    good.with_name(f"{'d' * 32}.rec").symlink_to(good)
    assert [journal.path for journal in pending(tmp_path)] == [good]
    assert len(caplog.records) == 3


def test_a_linked_folder_of_journals_is_not_followed(tmp_path):
    write_journal(tmp_path / "one", episode())
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "offcam.pending").symlink_to(tmp_path / "one" / "offcam.pending")
    assert journals(tmp_path / "two") == []


def test_a_journal_that_its_client_has_has_not_ended(tmp_path):
    path = write_journal(tmp_path, episode())
    lock = FileLock.take(path, 0o600)
    assert read(path).ended is None
    lock.release()
    assert read(path).ended is not None


def test_records_of_several_streams_are_merged_by_time_and_stay_in_order(tmp_path):
    early = [episode(0, started=10.0, duration=1.0), clip(0), episode(1, started=30.0, duration=float("nan"))]
    late = [episode(0, started=20.0, duration=1.0), episode(1, started=5.0, duration=1.0), episode(2, started=40.0)]
    write_journal(tmp_path, *early)
    write_journal(tmp_path, *late, opening=stream(B, started=2000.0))
    found = [(journal.stream.stream, seq) for journal, seq, _ in in_order(pending(tmp_path))]
    assert found == [(A, 1), (A, 2), (B, 1), (B, 2), (A, 3), (B, 3)]
