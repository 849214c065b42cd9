"""Episodes of which nobody recorded a frame are judged as they come; videos of those that are kept are made later."""

from __future__ import annotations

import pytest

from offcam_proto.records import KeepRecord
from offcam_runs.accounts import EncodedResult
from offcam_runs.database import open_to_read
from offcam_runs.format import PART_EXTENSION
from offcam_runs.keep import names
from offcam_runs.keep.rules import pack
from offcam_runs.replay.kept import made, waiting
from offcam_runs.run import read_run
from offcamd.store.index import RunIndex
from offcamd.store.recovery import recover
from run_samples import PEER, A, B, open_clip, packed, rows, stream

WORST = pack(names.worst(2))
VIDEO = (
    '{"first_row":%d,"last_row":%d,"episode":%d,"step":0,"fps":30.0,"max_size":[0,0],"crf":null,"preset":"","every":1}'
)


class Episodes:
    """Stream A has no pictures; B has them rendered once they are kept, in files of a few bytes."""

    def __init__(self, index: RunIndex, rule: str = WORST, keep_bytes: int = 0) -> None:
        self.index = index
        self.rule, self.keep_bytes = rule, keep_bytes
        self.seq = self.clips = 0

    def said(self, *returns: float, first: int = 0, tests: int = 0) -> None:
        for number, return_ in enumerate(returns, first):
            video = VIDEO % (4 * number, 4 * number + 3, number)
            record = KeepRecord(name(number), return_, 3, tests, True, self.rule, self.keep_bytes, video)
            self.index.apply(A, self.seq + 1, packed(record))
            self.seq += 1

    def begun(self, number: int, part: int = 1) -> int:
        clip, self.clips = self.clips, self.clips + 1
        file = f"{name(number)}{f'-part{part}' if part > 1 else ''}.mp4"
        rule = {"keep": self.rule, "keep_bytes": self.keep_bytes}
        self.index.clip_opened(B, open_clip(clip, name=name(number), part=part, episode=number, **rule), file)
        (self.index.folder / (file + PART_EXTENSION)).write_bytes(b"x" * 1000)
        return clip

    def ended(self, number: int, clip: int, state: str = "final", part: int = 1) -> None:
        file = f"{name(number)}{f'-part{part}' if part > 1 else ''}.mp4{PART_EXTENSION}"
        self.index.clip_encoded(B, clip, EncodedResult(state, file, 4, file_bytes=1000, duration=0.1))

    def rendered(self, *numbers: int) -> None:
        for number in numbers:
            self.ended(number, self.begun(number))

    @property
    def waits(self) -> list[int]:
        with open_to_read(self.index.folder) as database:
            found = list(waiting(database, "/runs/x", A.hex()))
        assert [each.first_row for each in found] == [4 * each.episode for each in found]
        assert {(each.name, each.keep, each.stream) for each in found} <= {
            (name(each.episode), self.rule, A.hex()) for each in found
        }
        return [each.episode for each in found]

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.index.folder.glob("*.mp4*"))


def name(number: int) -> str:
    return f"rl-video-episode-{number}"


def file(number: int) -> str:
    return f"{name(number)}.mp4"


@pytest.fixture
def episodes(index):
    index.open_stream(stream(), PEER)
    index.open_stream(stream(B, replays=A), PEER)
    return Episodes(index)


def test_those_wait_that_are_kept_by_now(episodes):
    episodes.said(5.0, 3.0)
    assert episodes.waits == [0, 1]
    episodes.said(4.0, 9.0, 1.0, first=2)
    assert episodes.waits == [1, 4]
    assert rows(episodes.index, "SELECT let_go FROM rules") == [(0,)], "no clip was"


def test_one_that_is_made_waits_no_more_and_goes_with_its_episode(episodes):
    episodes.said(5.0, 3.0)
    episodes.rendered(0)
    assert episodes.waits == [1]
    (clip,) = read_run(episodes.index.folder).clips
    assert (clip.file, clip.state, clip.keep_reason, clip.episode) == (file(0), "final", "worst(2)", 0)
    with open_to_read(episodes.index.folder) as database:
        (request,) = waiting(database, "/runs/x", A.hex())
        assert made(database, request) is None
        assert made(database, request._replace(name=name(0))) == file(0)
    episodes.said(1.0, first=2)
    assert episodes.waits == [1, 2]
    assert episodes.files == []


def test_one_that_is_let_go_while_it_is_made_never_has_its_name(episodes):
    episodes.said(5.0, 3.0)
    clip = episodes.begun(0)
    episodes.said(1.0, first=2)
    episodes.ended(0, clip)
    assert episodes.files == []
    assert episodes.index.keeping.kept == []
    assert episodes.waits == [1, 2]


def test_so_it_is_where_its_episode_is_forgotten(episodes, monkeypatch):
    monkeypatch.setattr("offcamd.store.keeping.REMEMBERED", 3)
    episodes.said(5.0)
    clip = episodes.begun(0)
    episodes.said(*(4.0 - number for number in range(8)), first=1)
    assert rows(episodes.index, "SELECT count(*) FROM judged WHERE name = 'rl-video-episode-0'") == [(0,)]
    episodes.ended(0, clip)
    episodes.index.close_stream(B)
    assert episodes.files == []
    assert rows(episodes.index, "SELECT count(*) FROM clips WHERE state != 'evicted'") == [(0,)]


@pytest.mark.parametrize("state", ["aborted", "recovered"])
def test_one_that_is_not_whole_is_no_video_and_is_made_again(state, episodes):
    episodes.said(5.0)
    clip = episodes.begun(0)
    if state == "recovered":  # its daemon died, and the rest of its frames is another part
        episodes.index.clip_encoded(B, clip, EncodedResult(state, file(0) + PART_EXTENSION, 2, file_bytes=1000))
        episodes.ended(0, episodes.begun(0, part=2), part=2)
    else:
        episodes.ended(0, clip, state)
    assert episodes.files == []
    assert episodes.waits == [0]
    episodes.rendered(0)
    assert episodes.files == [file(0)]
    assert episodes.waits == []


