"""What a rule has decided is done with files once it is committed, by whoever comes; nothing is done before."""

from __future__ import annotations

from contextlib import suppress

import pytest

from offcam_proto.records import KeepRecord
from offcam_runs.accounts import EncodedResult
from offcam_runs.format import PART_EXTENSION
from offcam_runs.keep import names
from offcam_runs.keep.rules import pack
from offcam_runs.run import read_run
from offcamd.store import keeping
from offcamd.store.index import RunIndex
from offcamd.store.recovery import recover
from run_samples import PEER, A, B, clip, open_clip, packed, rows, stream

FRAMES = 4
WORST = pack(names.worst(2))


class Videos:
    """Records videos of one frame size and this rule, whose files are a few bytes: nobody looks into them here."""

    def __init__(self, index: RunIndex) -> None:
        self.index = index
        self.seq = {A: 0, B: 0}
        self.clips = 0
        self.named: dict[int, str] = {}

    def open(self, number: int, *, of: bytes = A, part: int = 1, rule: str = WORST, keep_bytes: int = 0) -> int:
        clip_number, self.clips = self.clips, self.clips + 1
        name = f"rl-video-episode-{number}"
        file = f"{name}{f'-part{part}' if part > 1 else ''}{'-s2' if of == B else ''}.mp4"
        opening = open_clip(clip_number, name=name, part=part, episode=number, keep=rule, keep_bytes=keep_bytes)
        self.index.clip_opened(of, opening, file)
        self.named[clip_number] = file
        (self.index.folder / (file + PART_EXTENSION)).write_bytes(b"x" * 1000)
        return clip_number

    def encoded(self, clip_number: int, *, of: bytes = A) -> None:
        part = self.named[clip_number] + PART_EXTENSION
        self.index.clip_encoded(of, clip_number, EncodedResult("final", part, FRAMES, file_bytes=1000, duration=0.1))

    def said(self, number: int, return_: float, *clips: int, of: bytes = A, over: bool = True) -> None:
        name = f"rl-video-episode-{number}"
        records = [
            clip(each, name=name, part=part, episode=number, offered=FRAMES) for part, each in enumerate(clips, 1)
        ]
        self.say(of, *records, KeepRecord(name, return_, 3, 0, over))

    def say(self, of: bytes, *records) -> None:
        self.index.apply(of, self.seq[of] + 1, packed(*records))
        self.seq[of] += len(records)

    def played(self, number: int, return_: float, *, of: bytes = A, **options) -> None:
        one = self.open(number, of=of, **options)
        self.encoded(one, of=of)
        self.said(number, return_, one, of=of)

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.index.folder.glob("*.mp4*"))

    @property
    def states(self) -> dict[int, str]:
        return {each.episode: each.state for each in read_run(self.index.folder).clips}


@pytest.fixture
def videos(index):
    index.open_stream(stream(), PEER)
    return Videos(index)


def file(number: int) -> str:
    return f"rl-video-episode-{number}.mp4"


@pytest.mark.parametrize("first", ["file", "record"])
def test_a_video_is_judged_once_both_are_there_its_file_and_its_record(first, videos):
    one = videos.open(0)
    if first == "file":
        videos.encoded(one)
    else:
        videos.said(0, 1.0, one)
    assert videos.files == [file(0) + PART_EXTENSION]
    assert videos.states == {0: "recording"}
    assert rows(videos.index, "SELECT number FROM judged") == ([] if first == "file" else [(0,)])
    if first == "file":
        videos.said(0, 1.0, one)
    else:
        videos.encoded(one)
    assert videos.files == [file(0)]
    assert videos.states == {0: "final"}


def test_frames_that_a_video_lost_are_told_though_it_waits_for_its_verdict(videos):
    one = videos.open(0)
    videos.encoded(one)
    applied = videos.index.apply(A, 1, packed(clip(one, name="rl-video-episode-0", offered=FRAMES + 3)))
    assert applied.lost == [3]
    assert videos.states == {0: "recording"}


