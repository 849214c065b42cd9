import json
import math
import os
import shutil
import sqlite3

import pytest

from offcam_proto.errors import NotARunFolder, RunFolderError, RunFormatTooNew
from offcam_runs import format as fmt
from offcam_runs.accounts import EncodedResult
from offcam_runs.database import open_to_read
from offcam_runs.episodes import ORDERS, read_episodes
from offcam_runs.run import read_run, run_of
from offcam_runs.streams import read_streams
from offcamd.store.index import RunIndex
from run_samples import PEER, A, B, clip, episode, open_clip, packed, stream


@pytest.fixture
def index(tmp_path):
    opened = RunIndex.open(tmp_path / "my run #1")
    opened.open_stream(stream(), PEER)
    yield opened
    opened.close()


def add_clip(index, number=0, *, stream_id=A, seq=1, file=None, **changes):
    index.clip_opened(stream_id, open_clip(number), file or f"{number}.mp4")
    index.clip_encoded(
        stream_id, number, EncodedResult("final", file or f"{number}.mp4", 21, {}, 600, 400, 4321, 0.7, 0.02)
    )
    index.apply(stream_id, seq, packed(clip(number, **changes)))


def test_a_clip_is_printed_as_a_line_of_what_people_ask(index):
    add_clip(index)
    (found,) = read_run(index.folder).clips
    assert repr(found) == f"<Clip {str(index.folder / '0.mp4')!r}: {', '.join(found.numbers)}>"
    assert found.numbers[0] == "episode 0"


def test_a_run_while_it_is_written(index):
    index.apply(A, 1, packed(episode(0, return_=math.nan), episode(1, seed=str(2**70))))
    add_clip(index, seq=3)
    listing = read_run(index.folder)
    found = json.loads(json.dumps(listing.as_dict(), allow_nan=False))
    assert found["format_version"] == fmt.FORMAT_VERSION
    assert found["folder"] == str(index.folder)
    assert [(item["stream"], item["env_id"], item["state"]) for item in found["streams"]] == [
        (A.hex(), "CartPole-v1", "live")
    ]
    assert found["clips"] == [
        {
            "stream": A.hex(),
            "clip": 0,
            "name": "rl-video-episode-0",
            "part": 1,
            "file": "0.mp4",
            "state": "final",
            "frames": 21,
            "fps": 30.0,
            "width": 600,
            "height": 400,
            "duration_seconds": 0.7,
            "episode": 0,
            "step": 0,
            "return": None,
            "length": 20,
            "offered": 21,
            "received": 21,
            "dropped": {},
            "complete": True,
            "file_bytes": 4321,
            "encode_seconds": 0.02,
            "started": 1000.5,
            "ended": found["clips"][0]["ended"],
            "error": None,
            "envs": [],
            "partial": False,
            "keep_reason": None,
            "first_row": None,
            "verified": None,
            "diverged_at": None,
            "diverged_why": None,
            "grid": [1, 1],
            "place": None,
            "unended": "",
        }
    ]
    assert found["episodes"][1] == {
        "stream": A.hex(),
        "env_index": 0,
        "episode": 1,
        "return": 11.0,
        "length": 21,
        "duration_seconds": 0.5,
        "started": 1001.0,
        "terminated": True,
        "truncated": False,
        "seed": str(2**70),
    }
    assert found["episodes"][0]["return"] is None
    assert math.isnan(listing.episodes[0].return_)


@pytest.mark.parametrize(
    ("expected", "known", "changes"),
    [
        (10.0, True, {}),
        (9.0, False, {}),  # the episode has not ended, or was not recorded
        (9.0, True, {"steps": 19}),  # cut short
        (9.0, True, {"steps": 35}),  # goes on into the next episode
        (9.0, True, {"name": "rl-video-step-50"}),  # as long as the episode, but begun within it
    ],
)
def test_a_clips_return_is_its_episodes_where_it_shows_just_that(index, expected, known, changes):
    index.apply(A, 1, packed(episode(0 if known else 5)))
    index.clip_opened(A, open_clip(name=changes.get("name", "rl-video-episode-0")), "0.mp4")
    index.clip_encoded(A, 0, EncodedResult("final", "0.mp4", 21))
    index.apply(A, 2, packed(clip(**changes)))
    (item,) = read_run(index.folder).clips
    assert (item.return_, item.length) == (expected, changes.get("steps", 20))


@pytest.mark.parametrize(("frames", "expected"), [(21, (10.0, 20)), (20, (None, None))])
def test_a_whole_episodes_clip_without_an_account_has_the_return_of_its_row(index, frames, expected):
    index.apply(A, 1, packed(episode(0)))
    index.clip_opened(A, open_clip(), "0.mp4")
    index.clip_encoded(A, 0, EncodedResult("aborted", "0.mp4", frames))
    (item,) = read_run(index.folder).as_dict()["clips"]
    assert (item["return"], item["length"]) == expected


@pytest.mark.parametrize(("env_index", "partial"), [(0, False), (1, True)])
def test_a_clip_that_was_cut_off_is_not_whole_for_another_sub_environment(index, env_index, partial):
    index.open_stream(stream(B, num_envs=4, vector=True), PEER)
    index.apply(B, 1, packed(episode(0, env_index=env_index)))
    index.clip_opened(B, open_clip(), "0.mp4")
    index.clip_encoded(B, 0, EncodedResult("aborted", "0.mp4", 5))
    assert [item.partial for item in read_run(index.folder).clips] == [partial]


def test_a_vector_clip_keeps_its_own_return(index):
    index.open_stream(stream(B, num_envs=4, vector=True), PEER)
    index.apply(B, 1, packed(episode(0)))
    add_clip(index, stream_id=B, seq=2)
    assert [item.return_ for item in read_run(index.folder).clips] == [9.0]