def test_one_that_somebody_else_has_made_is_not_there_twice(episodes):
    episodes.said(5.0)
    episodes.rendered(0)
    episodes.index.open_stream(stream(b"c" * 16, replays=A), PEER)
    (episodes.index.folder / "other.mp4.part").write_bytes(b"x")
    episodes.index.clip_opened(b"c" * 16, open_clip(0, name=name(0), keep=episodes.rule), "other.mp4")
    episodes.index.clip_encoded(b"c" * 16, 0, EncodedResult("final", "other.mp4.part", 4, file_bytes=1, duration=0.1))
    assert episodes.files == [file(0)]


def test_each_part_of_a_whole_one_stays(episodes):
    episodes.said(5.0)
    first, second = episodes.begun(0), episodes.begun(0, part=2)
    episodes.ended(0, second, part=2)
    episodes.ended(0, first)
    assert episodes.files == [f"{name(0)}-part2.mp4", file(0)]


def test_one_that_is_asked_for_is_none_of_the_rule(episodes):
    episodes.said(5.0, 3.0)
    episodes.index.clip_opened(B, open_clip(7, name=name(0)), file(0))
    part = file(0) + PART_EXTENSION
    (episodes.index.folder / part).write_bytes(b"x")
    (episodes.index.folder / part).rename(episodes.index.folder / file(0))
    episodes.index.clip_encoded(B, 7, EncodedResult("final", file(0), 4, file_bytes=1, duration=0.1))
    episodes.said(1.0, first=2)
    assert episodes.files == [file(0)]
    assert episodes.waits == [1, 2]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0]])
def test_bytes_are_bound_in_whatever_order_they_are_made(order, episodes):
    episodes.rule, episodes.keep_bytes = pack(names.longer_than(1)), 2500
    episodes.said(1.0, 2.0, 3.0, 4.0, tests=1)
    episodes.rendered(*order)
    assert episodes.files == [file(2), file(3)]
    assert episodes.waits == []


def test_rankings_and_what_waits_outlive_a_daemon(episodes):
    episodes.said(5.0, 3.0, 4.0)
    episodes.rendered(1)
    folder = episodes.index.folder
    episodes.index.close()
    episodes.index = RunIndex.open(folder)
    recover(episodes.index)
    assert episodes.waits == [2]
    episodes.said(1.0, 3.5, first=3)
    assert episodes.waits == [3]
    assert episodes.files == [file(1)]
    episodes.index.close()


def test_those_that_wait_are_not_forgotten(episodes, monkeypatch):
    monkeypatch.setattr("offcamd.store.keeping.REMEMBERED", 3)
    episodes.rule = pack(names.longer_than(1))
    episodes.said(*map(float, range(10)), tests=1)
    assert episodes.waits == list(range(10))
    episodes.rendered(0, 1, 2, 3)
    assert rows(episodes.index, "SELECT count(*) FROM judged") == [(6,)]
    assert episodes.files == [file(number) for number in range(4)]


NOT_WORST = pack(~names.worst(2))


def test_who_is_pushed_out_of_a_ranking_is_rendered_late(episodes):
    episodes.rule = NOT_WORST
    episodes.said(5.0, 3.0)
    assert episodes.waits == []
    episodes.said(4.0, 6.0, first=2)
    assert episodes.waits == [0, 3]
    assert rows(episodes.index, "SELECT name FROM judged WHERE fixed IS NOT NULL") == [(name(1),), (name(2),)]


def test_so_it_is_after_a_daemons_death_and_long_after(episodes, monkeypatch):
    monkeypatch.setattr("offcamd.store.keeping.REMEMBERED", 3)
    episodes.rule = NOT_WORST
    episodes.said(1.0, 0.0, *map(float, range(2, 9)))
    episodes.rendered(*range(2, 9))
    folder = episodes.index.folder
    episodes.index.close()
    episodes.index = RunIndex.open(folder)
    recover(episodes.index)
    episodes.said(-1.0, first=9)
    assert episodes.waits == [0]
    episodes.index.close()


def test_one_that_comes_back_is_made_again(episodes):
    episodes.rule = pack(names.best(1) | ~names.worst(2))
    episodes.said(1.0)
    episodes.rendered(0)
    assert episodes.files == [file(0)]
    episodes.said(2.0, first=1)
    assert episodes.files == [], "neither the best nor out of the worst"
    episodes.said(0.0, first=2)
    assert episodes.waits == [1]
    episodes.said(-1.0, first=3)
    assert episodes.waits == [0, 1]
    episodes.rendered(0, 1)
    assert episodes.files == [file(0), file(1)]
    assert episodes.waits == []


def test_one_that_gave_way_for_bytes_does_not_come_back(episodes):
    episodes.rule, episodes.keep_bytes = pack(names.best(1) | ~names.worst(2) | names.longer_than(1)), 1500
    episodes.said(1.0)
    episodes.said(0.5, first=1, tests=1)
    episodes.rendered(0, 1)
    assert episodes.files == [file(1)]
    episodes.said(2.0, 0.2, first=2)
    assert episodes.waits == [2], "the first is out of the worst, too"


def test_a_rule_that_cannot_be_read_keeps_nothing(episodes):
    episodes.rule = '["best"]'
    episodes.said(5.0)
    assert episodes.waits == []
    assert rows(episodes.index, "SELECT count(*) FROM rules") == [(0,)]