def test_episodes_are_judged_in_the_order_of_their_records_whichever_file_is_whole_first(videos):
    rule = pack(names.new_best())
    clips = [videos.open(number, rule=rule) for number in range(3)]
    for number, one in enumerate(clips):
        videos.said(number, [2.0, 1.0, 3.0][number], one)
    for one in reversed(clips):
        videos.encoded(one)
    assert videos.files == [file(0), file(2)]


def test_one_that_is_let_go_while_it_is_encoded_is_never_seen(videos):
    first, second, third = (videos.open(number) for number in range(3))
    for number, one in enumerate((first, second, third)):
        videos.said(number, -float(number), one)
    for one in (first, second, third):
        videos.encoded(one)
    assert videos.files == [file(1), file(2)]


def test_one_that_is_let_go_makes_room_before_it_is_looked_for(videos):
    for number, return_ in enumerate([5.0, 3.0, 4.0, 9.0, 1.0]):
        videos.played(number, return_)
    assert videos.files == [file(1), file(4)]
    assert videos.states == {1: "final", 4: "final"}
    assert rows(videos.index, "SELECT let_go FROM rules") == [(3,)]


def test_nobody_hears_of_one_that_is_let_go_in_the_same_transaction(videos):
    with videos.index.transaction():
        for number in range(4):
            one = videos.open(number)
            videos.encoded(one)
            videos.said(number, -float(number), one)
    assert [kept.file for kept in videos.index.keeping.kept] == videos.files == [file(2), file(3)]


def test_streams_of_a_session_have_one_ranking(videos):
    videos.index.open_stream(stream(B), PEER)
    videos.played(0, 2.0)
    videos.played(0, 1.0, of=B)
    videos.played(1, 0.0)
    assert videos.files == ["rl-video-episode-0-s2.mp4", file(1)]


def test_a_part_that_comes_late_goes_with_the_others(videos):
    for number, return_ in ((0, 1.0), (1, 2.0), (2, 3.0)):
        videos.played(number, return_)
    for number in (1, 2):
        late = videos.open(number, part=2)
        videos.encoded(late)
    assert videos.files == [file(0), "rl-video-episode-1-part2.mp4", file(1)]


def test_nothing_is_done_for_what_is_not_committed(videos):
    videos.played(0, 1.0)
    videos.played(1, 2.0)
    before = videos.files
    with suppress(ZeroDivisionError), videos.index.transaction():
        videos.played(2, 0.0)
        raise ZeroDivisionError
    videos.seq[A] -= 2
    assert set(before) < set(videos.files)
    assert set(videos.states) == {0, 1}
    videos.clips -= 1
    videos.played(2, 0.0)
    assert videos.files == [file(0), file(2)]


def test_so_it_is_for_one_task_of_many(videos):
    videos.played(0, 1.0)
    with videos.index.transaction():
        videos.played(1, 3.0)
        with suppress(ZeroDivisionError), videos.index.savepoint():
            videos.played(2, 0.0)
            raise ZeroDivisionError
    assert set(videos.states) == {0, 1}
    assert {file(0), file(1)} < set(videos.files)


def test_what_a_daemon_had_decided_is_done_by_the_next_one(videos, monkeypatch):
    videos.played(0, 2.0)
    videos.played(1, 3.0)
    monkeypatch.setattr(videos.index.keeping, "perform", lambda: None)  # it dies between its commit and that
    videos.played(2, 1.0)
    assert set(videos.files) == {file(0), file(1), file(2) + PART_EXTENSION}
    monkeypatch.undo()
    heir = RunIndex.open(videos.index.folder)
    recover(heir)
    assert videos.files == [file(0), file(2)]
    assert rows(heir, "SELECT episode, state, file FROM clips ORDER BY 1") == [
        (0, "final", file(0)), (2, "final", file(2)),
    ]  # fmt: skip
    heir.close()