def test_a_clip_being_recorded_and_one_without_a_file(index):
    index.clip_opened(A, open_clip(0), "0.mp4")
    index.apply(A, 1, packed(clip(1, dropped={"no_daemon": 21})))
    recording, never = read_run(index.folder).as_dict()["clips"]
    assert (recording["state"], recording["complete"], recording["return"], recording["length"]) == (
        *("recording", None, None, None),
    )
    assert (never["state"], never["file"], never["dropped"], never["return"]) == (
        *("aborted", None, {"no_daemon": 21}, 9.0),
    )


def test_a_replaced_clip_is_left_out(index):
    add_clip(index, 0, file="x.mp4")
    add_clip(index, 1, seq=2, file="x.mp4")
    assert [(item.clip, item.file) for item in read_run(index.folder).clips] == [(1, "x.mp4")]


def test_quarantined_records_are_counted(index):
    index.apply(A, 1, [b"\xc1", b"\xc1"])
    assert read_run(index.folder).quarantined == 2


def page(index, sort="arrival", *, descending=False, **part):
    order = ORDERS[sort].format("DESC" if descending else "ASC")
    with open_to_read(index.folder) as database:
        return read_episodes(database, read_streams(database), order=order, **part)


def test_pages_of_episodes(index):
    returns = [3.0, math.nan, -math.inf, 7.0, 3.0]
    index.apply(A, 1, packed(*(episode(9 - n, return_=value, length=n % 2) for n, value in enumerate(returns))))
    assert [item.episode for item in page(index)] == [9, 8, 7, 6, 5]
    assert [item.episode for item in page(index, "episode", limit=2, offset=1)] == [6, 7]
    assert [item.episode for item in page(index, "return", descending=True)] == [6, 5, 9, 7, 8]
    assert [item.episode for item in page(index, "length")] == [9, 7, 5, 8, 6]


def test_the_latest_rows_alone(index):
    index.apply(A, 1, packed(*(episode(n) for n in range(9))))
    for number in range(4):
        add_clip(index, number, seq=10 + number)
    with open_to_read(index.folder) as database:
        run = run_of(database, index.folder, last=3)
    assert run.episodes.number.tolist() == run.episodes.episode.tolist() == [6, 7, 8]
    assert [item.clip for item in run.clips] == [1, 2, 3]
    whole = read_run(index.folder)
    assert (list(run.episodes), list(run.clips)) == (list(whole.episodes)[-3:], list(whole.clips)[-3:])


@pytest.mark.parametrize("sort", ["arrival", "episode", "return", "length"])
@pytest.mark.parametrize("descending", [False, True])
def test_a_page_is_read_by_an_index(index, monkeypatch, sort, descending):
    """Not by sorting all episodes for every page."""
    asked = []
    real = sqlite3.connect

    def connect(*args, **kwargs):
        connection = real(*args, **kwargs)
        connection.set_trace_callback(asked.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    page(index, sort, descending=descending, limit=5)
    (query,) = (text for text in asked if "ORDER BY" in text and "FROM episodes" in text)
    plan = " ".join(row[3] for row in index._db.execute(f"EXPLAIN QUERY PLAN {query}"))
    assert "TEMP B-TREE FOR ORDER BY" not in plan


# --- folders of every kind --------------------------------------------------------------------------------


def test_a_copy_without_permission_to_write(index, tmp_path):
    index.apply(A, 1, packed(episode(0), episode(1)))
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (fmt.INDEX_NAME, f"{fmt.INDEX_NAME}-wal"):  # made while a daemon was writing
        shutil.copy(index.folder / name, copy)
        (copy / name).chmod(0o444)
    copy.chmod(0o555)
    before = sorted(path.name for path in copy.iterdir())
    assert [item.episode for item in read_run(copy).episodes] == [0, 1]
    if os.geteuid():  # root may write there, and then SQLite does
        assert sorted(path.name for path in copy.iterdir()) == before
    copy.chmod(0o755)


def test_what_a_crash_left_is_read_from_a_repaired_copy(index, monkeypatch):
    """As where nobody may write beside it, which SQLite refuses to read; root cannot be kept from writing."""
    index.apply(A, 1, packed(episode()))
    real = sqlite3.connect

    def refusing(database, **kwargs):
        if str(index.folder.as_uri()) in database:
            raise sqlite3.OperationalError("unable to open database file")
        return real(database, **kwargs)

    monkeypatch.setattr(sqlite3, "connect", refusing)
    before = sorted(path.name for path in index.folder.iterdir())
    assert f"{fmt.INDEX_NAME}-wal" in before
    assert [item.episode for item in read_run(index.folder).episodes] == [0]
    assert sorted(path.name for path in index.folder.iterdir()) == before


def test_a_folder_of_gymnasiums_own_videos(tmp_path):
    (tmp_path / "rl-video-episode-0.mp4").touch()
    with pytest.raises(NotARunFolder, match=r"its 1 \.mp4 files .*Gymnasium's own RecordVideo"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"), [("absent", "does not exist"), ("file", "is a file"), ("folder", "is no run folder")]
)
def test_what_is_no_run_folder(tmp_path, name, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotARunFolder, match=message):
        read_run(tmp_path / name)


def test_an_index_that_was_just_made_is_an_empty_run(tmp_path):
    (tmp_path / fmt.INDEX_NAME).touch()
    listing = read_run(tmp_path)
    assert (listing.streams, listing.clips, list(listing.episodes)) == ((), (), [])


def test_a_newer_and_a_damaged_index(index):
    index.close()
    path = index.folder / fmt.INDEX_NAME
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RunFormatTooNew, match="99"):
        read_run(index.folder)
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(RunFolderError, match="damaged"):
        read_run(index.folder)