def test_one_that_was_kept_and_let_go_at_once_does_not_come_back_with_the_next_one(videos, monkeypatch):
    monkeypatch.setattr(videos.index.keeping, "perform", lambda: None)
    with videos.index.transaction():
        for number in range(4):
            one = videos.open(number)
            videos.encoded(one)
            videos.said(number, -float(number), one)
    monkeypatch.undo()
    heir = RunIndex.open(videos.index.folder)
    recover(heir)
    assert videos.files == [file(2), file(3)]
    assert rows(heir, "SELECT episode FROM clips ORDER BY 1") == [(2,), (3,)]
    heir.close()


def test_those_that_are_let_go_make_room_before_others_get_their_names(videos, monkeypatch):
    most = 0

    def publish(part, final):
        nonlocal most
        part.rename(final)
        most = max(most, len(list(videos.index.folder.glob("*.mp4"))))

    monkeypatch.setattr(keeping, "publish", publish)
    for number in range(9):
        videos.played(number, float(number), rule=pack(names.new_best()), keep_bytes=3000)
    assert most == 3
    assert videos.files == [file(6), file(7), file(8)]


def test_rankings_go_on_with_what_the_index_has(videos):
    for number, return_ in enumerate([5.0, 3.0, 4.0]):
        videos.played(number, return_)
    heir = RunIndex.open(videos.index.folder)
    videos.index.close()
    videos.index = heir
    videos.played(3, 3.5)
    videos.played(4, 3.7)
    assert videos.files == [file(1), file(3)]
    heir.close()


def test_of_a_stream_that_ends_what_nobody_said_the_end_of_stays(videos):
    videos.played(0, 1.0)
    videos.played(1, 2.0)
    one = videos.open(2)
    videos.encoded(one)
    videos.index.close_stream(A, lost=True)
    assert videos.files == [file(0), file(1), file(2)]
    assert rows(videos.index, "SELECT state, keep_reason FROM clips WHERE episode = 2") == [("aborted", "cut off")]
    videos.said(2, 9.0, one)  # its client was alive, or its journal is taken in now
    assert videos.files == [file(0), file(1)]


def test_one_that_stays_as_it_was_cut_off_is_whole_if_its_client_says_so(videos):
    one = videos.open(0)
    videos.encoded(one)
    videos.index.close_stream(A, lost=True)
    videos.said(0, 9.0, one)
    assert videos.states == {0: "final"}


def test_an_episode_that_was_not_played_to_its_end_is_let_go_and_counts_nowhere(videos):
    one = videos.open(0)
    videos.encoded(one)
    videos.said(0, -100.0, one, over=False)
    for number, return_ in ((1, 1.0), (2, 2.0)):
        videos.played(number, return_)
    assert videos.files == [file(1), file(2)]


def test_a_clip_without_a_picture_has_no_file_and_is_kept_or_let_go_all_the_same(videos):
    for number, return_ in ((0, 1.0), (1, 2.0), (2, 0.0)):
        one = videos.open(number)
        videos.index.folder.joinpath(videos.named[one] + PART_EXTENSION).unlink()  # as none was begun
        videos.index.clip_encoded(A, one, EncodedResult("final", None, 0, duration=0.0))
        videos.said(number, return_, one)
    assert videos.files == []
    assert rows(videos.index, "SELECT episode, state, file FROM clips WHERE state != 'evicted' ORDER BY 1") == [
        (0, "final", None), (2, "final", None),
    ]  # fmt: skip


def test_bytes_are_bound(videos):
    for number in range(6):
        videos.played(number, float(number), rule=pack(names.worst(1) | names.new_best()), keep_bytes=3500)
    assert videos.files == [file(0), file(4), file(5)]


def test_what_was_judged_long_ago_is_forgotten(videos, monkeypatch):
    monkeypatch.setattr("offcamd.store.keeping.REMEMBERED", 5)
    for number in range(20):
        videos.played(number, float(number))
    assert rows(videos.index, "SELECT count(*) FROM judged") == [(7,)], "the last five, and two that are kept"
    assert rows(videos.index, "SELECT count(*) FROM clips WHERE state = 'evicted'") == [(1,)]
